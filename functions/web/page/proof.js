// One attempt to show that the guide was followed: the two pictures, every step with what was seen, the grade and why.

import { fill, h, problemView } from "./dom.js";
import { call } from "./api.js";
import { maker } from "./guide.js";
import { moment, t } from "./texts.js";

const MARKS = { done: "✓", not_done: "✕", cannot_tell: "?", not_applicable: "–" };

/** A grade {code, name} as a small badge, for lists and headings. */
export function gradeBadge({ code, name }) {
  return h("span", { className: `badge ${code}` }, h("span", { className: "spoken" }, t("page.grade")), name);
}

/** Before and after beside each other. `photos`: a promise of what GET …/photos says; kept pictures may be gone. */
function pair(proof, photos) {
  const frame = (label) => {
    const element = h("div", { className: "frame" });
    const gone = () => fill(element, h("p", {}, t("page.proof.gone")));
    const show = (url) => (url ? fill(element, h("img", { src: url, alt: t(label), onerror: gone })) : gone());
    return { show, figure: h("figure", {}, element, h("figcaption", {}, t(label))) };
  };
  const [before, after] = [frame("page.proof.before"), frame("page.proof.after")];
  photos.then((found) => {
    before.show(found.before);
    after.show(found.after[proof.id]);
  });
  return h("div", { className: "pair" }, before.figure, after.figure);
}

/** The steps with their verdicts; what to do better stands with its step. */
function verdicts({ steps, checklist, feedback }) {
  const advice = (step) => (feedback?.points ?? []).filter((point) => point.step === step)
    .map(({ text }) => h("p", { className: "advice" }, text));
  return h("ol", { className: "verdicts" }, steps.map(({ step, phase_name, text, verdict, verdict_name, seen }) =>
    h("li", { className: verdict, "data-step": step, "data-verdict": verdict },
      h("span", { className: "mark", "aria-hidden": "true" }, MARKS[verdict]),
      h("div", {},
        h("p", {}, h("strong", {}, verdict_name), " ", h("small", {}, phase_name), h("br"), text),
        seen && h("p", { className: "seen" }, t("page.proof.seen", { seen })),
        (checklist ?? []).includes(step) && h("p", { className: "seen" }, t("page.proof.ticked")),
        advice(step)))));
}

/** The whole of an ended attempt under a heading `title`; the heading is what a reader is sent to. */
export function proofView(proof, photos) {
  const { grade, score, reason, feedback, made_by: made, steps, finished_at: at } = proof;
  const placed = new Set(steps.map(({ step }) => step));
  const loose = (feedback?.points ?? []).filter(({ step }) => !placed.has(step));
  return h("article", { className: `card proof ${grade?.code ?? "refused"}`, "data-proof": proof.id },
    h("h2", { tabIndex: -1 }, grade ? t("page.grade.title") : t("page.proof.refused")),
    grade && h("p", { className: "verdict" }, gradeBadge(grade), h("strong", {}, t("page.grade.score", { score }))),
    reason && h("p", { className: "note" }, reason.message),
    made?.standin && h("p", { className: "note" }, t("page.grade.standin")),
    pair(proof, photos),
    feedback?.summary && h("p", { className: "summary" }, feedback.summary),
    steps.length > 0 && [h("h3", {}, t("page.proof.steps")), verdicts(proof)],
    loose.length > 0 && h("ul", {}, loose.map(({ text }) => h("li", {}, text))),
    h("p", { className: "maker" }, moment(at)),
    made && maker(made));
}

/** "I do not agree": the words go to the people who run this; what was said stays readable. `sent()` hears of success. */
export function disputeView(analysisId, proof, sent) {
  if (proof.dispute) {
    return h("section", { className: "card dispute" }, h("h2", { tabIndex: -1 }, t("page.dispute.sent")),
      h("q", {}, proof.dispute.reason), h("p", { className: "maker" }, moment(proof.dispute.created_at)));
  }
  const problem = h("div");
  const words = h("textarea", { id: "dispute", maxLength: 1000, rows: 3, required: true, placeholder: t("page.dispute.example") });
  const send = h("button", { type: "submit" }, t("page.dispute.send"));
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      await call("POST", `/waste/analyses/${analysisId}/dispute`, { reason: words.value, proof_id: proof.id });
      sent();
    } catch (error) {
      if (error.code === "already_disputed") return sent(); // from another window: shown as it is
      fill(problem, problemView(error));
      send.disabled = false;
      send.focus();
    }
    return undefined;
  };
  return h("details", { className: "card dispute" }, h("summary", {}, t("page.dispute")),
    h("p", {}, t("page.dispute.what")),
    h("form", { onsubmit: submit }, h("label", { htmlFor: "dispute" }, t("page.dispute.reason")), words, problem, send));
}
