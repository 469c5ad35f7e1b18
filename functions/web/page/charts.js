// Charts as SVG, without measuring: heights in em and widths in percent, so they fit every screen and grow with the letters.
// Each has its numbers as text beside or below it.

import { h, svg } from "./dom.js";
import { t } from "./texts.js";

const GRADES = ["high", "middle", "low"]; // stacked from below
const PLOT = 9; // em
const ABOVE = 0.7; // em: room for the topmost number
const BELOW = 1.6; // em: room for the names of the columns
const LEFT = 9; // percent: room for the numbers of the axis
const NAMES = 7; // at most so many columns are named

const percent = (value) => `${Number(value.toFixed(3))}%`;
const em = (value) => `${Number(value.toFixed(3))}em`;

/** Stripes, so that the lowest grade is not told by its colour alone. */
function stripes() {
  return svg("defs", {}, svg("pattern", { id: "stripes", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 6, height: 6, class: "stripe-ground" }), svg("rect", { width: 2.5, height: 6, class: "stripe" })));
}

const filled = (grade) => (grade === "low" ? { fill: "url(#stripes)" } : {});

/** How grades are told apart. */
function legend() {
  return h("ul", { className: "legend", "aria-hidden": "true" }, GRADES.map((grade) => h("li", {},
    svg("svg", { class: "swatch" }, svg("rect", { width: "100%", height: "100%", class: `bar ${grade}`, ...filled(grade) })),
    t(`page.grade.${grade}`))));
}

/** Whole numbers for the axis: nothing, the half where it is whole, the top. */
function ticks(most) {
  const top = most <= 4 ? Math.max(1, most) : 2 * Math.ceil(most / 2);
  return top % 2 === 0 ? [0, top / 2, top] : [0, top];
}

/**
 * Grades stacked by column (a day or a month): `columns` [{label, name, high, middle, low}], `label` short below the column,
 * `name` in full. `title` says what the chart is about; the table below it has the same numbers.
 */
export function gradeColumns(title, columns) {
  const total = (column) => GRADES.reduce((sum, grade) => sum + column[grade], 0);
  const axis = ticks(Math.max(...columns.map(total)));
  const top = axis.at(-1);
  const y = (value) => ABOVE + PLOT * (1 - value / top);
  const slot = (100 - LEFT) / columns.length;
  const width = Math.min(slot * 0.72, 11);
  const every = Math.ceil(columns.length / NAMES);
  const lines = axis.map((value) => [
    svg("line", { x1: percent(LEFT), x2: "100%", y1: em(y(value)), y2: em(y(value)), class: "grid" }),
    svg("text", { x: percent(LEFT - 2), y: em(y(value) + 0.35), "text-anchor": "end" }, String(value)),
  ]);
  const bars = columns.map((column, index) => {
    const middle = LEFT + slot * (index + 0.5);
    let below = 0;
    const stack = GRADES.filter((grade) => column[grade] > 0).map((grade) => {
      const from = below;
      below += column[grade];
      return svg("rect", {
        x: percent(middle - width / 2), width: percent(width), y: em(y(below)), height: em(y(from) - y(below)), class: `bar ${grade}`,
        "data-grade": grade, "data-value": column[grade], "data-column": column.name, ...filled(grade),
      }, svg("title", {}, t("page.chart.bar", { name: column.name, grade: t(`page.grade.${grade}`), n: column[grade] })));
    });
    const named = (columns.length - 1 - index) % every === 0; // the last one always is
    return [stack, named ? svg("text", { x: percent(middle), y: em(ABOVE + PLOT + 1.25), "text-anchor": "middle" }, column.label) : []];
  });
  const graded = columns.filter((column) => total(column) > 0);
  const sums = Object.fromEntries(GRADES.map((grade) => [grade, columns.reduce((sum, column) => sum + column[grade], 0)]));
  return h("figure", { className: "chart" },
    svg("svg", { class: "columns", height: em(ABOVE + PLOT + BELOW), role: "img", "aria-label": `${title}: ${t("page.chart.sums", sums)}` },
      stripes(), lines, bars),
    legend(),
    h("details", { className: "quiet" }, h("summary", {}, t("page.chart.table")),
      h("table", {},
        h("caption", { className: "spoken" }, title),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("page.chart.when")), GRADES.map((grade) => h("th", { scope: "col" }, t(`page.grade.${grade}`))))),
        h("tbody", {}, graded.map((column) => h("tr", {}, h("th", { scope: "row" }, column.name), GRADES.map((grade) => h("td", {}, String(column[grade])))))))));
}

/**
 * Bars across, each under its own name and number: `rows` [{name, href?, value, text, tone?}], `of` the value of a full bar.
 * The text says it all, so the drawing is silent.
 */
export function rowBars(rows, of) {
  return h("ul", { className: "bars" }, rows.map(({ name, href, value, text, tone = "high" }) => h("li", {},
    h("span", {}, href ? h("a", { href }, name) : name), h("small", {}, text),
    svg("svg", { class: "row-bar", "aria-hidden": "true" },
      svg("rect", { width: "100%", height: "100%", rx: 4, class: "track" }),
      svg("rect", { width: percent(of ? 100 * value / of : 0), height: "100%", rx: 4, class: `bar ${tone}`, "data-value": value })))));
}
