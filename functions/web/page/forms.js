// Fields of forms: each with its label, its hint and, beside it, what is wrong with it, so that it is also heard there.

import { fill, h, problemView } from "./dom.js";
import { t } from "./texts.js";

/** A field: {element, input, say(text)}; `say` shows what is wrong beside it, or nothing any more. */
export function field(label, properties, { hint = null, extra = null } = {}) {
  const { id } = properties;
  const wrong = h("p", { id: `${id}-wrong`, className: "wrong-field" });
  const described = [hint && `${id}-hint`, `${id}-wrong`].filter(Boolean).join(" ");
  const input = h("input", { ...properties, "aria-describedby": described, oninput: () => say("") });
  const element = h("div", { className: "field" }, h("label", { htmlFor: id }, label),
    extra ? h("div", { className: "with-button" }, input, extra(input)) : input,
    hint && h("p", { id: `${id}-hint`, className: "hint" }, hint), wrong);

  function say(text) {
    wrong.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  return { element, input, say };
}

/** A field for a password, with a button that shows it. */
export function passwordField(label, properties, options = {}) {
  const extra = (input) => {
    const button = h("button", { type: "button", "aria-controls": properties.id, onclick: () => show(input.type === "password") });
    const show = (readable) => {
      input.type = readable ? "text" : "password";
      button.textContent = t(readable ? "page.account.password.hide" : "page.account.password.show");
      button.setAttribute("aria-label", `${label}: ${button.textContent}`);
    };
    input.setAttribute("spellcheck", "false"); // some browsers send what they check elsewhere
    show(false);
    return button;
  };
  return field(label, {
    type: "password", required: true, maxLength: 128, autocapitalize: "none", ...properties,
  }, { ...options, extra });
}

/** Refusals that are about one field: their code, and the names that field may have. */
const BESIDE = { email_taken: ["email"], wrong_password: ["old", "password"] };

/**
 * Say what is wrong: `faults` [[field, text or ""]] beside the fields, the first of which gets the focus. True where nothing is.
 */
export function complain(faults) {
  faults.forEach(([of, text]) => of.say(text));
  const first = faults.find(([, text]) => text);
  first?.[0].input.focus();
  return !first;
}

/** Show why the API refused: beside the `fields` {name: field} it names, in `place` for the rest. */
export function refusal(error, fields, place) {
  const beside = BESIDE[error.code]?.map((name) => ({ field: name, detail: `${error.message}. ${error.detail}` }));
  const named = (beside ?? error.body?.problems ?? []).filter(({ field: name }) => fields[name]);
  fill(place, named.length === 0 && problemView(error));
  complain(named.map(({ field: name, detail }) => [fields[name], detail]));
}

/** Run `work` while the controls of `form` are locked; `failed(error)` hears of a failure once they are not. */
export async function locked(form, work, failed) {
  const controls = [...form.querySelectorAll("button, input, select")].filter((control) => !control.disabled);
  controls.forEach((control) => { control.disabled = true; });
  let failure = null;
  try {
    await work();
  } catch (error) {
    failure = error;
  }
  controls.forEach((control) => { control.disabled = false; });
  if (failure) failed(failure);
}
