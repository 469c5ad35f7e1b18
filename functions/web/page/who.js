// Who is signed in here, as this browser knows it: for the link in the header, and for what follows the profile.

import { signedIn } from "./api.js";
import { fill } from "./dom.js";
import { t } from "./texts.js";

const NAME = "growbin.name";

/** {name} of the account that is signed in, "" where that is not known yet; null for a guest. */
export function account() {
  return signedIn() ? { name: localStorage.getItem(NAME) ?? "" } : null;
}

/** Remember whose `profile` (GET /users/me) it is: a nickname, else the first part of the e-mail address. */
export function rememberAccount({ nickname, email }) {
  localStorage.setItem(NAME, nickname || email.split("@")[0]);
  showAccount();
}

/** The name of who was here is forgotten. */
export function forgetAccount() {
  localStorage.removeItem(NAME);
  showAccount();
}

/** The link in the header: to log in, or whose account it is. */
export function showAccount() {
  const link = document.getElementById("account");
  const who = account();
  fill(link, who ? who.name || t("page.account") : t("page.account.log_in"));
  if (who?.name) link.setAttribute("aria-label", t("page.account.of", who));
  else link.removeAttribute("aria-label");
}
