// Asked once, kept with the user: may photos be sent to the model provider?

import { call, known } from "./api.js";
import { fill, h, problemView } from "./dom.js";
import { t } from "./texts.js";

/** True once the visitor agrees (now or before); false where they decline. */
export async function consented() {
  const { consent } = await call("GET", "/auth/me");
  if (consent) return true;
  if (!(await ask())) return false;
  await call("POST", "/auth/consent", { granted: true });
  await showConsent();
  return true;
}

function ask() {
  return new Promise((resolve) => {
    let agreed = false;
    const decide = (value) => () => { agreed = value; dialog.close(); };
    const dialog = h("dialog", {
      id: "consent-dialog", "aria-labelledby": "consent-title", onclose: () => { dialog.remove(); resolve(agreed); },
    },
      h("h2", { id: "consent-title" }, t("page.consent.title")),
      h("p", {}, t("page.consent.what")),
      h("ul", {}, ["page.consent.sent", "page.consent.words", "page.consent.location", "page.consent.kept", "page.consent.withdraw"].map((key) => h("li", {}, t(key)))),
      h("div", { className: "row" },
        h("button", { type: "button", className: "primary", onclick: decide(true) }, t("page.consent.agree")),
        h("button", { type: "button", className: "quiet", onclick: decide(false) }, t("page.consent.decline"))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** In the footer: that consent was given, and the way to take it back. Says nothing to a visitor without a token. */
export async function showConsent() {
  const line = document.getElementById("consent");
  if (!known()) return fill(line);
  const { consent } = await call("GET", "/auth/me").catch(() => ({ consent: false }));
  if (!consent) return fill(line);
  const withdraw = async () => {
    await call("POST", "/auth/consent", { granted: false });
    fill(line, t("page.consent.withdrawn"));
  };
  return fill(line, t("page.consent.given"), " ",
    h("button", { type: "button", className: "link", onclick: () => withdraw().catch((error) => fill(line, problemView(error))) }, t("page.consent.take_back")));
}
