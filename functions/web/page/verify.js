// "I did it, look": the steps as a checklist, the photo of the result, its grade, and another try where there was none.

import { call } from "./api.js";
import { consented } from "./consent.js";
import { alarm, fill, h, problemView } from "./dom.js";
import { lessonLink } from "./lessons.js";
import { photoPicker, sendPhoto, uploadBar } from "./photo.js";
import { disputeView, gradeBadge, proofView } from "./proof.js";
import { moment, t } from "./texts.js";

/** Stages a person sees while a result is looked at, and in which status of the proof each is done. */
const STAGES = [["photo", ["ingested"]], ["compare", []], ["grade", []]];

/**
 * The panel below the guide of an analysis: {element, update(analysis), leave()}. `changed()` is called whenever there is
 * something new to follow.
 */
export function verifyPanel(changed) {
  const spoken = h("p", { className: "spoken", role: "status", "aria-live": "polite" });
  const shown = h("div");
  const element = h("div", { className: "verify" }, spoken, shown);
  let drawn = "";
  let awaited = null; // id of the proof whose end this page waits for
  let contested = null; // id of the proof this page has sent a word against, until that is shown
  let form = null;

  function update(analysis) {
    const now = JSON.stringify([analysis.proofs, analysis.verifiable]);
    if (now !== drawn) draw(analysis);
    drawn = now;
  }

  function draw(analysis) {
    const { id, proofs = [], verifiable } = analysis;
    const open = proofs.find(({ finished_at: at }) => !at);
    const current = open ?? proofs.findLast(({ round }) => round === analysis.round);
    const here = shown.contains(document.activeElement) || document.activeElement === document.body;
    const photos = () => call("GET", `/waste/analyses/${id}/photos`).catch(() => ({ before: null, after: {} }));
    const contest = () => {
      contested = current.id;
      changed();
    };
    form?.leave();
    form = verifiable && !open ? resultForm(analysis, current?.checklist ?? [], changed) : null;
    fill(shown,
      current && (open ? progress(current) : [
        proofView(current, photos()),
        current.grade && current.grade.code !== "high" && lessonLink(current.item?.id, current.finished_at),
        current.reason && form && retry(form.element),
        current.reason && !form && h("p", { className: "note" }, t("page.proof.no_more")),
        disputeView(id, current, contest),
      ]),
      form?.element,
      attempts(proofs, current, analysis.round, photos));
    const ended = proofs.find((proof) => proof.id === awaited && proof.finished_at);
    if (ended) {
      spoken.textContent = ended.grade ? t("page.grade.spoken", { grade: ended.grade.name, score: ended.score }) : ended.reason.message;
    }
    if (here && current && (open || ended === current)) shown.querySelector("h2").focus();
    if (here && contested && current?.id === contested && current.dispute) shown.querySelector(".dispute h2").focus();
    if (current?.dispute) contested = null;
    awaited = open?.id ?? null;
  }

  return { element, update, leave: () => form?.leave() };
}

/** The stages of an open proof. */
function progress({ status }) {
  let current = true;
  return h("section", { className: "card progress" },
    h("h2", { tabIndex: -1 }, t("page.proof.looking")),
    h("ol", { className: "stages", "aria-label": t("page.proof.stages") }, STAGES.map(([code, done]) => {
      const state = done.includes(status) ? "done" : current ? "current" : "waiting";
      if (state === "current") current = false;
      return h("li", { className: state, "data-proof-stage": code, "aria-current": state === "current" ? "step" : null },
        h("span", {}, t(`page.proof.stage.${code}.${state === "done" ? "done" : "doing"}`)));
    })));
}

/** After a refusal the form waits behind one button. */
function retry(form) {
  form.hidden = true;
  const button = h("button", { type: "button", className: "primary again" }, t("page.proof.again"));
  button.onclick = () => {
    form.hidden = false;
    button.remove();
    form.querySelector("h2").focus();
  };
  return button;
}

/** The attempts but the current one, folded; each is drawn, and its pictures are fetched, when it is first unfolded. */
function attempts(proofs, current, round, photos) {
  const numbered = proofs.map((proof, index) => ({ proof, n: index + 1 })).filter(({ proof }) => proof !== current);
  return numbered.length > 0 && h("details", { className: "card attempts" },
    h("summary", {}, t("page.proof.earlier", { n: numbered.length })),
    numbered.map(({ proof, n }) => {
      const attempt = h("details", {},
        h("summary", {}, t("page.proof.attempt", { n }), " ",
          proof.grade ? gradeBadge(proof.grade) : h("small", {}, t("page.proof.refused")),
          proof.round !== round && h("small", { className: "old" }, " ", t("page.proof.old_guide"))));
      attempt.addEventListener("toggle", () => attempt.append(proofView(proof, photos())), { once: true });
      return attempt;
    }));
}

/** The form: what of `guide` was done (`ticked` from before), the photo, off it goes. */
function resultForm({ id, guide }, ticked, changed) {
  let file = null;
  let sent = null; // the file is in the store already: only the word about it went missing
  const problem = h("div");
  const bar = uploadBar();
  const send = h("button", { type: "submit", className: "primary", disabled: true }, t("page.proof.send"));
  const picker = photoPicker("after-", (chosen) => {
    fill(problem);
    file = chosen;
    sent = null;
    send.disabled = !file;
  });
  const boxes = guide.steps.map((step, index) => h("input", { type: "checkbox", value: String(index), checked: ticked.includes(index) }));
  const element = h("form", { className: "card result-form", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("h2", { tabIndex: -1 }, t("page.proof.title")),
    h("p", {}, t("page.proof.what")),
    h("fieldset", { className: "checklist" }, h("legend", {}, t("page.proof.checklist")),
      guide.steps.map((step, index) => step.to_do && h("label", { className: "check" }, boxes[index],
        h("span", {}, h("small", {}, step.phase_name), " ", step.text)))),
    picker.element, problem, send, bar.element);

  async function submit() {
    if (!file) return;
    lock(true);
    fill(problem);
    try {
      if (!(await consented())) {
        fill(problem, alarm(t("page.consent.needed")));
        return;
      }
      bar.show();
      sent ??= await sendPhoto(file, { after: id }, bar.part);
      const done = boxes.filter((box) => box.checked).map((box) => Number(box.value));
      await call("POST", `/waste/analyses/${id}/verify`, { key: sent.key, done });
      changed();
    } catch (error) {
      if (error.code !== "offline") sent = null;
      if (["already_verifying", "already_graded"].includes(error.code)) changed(); // from another window: shown as it is
      else fill(problem, problemView(error));
    } finally {
      bar.hide();
      lock(false);
    }
  }

  function lock(on) {
    element.querySelectorAll("button, input").forEach((control) => { control.disabled = on; });
    send.disabled = on || !file;
  }

  return { element, leave: picker.drop };
}
