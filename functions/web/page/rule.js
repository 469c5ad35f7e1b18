// One rule, opened from a citation: what it says, on what basis, from which source, since when, when checked.

import { call } from "./api.js";
import { fill, focus, h, problemView } from "./dom.js";
import { day, t } from "./texts.js";

const line = (label, value) => value && [h("dt", {}, t(label)), h("dd", {}, value)];

/** The facts of a rule as a list of terms. */
function facts(rule) {
  const { title, url } = rule.source ?? {};
  const source = url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title || url) : title;
  return h("dl", {},
    line("page.rule.basis", rule.basis_name),
    line("page.rule.source", source),
    line("page.rule.effective_from", rule.effective_from && day(rule.effective_from)),
    line("page.rule.checked", rule.checked && day(rule.checked)),
    line("page.rule.disagreement", rule.disagreement),
  );
}

/** Open `rule` in a dialog above the view; closing gives the focus back to the citation. */
export function openRule(rule) {
  const close = h("button", { type: "button", className: "quiet", onclick: () => dialog.close() }, t("page.close"));
  const dialog = h("dialog", { className: "rule", "aria-labelledby": "rule-title", onclose: () => dialog.remove() },
    h("h2", { id: "rule-title" }, t("page.rule.title")),
    h("p", { className: "rule-text" }, rule.text),
    facts(rule),
    h("div", { className: "row" }, h("a", { href: `#/rules/${rule.id}`, onclick: () => dialog.close() }, t("page.rule.address")), close),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

/** A small button that opens rule `id`, which is fetched when it is wanted; where that fails its own view says why. */
export function ruleButton(id, label, spoken) {
  const open = () => call("GET", `/waste/rules/${encodeURIComponent(id)}`).then(openRule, () => { location.hash = `#/rules/${id}`; });
  return h("button", { type: "button", className: "cite", "aria-label": spoken, onclick: open }, label);
}

/** The view of one rule at its own address (#/rules/<id>). */
export function ruleView(root, id) {
  const title = h("h1", {}, t("page.rule.title"));
  fill(root, title, h("p", { className: "busy" }, t("page.loading")));
  call("GET", `/waste/rules/${encodeURIComponent(id)}`).then(
    (rule) => {
      fill(root, title, h("section", { className: "card" }, h("p", { className: "rule-text" }, rule.text), facts(rule)));
      focus(title);
    },
    (problem) => fill(root, title, problemView(problem)),
  );
}

/** Small numbered buttons that open the rules a sentence stands on. `numbers`: rule id → number shown. */
export function citations(ruleIds, rules, numbers) {
  return ruleIds.filter((id) => rules.has(id)).map((id) =>
    h("button", {
      type: "button", className: "cite", "aria-label": t("page.rule.open", { n: numbers.get(id) }), onclick: () => openRule(rules.get(id)),
    }, String(numbers.get(id))));
}
