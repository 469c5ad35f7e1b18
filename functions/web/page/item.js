// One item as its rules say, no model involved: every sentence is a rule. What is still open is asked.

import { call } from "./api.js";
import { h } from "./dom.js";
import { destination, phases, sources } from "./guide.js";
import { readHome } from "./home.js";
import { t } from "./texts.js";

/** Fetch item `id` in `state` ({axis: value}) for the visitor's home. */
export function fetchItem(id, state = {}) {
  const known = Object.entries(state).filter(([, value]) => value && value !== "unknown");
  return call("GET", `/waste/items/${encodeURIComponent(id)}?${new URLSearchParams([...known, ...Object.entries(readHome())])}`);
}

/** The question that decides, with a button for each answer; `choose(option)` hears which. */
export function askView(question, choose) {
  return h("section", { className: "card question" }, h("h2", {}, question.question),
    h("div", { className: "options" }, question.options.map((option) =>
      h("button", { type: "button", className: "option", onclick: () => choose(option) }, option.label))));
}

/** The item as `fetchItem` answered; `answer(state)` hears what the visitor said to its question. */
export function itemView(item, answer) {
  const cited = item.rules.map((rule) => ({ phase: rule.phase, text: rule.text, rule_ids: [rule.id] }));
  const { cite, list } = phases(cited, item.rules);
  const warnings = cited.filter(({ phase }) => phase === "dont" || phase === "why");
  return h("article", { className: "guide" },
    h("h2", {}, item.name),
    item.question && askView(item.question, (option) => answer(option.state)),
    item.destinations.map((place) => destination(place)),
    item.parts.length > 0 && h("section", { className: "card" }, h("h2", {}, t("page.search.parts")),
      h("ul", {}, item.parts.map(({ name, destination: place }) => h("li", {}, t("page.search.part", { name, place: place.name }))))),
    item.otherwise?.length > 0 && h("section", { className: "card otherwise" }, h("h2", {}, t("page.item.otherwise")),
      h("ul", {}, item.otherwise.map(({ label, state, destinations }) => h("li", {},
        h("button", { type: "button", className: "link", onclick: () => answer(state) },
          t("page.search.part", { name: label, place: destinations.map(({ name }) => name).join(" · ") })))))),
    list,
    warnings.length > 0 && h("section", { className: "card caution" }, h("h2", {}, t("page.guide.cautions")),
      h("ul", {}, warnings.map((warning) => h("li", {}, warning.text, " ", cite(warning.rule_ids))))),
    sources(item.rules));
}
