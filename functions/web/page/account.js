// The account: for a guest the way in, for who is signed in the profile.

import { known, sessionOver } from "./api.js";
import { alarm, fill, focus, h } from "./dom.js";
import { keepingView } from "./keeping.js";
import { profileView } from "./profile.js";
import { forgetEverything } from "./session.js";
import { signInView } from "./signin.js";
import { t } from "./texts.js";
import { account } from "./who.js";

/** Show the account in `root`, below `news` where something has just happened. */
export function accountView(root, news = "") {
  const title = h("h1", {}, t(account() ? "page.profile" : "page.account"));
  const shown = h("div");
  fill(root, title, h("div", { role: "status", className: "news" }, news && h("p", { className: "good" }, news)), shown);
  focus(title);
  const again = (happened) => title.isConnected && accountView(root, happened); // unless the visitor has gone on
  if (account()) profileView(shown, again);
  else fill(shown, sessionOver() && overNotice(again), signInView(again), known() && keepingView("guest", again));
}

/** An account must log in again: this browser makes no guest in its place unless it is told to. */
function overNotice(again) {
  const goOn = () => {
    forgetEverything();
    again(t("page.account.went_on"));
  };
  return alarm(h("strong", {}, t("page.signed_out")), h("p", {}, t("page.signed_out.detail")),
    h("button", { type: "button", onclick: goOn }, t("page.account.go_on")));
}
