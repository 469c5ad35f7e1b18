// Which view the address asks for.

import { accountView } from "./account.js";
import { allView } from "./all.js";
import { analysisView } from "./analysis.js";
import { composeView } from "./compose.js";
import { showConsent } from "./consent.js";
import { historyView } from "./history.js";
import { lessonsView } from "./lessons.js";
import { placesView } from "./places.js";
import { ruleView } from "./rule.js";
import { searchView } from "./search.js";
import { readProfile, writeProfile } from "./session.js";
import { statsView } from "./stats.js";
import { otherLanguage, switchLanguage } from "./texts.js";
import { account, showAccount } from "./who.js";

const VIEWS = [
  [/^#\/analyses\/([0-9a-f-]{36})$/, "analysis", analysisView],
  [/^#\/history$/, "history", historyView],
  [/^#\/stats$/, "stats", statsView],
  [/^#\/lessons(?:\/([0-9a-f-]{36}))?$/, "lessons", lessonsView],
  [/^#\/places$/, "places", placesView],
  [/^#\/account$/, "account", accountView],
  [/^#\/guide(?:\/([a-z0-9-]+))?$/, "search", allView],
  [/^#\/search(?:\/(.*))?$/, "search", searchView],
  [/^#\/rules\/(.+)$/, "rule", ruleView],
  [/^/, "new", composeView],
];

const root = document.getElementById("view");
let leave = null;

function show() {
  leave?.();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  const [pattern, name, view] = VIEWS.find(([candidate]) => candidate.test(location.hash));
  document.querySelectorAll("[data-view]").forEach((link) => {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  leave = view(root, decodeURIComponent(location.hash.match(pattern)[1] ?? ""));
  window.scrollTo(0, 0);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view, it is no place on the page
  root.focus();
});
document.getElementById("language").addEventListener("click", async () => {
  if (account()) await writeProfile({ language: otherLanguage }).catch(() => {}); // at the next login it is asked there
  switchLanguage(otherLanguage);
});
window.addEventListener("hashchange", show);
window.addEventListener("storage", showAccount); // logged in or out in another window
window.addEventListener("signedout", showAccount);
showAccount();
show();
showConsent();
if (account()) readProfile().catch(() => {}); // what was changed on another device
