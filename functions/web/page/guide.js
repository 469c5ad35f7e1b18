// The guide: where it goes, then what to do in four phases, each sentence with the rules it stands on.

import { h } from "./dom.js";
import { citations, openRule } from "./rule.js";
import { t, textOr } from "./texts.js";

const PHASES = ["prepare", "wash", "separate", "dispose"];

/** Steps of one phase; a phase without steps says that nothing is to be done. */
function phase(code, position, steps, cite) {
  return h("li", { className: "phase", "data-phase": code },
    h("h3", {}, h("span", { className: "number", "aria-hidden": "true" }, String(position + 1)), t(`phase.${code}`)),
    steps.length
      ? h("ul", {}, steps.map((step) => h("li", {}, step.text, " ", cite(step.rule_ids))))
      : h("p", { className: "nothing" }, t("page.guide.nothing")));
}

/** The four phases; `steps`: [{phase, text, rule_ids}], `rules`: the rules they cite. */
export function phases(steps, rules) {
  const byId = new Map(rules.map((rule) => [rule.id, rule]));
  const numbers = new Map(rules.map((rule, index) => [rule.id, index + 1]));
  const cite = (ids) => citations(ids, byId, numbers);
  return {
    cite,
    list: h("ol", { className: "phases" }, PHASES.map((code, position) =>
      phase(code, position, steps.filter((step) => step.phase === code), cite))),
  };
}

/** Everything the guide stands on, numbered as cited. */
export function sources(rules) {
  return h("details", { className: "card sources" },
    h("summary", {}, t("page.guide.rules", { n: rules.length })),
    h("ol", {}, rules.map((rule) => h("li", {},
      h("button", { type: "button", className: "link", onclick: () => openRule(rule) }, rule.text),
      h("small", {}, [rule.basis_name, rule.source?.title].filter(Boolean).join(" · "))))));
}

/** Where it goes, large. */
export function destination({ name, where }) {
  return h("section", { className: "card destination", "aria-labelledby": "destination" },
    h("h2", { id: "destination" }, t("page.guide.destination")),
    h("p", { className: "place" }, name),
    where && h("p", {}, where));
}

/** Who made an answer, and what it took. */
export function maker(made) {
  const parts = [t("page.made.model", { model: made.model, version: made.prompt_version })];
  if (made.cached) parts.push(t("page.made.cached"));
  if (made.repaired) parts.push(t("page.made.repaired"));
  if (made.fallback) parts.push(t("page.made.fallback"));
  if (made.tokens_in) parts.push(t("page.made.tokens", { input: made.tokens_in, output: made.tokens_out }));
  if (made.cost_usd !== null && made.cost_usd !== undefined) parts.push(t("page.made.cost", { usd: Number(made.cost_usd).toFixed(4) }));
  if (made.ms) parts.push(t("page.made.seconds", { s: (made.ms / 1000).toFixed(1) }));
  return h("p", { className: "maker" }, parts.join(" · "));
}

/** The whole guide of an analysis. */
export function guideView({ guide, item }) {
  const { cite, list } = phases(guide.steps, guide.rules);
  return h("article", { className: "guide" },
    guide.made_by.standin && h("p", { className: "note" }, t("page.made.standin")),
    item && h("p", { className: "item" }, t("page.guide.item"), " ", h("strong", {}, item.name),
      item.chosen_by !== "model" && h("small", {}, t(`page.guide.chosen.${item.chosen_by}`))),
    guide.destination && destination(guide.destination),
    guide.summary && h("p", { className: "summary" }, guide.summary),
    guide.answer && h("section", { className: "card" }, h("h2", {}, t("page.guide.answer")), h("p", {}, guide.answer)),
    h("h2", {}, t("page.guide.phases")),
    list,
    guide.cautions.length > 0 && h("section", { className: "card caution" }, h("h2", {}, t("page.guide.cautions")),
      h("ul", {}, guide.cautions.map((caution) => h("li", {}, caution.text, " ", cite(caution.rule_ids))))),
    sources(guide.rules),
    maker(guide.made_by));
}

/** Names of what was seen on the photo, for the line under the stages. */
export function seen(item) {
  const names = (item?.seen?.objects ?? []).map((object) => object.name).filter(Boolean);
  return names.length > 0 && h("p", { className: "seen" }, t("page.seen", { names: names.join(", ") }));
}

/** Text of a status for lists. */
export const statusText = (status, outcome) => textOr(`page.status.${outcome === "not_found" ? "not_found" : status}`, status);
