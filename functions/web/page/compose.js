// A new analysis: a photo, perhaps a question, perhaps where one lives.

import { call } from "./api.js";
import { photos } from "./analysis.js";
import { consented } from "./consent.js";
import { alarm, fill, h, problemView } from "./dom.js";
import { homeFields, readHome } from "./home.js";
import { photoPicker, sendPhoto, uploadBar } from "./photo.js";
import { t } from "./texts.js";

/** Show the form in `root`. */
export function composeView(root) {
  let file = null;
  const problem = h("div");
  const picker = photoPicker("", (chosen) => {
    fill(problem);
    file = chosen;
    send.disabled = !file;
  });
  const question = h("textarea", { id: "question", maxLength: 500, rows: 2, placeholder: t("page.question.example") });
  const send = h("button", { type: "submit", className: "primary", disabled: true }, t("page.analyze"));
  const bar = uploadBar();
  const form = h("form", { className: "compose", onsubmit: (event) => { event.preventDefault(); submit(); } },
    picker.element,
    h("label", { htmlFor: "question" }, t("page.question")), question,
    homeFields(),
    problem, send, bar.element);

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
      const made = await sendPhoto(file, {}, bar.part);
      const wish = { key: made.key, ...readHome() };
      if (question.value.trim()) wish.question = question.value;
      await call("POST", "/waste/analyze", wish, { "Idempotency-Key": made.id });
      photos.set(made.id, picker.keep());
      location.hash = `#/analyses/${made.id}`;
    } catch (error) {
      fill(problem, problemView(error));
    } finally {
      bar.hide();
      lock(false);
    }
  }

  function lock(on) {
    form.querySelectorAll("button, input, textarea").forEach((control) => { control.disabled = on; });
    send.disabled = on || !file;
  }

  fill(root, h("h1", {}, t("page.heading")), h("p", { className: "lead" }, t("page.lead")), form);
  return picker.drop;
}
