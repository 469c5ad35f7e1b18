// Everything this visitor had analysed, newest first.

import { call } from "./api.js";
import { fill, focus, h, problemView } from "./dom.js";
import { statusText } from "./guide.js";
import { gradeBadge } from "./proof.js";
import { moment, t } from "./texts.js";

/** Show the history in `root`, page by page. */
export function historyView(root) {
  const title = h("h1", {}, t("page.history"));
  const list = h("ul", { className: "history" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, t("page.more"));
  const problem = h("div");
  const busy = h("p", { className: "busy" }, t("page.loading"));
  let cursor = null;

  async function load() {
    more.disabled = true;
    fill(problem);
    try {
      const page = await call("GET", `/waste/analyses?limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      cursor = page.next;
      list.append(...page.analyses.map(entry));
      more.hidden = !cursor;
      if (!list.children.length) fill(problem, h("p", {}, t("page.history.empty")));
    } catch (error) {
      more.hidden = false;
      fill(problem, problemView(error));
    }
    busy.remove();
    more.disabled = false;
  }

  fill(root, title, busy, list, problem, more);
  focus(title);
  load();
}

function entry(analysis) {
  return h("li", {}, h("a", { className: "card", href: `#/analyses/${analysis.id}` },
    h("strong", {}, analysis.item?.name ?? statusText(analysis.status, analysis.outcome), analysis.grade && gradeBadge(analysis.grade)),
    analysis.destination ? h("span", {}, t("page.history.to", { place: analysis.destination.name })) : h("span", {}, statusText(analysis.status, analysis.outcome)),
    analysis.question && h("q", {}, analysis.question),
    h("time", { dateTime: analysis.created_at }, moment(analysis.created_at))));
}
