// Which view the address asks for.

import { allView } from "./all.js";
import { analysisView } from "./analysis.js";
import { composeView } from "./compose.js";
import { showConsent } from "./consent.js";
import { historyView } from "./history.js";
import { lessonsView } from "./lessons.js";
import { ruleView } from "./rule.js";
import { searchView } from "./search.js";
import { statsView } from "./stats.js";
import { switchLanguage } from "./texts.js";

const VIEWS = [
  [/^#\/analyses\/([0-9a-f-]{36})$/, "analysis", analysisView],
  [/^#\/history$/, "history", historyView],
  [/^#\/stats$/, "stats", statsView],
  [/^#\/lessons(?:\/([0-9a-f-]{36}))?$/, "lessons", lessonsView],
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
  document.querySelectorAll("nav a").forEach((link) => {
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
document.getElementById("language").addEventListener("click", switchLanguage);
window.addEventListener("hashchange", show);
show();
showConsent();
