// One recycling centre as a card of the list, and what is to be said about the list as a whole.

import { h } from "./dom.js";
import { day, distance, moment, t } from "./texts.js";

const OPEN = {
  open: "page.places.open.open", closed: "page.places.open.closed", unknown: "page.places.open.unknown", suspended: "page.places.open.suspended",
};

/** The card of `centre`, the `index`th of the list. */
export function placeCard(centre, index) {
  const { name, address, hours, takes, phone, operator, type_name: type, reference_date: since } = centre;
  const row = (key, said) => said && [h("dt", {}, t(key)), h("dd", {}, said)];
  return h("li", { className: "card place" },
    h("h3", {}, h("span", { className: "number" }, String(index + 1)), h("span", {}, name), h("span", { className: "far" }, distance(centre.distance_m))),
    h("p", { className: "when" }, openMark(centre)),
    h("dl", {},
      row("page.places.hours", spans(hours)),
      row("page.places.closed", hours.closed),
      row("page.places.takes", takes && takes.split("+").join(", ")),
      row("page.places.address", address),
      row("page.places.operator", [operator, type].filter(Boolean).join(" · ")),
      row("page.places.reference", since && day(since))),
    phone && h("a", { className: "button", href: `tel:${phone.replace(/[^\d+]/g, "")}` },
      t(centre.phone_of === "agency" ? "page.places.call.agency" : "page.places.call", { phone })));
}

/** Whether a centre is open, as a word: open, closed, unknown; suspended where it takes nothing for the time being. */
export function openness({ open, suspended }) {
  if (suspended) return "suspended";
  return open === null ? "unknown" : open ? "open" : "closed";
}

function openMark(centre) {
  const state = openness(centre);
  return h("span", { className: `open-mark ${state}` }, t(OPEN[state]));
}

/** Hours as the municipality states them. */
function spans({ weekday, rest_day: rest }) {
  const lines = [weekday && t("page.places.weekday", weekday), rest && t("page.places.rest", rest)].filter(Boolean);
  return lines.length > 0 && lines.map((line) => h("div", {}, line));
}

/** What is to be known before the list: made-up places, old data, that none was near. */
export function notices({ note, source }) {
  return [
    source.sample && h("p", { className: "note sample" }, t("page.places.sample")),
    source.stale && h("p", { className: "note stale" }, t("page.places.stale", { age: age(source.age_seconds) })),
    note && h("p", { className: "note" }, note),
  ];
}

/** Where the list is from, to stand below it. */
export function sourceLine({ name, fetched_at: at }) {
  return h("p", { className: "hint" }, t("page.places.source", { name, when: moment(at) }));
}

function age(seconds) {
  const hours = Math.round(seconds / 3600);
  return hours < 48 ? t("page.places.hours_old", { n: Math.max(1, hours) }) : t("page.places.days_old", { n: Math.round(hours / 24) });
}
