// One analysis as it happens: stages, the clarifying question, the guide, "that is not it", or why it failed; then what
// comes after a guide: further questions, and the photo of the result with its grade.

import { call } from "./api.js";
import { alarm, fill, focus, h, problemView } from "./dom.js";
import { LATER, follow } from "./follow.js";
import { guideView, seen } from "./guide.js";
import { gradeBadge } from "./proof.js";
import { threadPanel } from "./questions.js";
import { t, textOr } from "./texts.js";
import { verifyPanel } from "./verify.js";

/** Stages a person sees, and the events that finish each. */
const STEPS = [
  { code: "sent", done: ["analysis.requested"] },
  { code: "photo", done: ["photo.ingested"] },
  { code: "item", done: ["item.identified", "item.clarified", "item.unmatched"] },
  { code: "rules", done: ["rules.retrieved"] },
  { code: "guide", done: ["guidance.generated"] },
];

/** Photos chosen in this tab: analysis id → blob URL, shown before the kept copy exists. */
export const photos = new Map();

/** Show analysis `id` in `root` and keep it current. Answers a function that stops following. */
export function analysisView(root, id) {
  const title = h("h1", {}, t("page.analysis.title"));
  const steps = h("ol", { className: "stages", "aria-label": t("page.stages") });
  const spoken = h("p", { className: "spoken", role: "status", "aria-live": "polite" });
  const progress = h("section", { className: "card progress" }, steps);
  const result = h("div", { className: "result" });
  const trouble = h("div");
  const entries = [];
  let shown = "";
  let stop = () => {};
  let panels = []; // what goes on under a finished guide; each keeps itself current

  const picture = photos.has(id) && h("img", { className: "photo", src: photos.get(id), alt: t("page.photo.alt") });
  if (picture) picture.onerror = () => picture.remove();
  fill(root, title, picture, progress, spoken, trouble, result);
  focus(title);
  drawSteps();

  function drawSteps(analysis = null) {
    const round = Math.max(1, ...entries.map((entry) => entry.round ?? 1));
    const ended = analysis && ["completed", "failed", "expired"].includes(analysis.status);
    const asking = analysis?.status === "needs_answer";
    let current = true;
    let last = null;
    fill(steps, STEPS.map(({ code, done }) => {
      const entry = entries.find(({ stage, round: of }) => done.includes(stage) && (of === undefined || of === round));
      const state = entry ? "done" : current ? (asking ? "asking" : "current") : "waiting";
      if (!entry) current = false;
      if (!entry && ended) return null; // what was never reached needs no mention
      const seconds = entry && last && (new Date(entry.at) - last) / 1000;
      last = entry ? new Date(entry.at) : last;
      return h("li", { className: state, "data-stage": code, "aria-current": state === "current" ? "step" : null },
        h("span", {}, t(`page.stage.${code}.${{ done: "done", asking: "asking" }[state] ?? "doing"}`)),
        seconds >= 0.05 && h("small", {}, t("page.seconds", { s: seconds.toFixed(1) })));
    }));
  }

  function onStage(entry) {
    entries.push(entry);
    const step = STEPS.find(({ done }) => done.includes(entry.stage));
    if (step) spoken.textContent = t(`page.stage.${step.code}.done`);
    drawSteps();
  }

  function onState(analysis) {
    fill(trouble);
    const now = [analysis.status, analysis.round, analysis.guide?.id].join("/");
    if (now !== shown) redraw(analysis);
    shown = now;
    panels.forEach((panel) => panel.update(analysis));
  }

  function redraw(analysis) {
    leavePanels();
    drawSteps(analysis);
    progress.hidden = analysis.outcome === "guide" && analysis.status === "completed";
    fill(result, outcome(analysis));
    result.querySelector("h2")?.scrollIntoView({ block: "nearest" });
    if (analysis.status === "completed") spoken.textContent = t("page.analysis.ready");
  }

  function leavePanels() {
    panels.forEach((panel) => panel.leave());
    panels = [];
  }

  function outcome(analysis) {
    const again = () => restart();
    switch (analysis.status) {
      case "needs_answer":
        return [seen(analysis.item), question(analysis, again), correction(analysis, again), earlier(analysis)];
      case "completed":
        if (analysis.outcome !== "guide") return [notFound(analysis), correction(analysis, again)];
        panels = [verifyPanel(resume), threadPanel(id, analysis.guide.rules, resume)];
        return [
          gradeLine(analysis, panels[0]), guideView(analysis), panels.map(({ element }) => element),
          correction(analysis, again), earlier(analysis), process(entries, analysis.round),
        ];
      case "failed":
      case "expired":
        return [failure(analysis), earlier(analysis)];
      default:
        return seen(analysis.item);
    }
  }

  function restart() {
    stop();
    leavePanels();
    progress.hidden = false;
    fill(result);
    shown = "";
    drawSteps();
    progress.scrollIntoView({ block: "nearest" });
    stop = start();
  }

  /** Follow on from here: something was asked or sent after the end. */
  function resume() {
    if (!title.isConnected) return; // the visitor has gone on to another view
    stop();
    stop = start(Math.max(0, ...entries.map(({ n }) => n)));
  }

  function start(after = 0) {
    return follow(id, {
      onStage: (entry) => entries.some(({ n }) => n === entry.n) || onStage(entry),
      onState,
      onTrouble: (problem, forGood) => {
        fill(trouble, alarm(h("strong", {}, problem.message), h("p", {}, forGood ? problem.detail : t("page.still_trying"))));
        if (forGood) progress.hidden = true;
      },
    }, after);
  }

  stop = start();
  return () => {
    stop();
    leavePanels();
  };
}

