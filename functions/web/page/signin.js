// The way in: log in, or sign up. One form, for who began with the wrong one has typed the address already.

import { known } from "./api.js";
import { fill, h } from "./dom.js";
import { complain, field, locked, passwordField, refusal } from "./forms.js";
import { logIn, signUp } from "./session.js";
import { t } from "./texts.js";

const SHORTEST = 8;

/** What is wrong with `password` as a new one, or "". */
export function weakness(password) {
  return [...password.normalize("NFC")].length < SHORTEST || !password.trim() ? t("page.account.password.short") : "";
}

/** The card with the form; `done(news)` once somebody is in. */
export function signInView(done) {
  const card = h("section", { className: "card sign-in" });
  const email = field(t("page.account.email"), {
    id: "email", type: "email", autocomplete: "username", inputMode: "email", autocapitalize: "none", maxLength: 254, required: true,
  });
  draw("log_in");
  return card;

  function draw(mode) {
    const fresh = mode === "sign_up";
    const password = passwordField(t("page.account.password"),
      { id: "password", autocomplete: fresh ? "new-password" : "current-password", ...(fresh && { minLength: SHORTEST }) },
      { hint: fresh && t("page.account.password.hint") });
    const problem = h("div");
    const fields = { email, password };
    const form = h("form", { noValidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
      email.element, password.element, problem,
      h("button", { type: "submit", className: "primary" }, t(fresh ? "page.account.sign_up.do" : "page.account.log_in")));
    email.say("");
    fill(card, modes(mode), h("p", {}, lead(fresh)), form,
      !fresh && known() && h("p", { className: "hint" }, t("page.account.log_in.guest")));
    card.querySelector("input:checked").focus({ preventScroll: true });

    function submit() {
      const { value } = password.input;
      const sound = complain([
        [email, email.input.validity.valid ? "" : t("page.account.email.wrong")],
        [password, fresh ? weakness(value) : value ? "" : t("page.account.password.missing")],
      ]);
      if (!sound) return;
      fill(problem);
      locked(form, async () => {
        await (fresh ? signUp : logIn)(email.input.value.trim(), value);
        done(t(fresh ? "page.account.signed_up" : "page.account.logged_in"));
      }, (error) => refusal(error, fields, problem));
    }
  }

  function modes(mode) {
    return h("fieldset", { className: "modes" }, h("legend", { className: "spoken" }, t("page.account.mode")),
      h("div", { className: "choices two" }, [["log_in", t("page.account.log_in")], ["sign_up", t("page.account.sign_up")]].map(([value, label]) =>
        h("label", { className: "choice" },
          h("input", { type: "radio", name: "mode", value, checked: value === mode, onchange: () => draw(value) }),
          h("span", {}, label)))));
  }

  function lead(fresh) {
    if (!fresh) return t("page.account.log_in.lead");
    return t(known() ? "page.account.sign_up.guest" : "page.account.sign_up.lead");
  }
}
