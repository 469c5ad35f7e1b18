// The profile of who is signed in: what is proposed for the next question, the consent, the password, the way out.

import { showConsent } from "./consent.js";
import { fill, h, problemView } from "./dom.js";
import { complain, field, locked, passwordField, refusal } from "./forms.js";
import { homeFields } from "./home.js";
import { keepingView } from "./keeping.js";
import { changePassword, logOut, readProfile, writeProfile } from "./session.js";
import { weakness } from "./signin.js";
import { lang, switchLanguage, t } from "./texts.js";

/** Show the profile in `root`; `again(news)` once nobody is signed in any more. */
export async function profileView(root, again) {
  fill(root, h("p", { className: "busy" }, t("page.loading")));
  try {
    const profile = await readProfile();
    fill(root, aboutCard(profile), consentCard(profile), passwordCard(profile), keepingView("account", again), logOutButton(again));
  } catch (error) {
    if (error.code === "signed_out") again("");
    else fill(root, problemView(error));
  }
}

/** Nickname, home and language, saved together. */
function aboutCard({ email, nickname, language }) {
  let change = {};
  const said = h("p", { role: "status", className: "saved" });
  const problem = h("div");
  const name = field(t("page.profile.nickname"), {
    id: "nickname", value: nickname ?? "", maxLength: 20, autocomplete: "nickname",
    onchange: () => { change.nickname = name.input.value.trim() || null; },
  }, { hint: t("page.profile.nickname.hint") });
  const languages = h("fieldset", {}, h("legend", {}, t("page.profile.language")),
    h("div", { className: "choices two" }, [["ko", t("page.profile.language.ko")], ["en", t("page.profile.language.en")]].map(([value, label]) =>
      h("label", { className: "choice" },
        h("input", { type: "radio", name: "language", value, checked: value === language, onchange: () => { change.language = value; } }),
        h("span", {}, label)))));
  const form = h("form", { noValidate: true, onsubmit: (event) => { event.preventDefault(); submit(); }, oninput: () => fill(said) },
    h("p", { className: "who" }, email), name.element,
    homeFields(t("page.profile.home"), (part) => { const [[key, value]] = Object.entries(part); change[key] = value || null; }),
    languages, problem, h("button", { type: "submit", className: "primary" }, t("page.profile.save")), said);

  function submit() {
    fill(problem);
    locked(form, async () => {
      await writeProfile(change);
      if (change.language && change.language !== lang) switchLanguage(change.language);
      change = {};
      fill(said, t("page.profile.saved"));
    }, (error) => refusal(error, { nickname: name }, problem));
  }

  return h("section", { className: "card" }, h("h2", {}, t("page.profile.about")), form);
}

/** May photos go to the model provider? Kept at once; the line in the footer follows. */
function consentCard({ consent }) {
  const problem = h("div");
  const box = h("input", { type: "checkbox", id: "consent-given", checked: consent, onchange: () => keep(box.checked) });
  const card = h("section", { className: "card" }, h("h2", {}, t("page.profile.consent")),
    h("label", { className: "check" }, box, h("span", {}, t("page.profile.consent.what"))),
    h("p", { className: "hint" }, t("page.profile.consent.hint")), problem);

  function keep(granted) {
    fill(problem);
    locked(card, async () => {
      await writeProfile({ consent: granted });
      await showConsent();
    }, (error) => {
      box.checked = !granted;
      fill(problem, problemView(error));
    });
  }

  return card;
}

function passwordCard({ email }) {
  const said = h("div", { role: "status" });
  const problem = h("div");
  const old = passwordField(t("page.profile.password.old"), { id: "old-password", autocomplete: "current-password" });
  const fresh = passwordField(t("page.profile.password.new"), { id: "new-password", autocomplete: "new-password", minLength: 8 },
    { hint: t("page.account.password.hint") });
  const form = h("form", { noValidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("input", { type: "email", autocomplete: "username", value: email, hidden: true, readOnly: true, "aria-hidden": "true" }), // for password managers
    old.element, fresh.element, problem,
    h("button", { type: "submit", className: "primary" }, t("page.profile.password.change")), said);

  function submit() {
    fill(said);
    fill(problem);
    const sound = complain([
      [old, old.input.value ? "" : t("page.account.password.missing")],
      [fresh, weakness(fresh.input.value)],
    ]);
    if (!sound) return;
    locked(form, async () => {
      await changePassword(old.input.value, fresh.input.value);
      form.reset();
      fill(said, h("p", { className: "good" }, t("page.profile.password.changed")));
    }, (error) => refusal(error, { old, new: fresh }, problem));
  }

  return h("details", { className: "card" }, h("summary", {}, t("page.profile.password.change")), form);
}

function logOutButton(again) {
  const problem = h("div");
  const button = h("button", { type: "button", className: "wide" }, t("page.profile.log_out"));
  button.onclick = () => locked(button.parentElement, async () => {
    await logOut();
    again(t("page.account.logged_out"));
  }, (error) => fill(problem, problemView(error), h("p", { className: "hint" }, t("page.profile.log_out.failed"))));
  return h("div", {}, button, problem);
}
