// A new analysis: a photo, perhaps a question, perhaps where one lives.

import { call, upload } from "./api.js";
import { photos } from "./analysis.js";
import { consented } from "./consent.js";
import { alarm, fill, h } from "./dom.js";
import { homeFields, readHome } from "./home.js";
import { ACCEPT, contentType, fault } from "./photo.js";
import { t } from "./texts.js";

/** Show the form in `root`. */
export function composeView(root) {
  let file = null;
  let url = null;
  const problem = h("div");
  const preview = h("div", { className: "preview", hidden: true });
  const take = picker("take", "page.photo.take", { capture: "environment" });
  const pick = picker("pick", "page.photo.pick", {});
  const question = h("textarea", { id: "question", maxLength: 500, rows: 2, placeholder: t("page.question.example") });
  const send = h("button", { type: "submit", className: "primary", disabled: true }, t("page.analyze"));
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("page.uploading") });
  const busy = h("div", { className: "busy", hidden: true, role: "status" });
  const form = h("form", { className: "compose", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div", { className: "picker" }, preview, h("div", { className: "row" }, take, pick), h("p", { className: "hint" }, t("page.photo.hint"))),
    h("label", { htmlFor: "question" }, t("page.question")), question,
    homeFields(),
    problem, send, busy);

  function picker(id, label, extra) {
    const input = h("input", { type: "file", id, accept: ACCEPT, className: "file", onchange: () => choose(input.files[0]), ...extra });
    return h("label", { className: "button", htmlFor: id }, input, t(label));
  }

  function choose(chosen) {
    if (!chosen) return;
    fill(problem);
    if (url) URL.revokeObjectURL(url);
    const wrong = fault(chosen);
    file = wrong ? null : chosen;
    send.disabled = !file;
    preview.hidden = !file;
    if (wrong) {
      fill(problem, alarm(t(wrong)));
      return;
    }
    url = URL.createObjectURL(file);
    const image = h("img", { src: url, alt: t("page.photo.alt") });
    image.onerror = () => image.replaceWith(h("p", { className: "no-preview" }, file.name));
    fill(preview, image);
  }

  async function submit() {
    if (!file) return;
    lock(true);
    fill(problem);
    try {
      if (!(await consented())) {
        fill(problem, alarm(t("page.consent.needed")));
        return;
      }
      fill(busy, h("p", {}, t("page.uploading")), bar);
      busy.hidden = false;
      bar.value = 0;
      const made = await call("POST", "/waste/uploads", { content_type: contentType(file) });
      await upload(made.upload, file, (part) => { bar.value = part; });
      const wish = { key: made.key, ...readHome() };
      if (question.value.trim()) wish.question = question.value;
      await call("POST", "/waste/analyze", wish, { "Idempotency-Key": made.id });
      photos.set(made.id, url);
      url = null;
      location.hash = `#/analyses/${made.id}`;
    } catch (error) {
      fill(problem, alarm(h("strong", {}, error.message), h("p", {}, error.detail)));
    } finally {
      busy.hidden = true;
      lock(false);
    }
  }

  function lock(on) {
    form.querySelectorAll("button, input, textarea").forEach((control) => { control.disabled = on; });
    send.disabled = on || !file;
  }

  fill(root, h("h1", {}, t("page.heading")), h("p", { className: "lead" }, t("page.lead")), form);
  return () => url && URL.revokeObjectURL(url);
}
