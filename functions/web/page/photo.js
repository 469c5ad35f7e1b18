// A photo: chosen or taken, looked at before it is sent, sent.

import { call, upload } from "./api.js";
import { alarm, fill, h } from "./dom.js";
import { t } from "./texts.js";

const ENDINGS = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp", heic: "image/heic", heif: "image/heic" };
const LARGEST = 10 * 1024 * 1024;

/** What the file dialog offers. */
const ACCEPT = "image/jpeg,image/png,image/webp,image/heic,image/heif,.heic,.heif";

/** The content type to announce (some browsers know no HEIC: then the name decides), or null for no photo of ours. */
function contentType(file) {
  const type = file.type === "image/heif" ? "image/heic" : file.type;
  if (Object.values(ENDINGS).includes(type)) return type;
  return type ? null : ENDINGS[file.name.split(".").pop().toLowerCase()] ?? null;
}

/** Key of the message that says why the file cannot be sent, or null where it can. */
function fault(file) {
  if (file.size === 0) return "page.photo.empty";
  if (file.size > LARGEST) return "page.photo.too_large";
  return contentType(file) ? null : "page.photo.wrong_type";
}

/**
 * Two buttons (take, choose) and a preview. `prefix` keeps the ids of two pickers apart; `onChoice(file)` hears each choice,
 * null for a file that cannot be sent (why is said here). `keep()` hands out the preview's address, to show it elsewhere;
 * `drop()` forgets it.
 */
export function photoPicker(prefix, onChoice) {
  let url = null;
  const preview = h("div", { className: "preview", hidden: true });
  const problem = h("div");
  const element = h("div", { className: "picker" }, preview,
    h("div", { className: "row" }, button("take", "page.photo.take", { capture: "environment" }), button("pick", "page.photo.pick", {})),
    h("p", { className: "hint" }, t("page.photo.hint")), problem);

  function button(name, label, extra) {
    const input = h("input", { type: "file", id: prefix + name, accept: ACCEPT, className: "file", onchange: () => choose(input.files[0]), ...extra });
    return h("label", { className: `button ${name}`, htmlFor: prefix + name }, input, t(label));
  }

  function choose(chosen) {
    if (!chosen) return;
    drop();
    const wrong = fault(chosen);
    preview.hidden = Boolean(wrong);
    fill(problem, wrong && alarm(t(wrong)));
    if (!wrong) {
      url = URL.createObjectURL(chosen);
      const image = h("img", { src: url, alt: t("page.photo.alt") });
      image.onerror = () => image.replaceWith(h("p", { className: "no-preview" }, chosen.name));
      fill(preview, image);
    }
    onChoice(wrong ? null : chosen);
  }

  function drop() {
    if (url) URL.revokeObjectURL(url);
    url = null;
  }

  function keep() {
    const kept = url;
    url = null;
    return kept;
  }

  return { element, keep, drop };
}

/** "Uploading", with a bar: `show()`, `part(0 to 1)`, `hide()`. */
export function uploadBar() {
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("page.uploading") });
  const element = h("div", { className: "busy", hidden: true, role: "status" });
  return {
    element,
    show: () => { bar.value = 0; fill(element, h("p", {}, t("page.uploading")), bar); element.hidden = false; },
    part: (part) => { bar.value = part; },
    hide: () => { element.hidden = true; },
  };
}

/** Ask for an upload address (`about`: what the photo is of) and send `file` there; what the API said of it. */
export async function sendPhoto(file, about, progress) {
  const made = await call("POST", "/waste/uploads", { content_type: contentType(file), ...about });
  await upload(made.upload, file, progress);
  return made;
}
