// What we keep of a visitor: taken away as a file, or deleted for good.

import { call } from "./api.js";
import { alarm, fill, h, problemView } from "./dom.js";
import { complain, locked, passwordField, refusal } from "./forms.js";
import { leaveForGood } from "./session.js";
import { t } from "./texts.js";

const PATIENCE_MS = 300_000; // everything may be much

/** The card about what is kept of a visitor of `kind` (guest, account); `again(news)` once all of it is gone. */
export function keepingView(kind, again) {
  const problem = h("div");
  const take = h("button", { type: "button", className: "take-away", onclick: () => locked(card, download, (error) => fill(problem, problemView(error))) },
    t("page.profile.export"));
  const leave = h("button", { type: "button", className: "danger", onclick: () => askToLeave(kind, again) },
    t(kind === "guest" ? "page.profile.delete.guest" : "page.profile.delete"));
  const card = h("section", { className: "card" }, h("h2", {}, t("page.profile.kept")),
    h("p", {}, t(kind === "guest" ? "page.profile.kept.guest" : "page.profile.kept.what")),
    h("div", { className: "row" }, take, leave), problem);
  return card;

  async function download() {
    fill(problem);
    const everything = await call("GET", "/users/me/export", undefined, {}, PATIENCE_MS);
    const url = URL.createObjectURL(new Blob([JSON.stringify(everything, null, 2)], { type: "application/json" }));
    h("a", { href: url, download: `recycling-coach-${new Date().toISOString().slice(0, 10)}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }
}

/** Asks once more, and for the password of an account. */
function askToLeave(kind, again) {
  const problem = h("div");
  const password = kind === "account" && passwordField(t("page.account.password"), { id: "leave-password", autocomplete: "current-password" });
  const form = h("form", { noValidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    alarm(t("page.profile.delete.what")),
    password && password.element, problem,
    h("div", { className: "row" },
      h("button", { type: "submit", className: "danger" }, t("page.profile.delete.do")),
      h("button", { type: "button", className: "quiet", onclick: () => dialog.close() }, t("page.profile.delete.keep"))));
  const dialog = h("dialog", { "aria-labelledby": "leave-title", onclose: () => dialog.remove() },
    h("h2", { id: "leave-title" }, t("page.profile.delete.title")), form);
  document.body.append(dialog);
  dialog.showModal();

  function submit() {
    if (password && !complain([[password, password.input.value ? "" : t("page.account.password.missing")]])) return;
    fill(problem);
    locked(form, async () => {
      await leaveForGood(password && password.input.value);
      dialog.close();
      again(t("page.profile.deleted"));
    }, (error) => refusal(error, password ? { password } : {}, problem));
  }
}
