// The thread under a guide: further questions, their answers with the rules they stand on, and room for a next one.

import { call } from "./api.js";
import { fill, h, problemView } from "./dom.js";
import { citations, ruleButton } from "./rule.js";
import { t } from "./texts.js";

const MOST = 10;

/**
 * The thread of an analysis: {element, update(analysis), leave()}. `changed()` is called whenever there is something new to
 * follow.
 */
export function threadPanel(id, rules, changed) {
  const byId = new Map(rules.map((rule) => [rule.id, rule]));
  const numbers = new Map(rules.map((rule, index) => [rule.id, index + 1]));
  const list = h("ol", { className: "thread", "aria-live": "polite" });
  const problem = h("div");
  const left = h("p", { className: "hint", id: "questions-left" });
  const words = h("textarea", {
    id: "further", maxLength: 500, rows: 2, required: true, placeholder: t("page.ask.example"), "aria-describedby": "questions-left",
  });
  const send = h("button", { type: "submit" }, t("page.ask.send"));
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); ask(); } },
    h("label", { htmlFor: "further" }, t("page.ask.label")), words, left, problem, send);
  const element = h("section", { className: "card ask" }, h("h2", {}, t("page.ask")), list, form);
  const entries = new Map(); // n → {now, node}: only what changed is drawn (and read aloud) again

  function update({ questions = [] }) {
    questions.forEach((question) => {
      const now = JSON.stringify(question);
      const known = entries.get(question.n);
      if (known?.now === now) return;
      const node = entry(question);
      if (known) known.node.replaceWith(node);
      else list.append(node);
      entries.set(question.n, { now, node });
    });
    const rest = Math.max(0, MOST - questions.filter(({ status }) => status !== "failed").length);
    left.textContent = t("page.ask.left", { n: rest, most: MOST });
    words.hidden = send.hidden = rest === 0;
  }

  /** A citation of the guide opens as in the guide; one of an earlier guide is fetched first. */
  function cited(ids) {
    const others = ids.filter((rule) => !byId.has(rule));
    return [citations(ids, byId, numbers), others.map((rule) => ruleButton(rule, "§", t("page.rule.open.other")))];
  }

  function entry({ n, text, status, answer, made_by: made }) {
    return h("li", { className: status, "data-question": n },
      h("p", { className: "words" }, h("span", { className: "spoken" }, t("page.ask.yours")), text),
      status === "asked"
        ? h("p", { className: "reply busy" }, t("page.ask.pending"))
        : h("div", { className: "reply" }, h("p", {}, answer?.text ?? t("page.ask.failed"), " ", cited(answer?.rule_ids ?? [])),
          made?.standin && h("small", {}, t("page.ask.standin"))));
  }

  async function ask() {
    if (!words.value.trim()) return;
    send.disabled = true;
    fill(problem);
    try {
      const { question } = await call("POST", `/waste/analyses/${id}/questions`, { text: words.value });
      words.value = "";
      if (!entries.has(question.n)) {
        const node = entry(question);
        list.append(node);
        entries.set(question.n, { now: JSON.stringify(question), node });
      }
      changed();
    } catch (error) {
      fill(problem, problemView(error));
    } finally {
      send.disabled = false;
    }
  }

  return { element, update, leave: () => {} };
}
