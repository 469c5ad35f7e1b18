// "My record": how often, how well, and what still goes wrong, for a week, a month, a year or all of it.

import { call } from "./api.js";
import { gradeColumns, rowBars } from "./charts.js";
import { fill, focus, h, problemView } from "./dom.js";
import { day, lang, t } from "./texts.js";

const PERIODS = ["week", "month", "year", "all"];

/** Show the statistics in `root`. */
export function statsView(root) {
  const title = h("h1", {}, t("page.stats"));
  const shown = h("div", { className: "result" });
  const spoken = h("p", { className: "spoken", role: "status", "aria-live": "polite" });
  const reports = h("div");
  let wanted = "";
  const choices = h("fieldset", {}, h("legend", { className: "spoken" }, t("page.stats.period")),
    h("div", { className: "choices four" }, PERIODS.map((period) => h("label", { className: "choice" },
      h("input", { type: "radio", name: "period", value: period, checked: period === "month", onchange: () => load(period) }),
      h("span", {}, t(`page.stats.period.${period}`))))));

  async function load(period) {
    wanted = period;
    if (!shown.children.length) fill(shown, h("p", { className: "busy" }, t("page.loading")));
    try {
      const stats = await call("GET", `/users/me/stats?period=${period}`);
      if (wanted !== period) return;
      fill(shown, statistics(stats));
      spoken.textContent = range(stats);
    } catch (error) {
      if (wanted === period) fill(shown, problemView(error));
    }
  }

  async function loadReports() {
    try {
      fill(reports, reportList((await call("GET", "/users/me/reports")).reports));
    } catch (error) {
      fill(reports, problemView(error));
    }
  }

  fill(root, title, choices, spoken, shown, reports);
  focus(title);
  load("month");
  loadReports();
}

const range = ({ from, to }) => t("page.stats.range", { from: day(from), to: day(to) });
const share = (part) => `${Math.round(100 * part)}%`;
const graded = ({ grades }) => grades.high + grades.middle + grades.low;

function statistics(stats) {
  return [
    h("p", { className: "hint" }, range(stats)),
    tiles(stats),
    graded(stats) > 0
      ? [byTime(stats), byDestination(stats), bySteps(stats), byItem(stats)]
      : h("section", { className: "card empty" }, h("p", {}, t(stats.analyses > 0 ? "page.stats.no_grades" : "page.stats.nothing")),
        h("a", { className: "button primary", href: stats.analyses > 0 ? "#/history" : "#/" }, t(stats.analyses > 0 ? "page.nav.history" : "page.photo.take"))),
  ];
}

/** The numbers one looks at first. */
function tiles(stats) {
  const { analyses, accuracy, average_score: score, streak } = stats;
  const tile = (code, value, hint) => h("div", { "data-tile": code }, h("dt", {}, t(`page.stats.${code}`)), h("dd", {}, value), hint && h("dd", { className: "hint" }, hint));
  const unknown = t("page.stats.unknown");
  return h("dl", { className: "tiles" },
    tile("analyses", String(analyses)),
    tile("accuracy", accuracy === null ? unknown : share(accuracy), t("page.stats.accuracy.of", { n: graded(stats) })),
    tile("score", score === null ? unknown : String(Math.round(score))),
    tile("streak", t("page.stats.days", { n: streak.current }), t("page.stats.streak.longest", { n: streak.longest })));
}

function byTime({ period, from, to, days }) {
  const columns = period === "week" || period === "month" ? days.map(dayColumn(period)) : months(from, to, days);
  return h("section", { className: "card" }, h("h2", {}, t("page.stats.grades")), gradeColumns(t("page.stats.grades"), columns));
}

const at = (iso) => new Date(`${iso}T00:00:00`);

const dayColumn = (period) => ({ day: iso, ...counts }) => ({
  ...counts, name: day(iso), label: period === "week" ? at(iso).toLocaleDateString(lang, { weekday: "short" }) : `${at(iso).getMonth() + 1}/${at(iso).getDate()}`,
});

/** Days summed by month; months in between that have none are there all the same, before the first that has one they are not. */
function months(from, to, days) {
  const first = (days[0]?.day ?? from).slice(0, 7);
  const columns = new Map();
  for (let [year, month] = first.split("-").map(Number); ; month += 1) {
    if (month > 12) [year, month] = [year + 1, 1];
    const key = `${year}-${String(month).padStart(2, "0")}`;
    if (key > to.slice(0, 7)) break;
    const start = at(`${key}-01`);
    columns.set(key, {
      name: start.toLocaleDateString(lang, { year: "numeric", month: "long" }), label: start.toLocaleDateString(lang, { month: "short" }),
      high: 0, middle: 0, low: 0,
    });
  }
  days.forEach(({ day: iso, high, middle, low }) => {
    const column = columns.get(iso.slice(0, 7));
    column.high += high;
    column.middle += middle;
    column.low += low;
  });
  return [...columns.values()];
}

function byDestination({ destinations }) {
  return destinations.length > 0 && h("section", { className: "card" }, h("h2", {}, t("page.stats.destinations")),
    rowBars(destinations.map(({ name, right, graded: n, accuracy }) => ({ name, value: accuracy, text: t("page.stats.right", { right, n, share: share(accuracy) }) })), 1));
}

function bySteps({ steps }) {
  const most = Math.max(...steps.map(({ missed }) => missed));
  return steps.length > 0 && h("section", { className: "card" }, h("h2", {}, t("page.stats.steps")),
    rowBars(steps.map(({ name, missed }) => ({ name, value: missed, text: t("page.stats.missed", { n: missed }), tone: "middle" })), most));
}

function byItem({ items: all }) {
  const items = all.filter(({ right, graded: n }) => right < n);
  return items.length > 0 && h("section", { className: "card" }, h("h2", {}, t("page.stats.items")),
    rowBars(items.map(({ id, name, right, graded: n }) => ({
      name, href: `#/guide/${id}`, value: right / n, text: t("page.stats.right", { right, n, share: share(right / n) }),
    })), 1),
    h("p", {}, h("a", { href: "#/lessons" }, t("page.stats.lessons"))));
}

/** What a report counted, in a line. */
function reportNumbers({ analyses, accuracy, weak_items: weak }) {
  const numbers = [`${t("page.stats.analyses")} ${analyses}`, accuracy !== null && `${t("page.stats.accuracy")} ${share(accuracy)}`];
  if (weak.length > 0) numbers.push(t("page.reports.weak", { items: weak.map(({ name }) => name).join(", ") }));
  return numbers.filter(Boolean).join(" · ");
}

/** The weekly reports, newest first. */
function reportList(reports) {
  return h("section", { className: "card reports" }, h("h2", {}, t("page.reports")),
    reports.length === 0
      ? h("p", {}, t("page.reports.none"))
      : h("ul", {}, reports.map((report) => h("li", {},
        h("h3", {}, t("page.reports.week", { from: day(report.week) })),
        h("p", {}, report.sentence), h("p", { className: "hint" }, reportNumbers(report))))));
}