/** Of an analysis graded before: the grade first, and the way down to it. */
function gradeLine({ proofs = [], round }, { element }) {
  const graded = proofs.find(({ grade, round: of }) => grade && of === round);
  return graded && h("p", { className: "grade-line" }, t("page.grade"), " ", gradeBadge(graded.grade),
    h("button", { type: "button", className: "link", onclick: () => element.querySelector("h2").focus() }, t("page.grade.look")));
}

/** The clarifying question: one tap answers it. */
function question({ id, clarify }, again) {
  const problem = h("div");
  const buttons = clarify.options.map((option) => h("button", { type: "button", className: "option", onclick: () => answer(option) }, option.label));
  async function answer(option) {
    buttons.forEach((button) => { button.disabled = true; });
    try {
      await call("POST", `/waste/analyses/${id}/answer`, { option: option.id });
      again();
    } catch (error) {
      if (error.code === "not_waiting") return again();
      buttons.forEach((button) => { button.disabled = false; });
      fill(problem, problemView(error));
    }
    return undefined;
  }
  return h("section", { className: "card question" }, h("h2", {}, clarify.question), h("div", { className: "options" }, buttons), problem);
}

/** "That is not it": another candidate with one tap, or the right thing in words. */
function correction({ id, item, outcome, status }, again) {
  const beside = item?.others ?? [];
  const others = (item?.candidates ?? []).filter(({ id: other }) => other !== item.id && !beside.some((thing) => thing.id === other));
  const problem = h("div");
  const words = h("input", { id: "words", name: "words", maxLength: 100, autocomplete: "off", placeholder: t("page.correct.example"), required: true });
  async function correct(body) {
    const controls = section.querySelectorAll("button, input");
    controls.forEach((control) => { control.disabled = true; });
    try {
      await call("POST", `/waste/analyses/${id}/correction`, body);
      again();
    } catch (error) {
      controls.forEach((control) => { control.disabled = false; });
      const nearest = error.body?.nearest ?? [];
      fill(problem, problemView(error),
        h("div", { className: "options" }, nearest.map(({ name }) =>
          h("button", { type: "button", className: "option", onclick: () => correct({ words: name }) }, name))));
    }
  }
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); correct({ words: words.value }); } },
    h("label", { htmlFor: "words" }, t("page.correct.words")),
    h("div", { className: "row" }, words, h("button", { type: "submit" }, t("page.correct.send"))));
  const choice = ({ id: item_id, name }) => h("button", { type: "button", className: "option", onclick: () => correct({ item_id }) }, name);
  const body = [
    others.length > 0 && h("p", {}, t("page.correct.others")),
    others.length > 0 && h("div", { className: "options" }, others.map(choice)),
    form,
    problem,
  ];
  const open = outcome === "not_found" && status === "completed";
  const section = h("div", {},
    beside.length > 0 && h("section", { className: "card beside" }, h("h2", {}, t("page.correct.beside")),
      h("div", { className: "options" }, beside.map(choice))),
    open
      ? h("section", { className: "card correct" }, body)
      : h("details", { className: "card correct" }, h("summary", {}, t(status === "needs_answer" ? "page.correct.none" : "page.correct")), body));
  return section;
}

/** Guides of earlier rounds stay readable. */
function earlier({ id, guides, round }) {
  const old = guides.filter((guide) => guide.round !== round);
  const shown = h("div");
  const show = async (of) => {
    try {
      fill(shown, guideView(await call("GET", `/waste/analyses/${id}?round=${of}`)));
    } catch (error) {
      fill(shown, alarm(h("strong", {}, error.message)));
    }
  };
  return old.length > 0 && h("details", { className: "card" }, h("summary", {}, t("page.earlier", { n: old.length })),
    h("div", { className: "options" }, old.map((guide) =>
      h("button", { type: "button", className: "option", onclick: () => show(guide.round) }, t("page.earlier.one", { n: guide.round, name: guide.item_name })))),
    shown);
}

/** How long the guide took, for the curious. */
function process(all, round) {
  const end = all.findLastIndex(({ stage }) => stage === "guidance.generated");
  const entries = all.slice(0, end + 1).filter(({ stage }) => !LATER.test(stage));
  const times = entries.map(({ at }) => new Date(at).getTime());
  const begun = entries.find((entry) => (round > 1 ? entry.round === round : entry.stage === "analysis.requested"));
  const seconds = begun && (Math.max(...times) - new Date(begun.at)) / 1000;
  return h("details", { className: "card process" },
    h("summary", {}, t("page.process", { s: seconds ? seconds.toFixed(1) : "?" })),
    h("ol", {}, entries.map(({ stage, at }) => h("li", {}, textOr(`stage.${stage}`, stage), " ",
      h("small", {}, new Date(at).toLocaleTimeString())))));
}

function notFound({ item }) {
  return h("section", { className: "card" }, h("h2", {}, t("page.not_found")), seen(item), h("p", {}, t("page.not_found.detail")));
}

function failure({ failure: why, status }) {
  return h("section", { className: "card caution" }, h("h2", {}, t(`page.${status}`)), h("p", {}, why?.message ?? ""),
    h("a", { className: "button", href: "#/" }, t("page.again")));
}
