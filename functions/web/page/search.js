// Without a photo: what is it, and how is it thrown away?

import { call } from "./api.js";
import { fill, focus, h, problemView } from "./dom.js";
import { homeFields, readHome } from "./home.js";
import { askView, fetchItem, itemView } from "./item.js";
import { t } from "./texts.js";

/** Show the search in `root`, with the answer to `text` where there is one. */
export function searchView(root, text) {
  const title = h("h1", {}, t("page.search"));
  const input = h("input", { id: "q", type: "search", maxLength: 100, value: text, placeholder: t("page.search.example"), required: true });
  const answer = h("div", { className: "result", "aria-live": "polite" });
  const form = h("form", { role: "search", onsubmit: (event) => { event.preventDefault(); go(input.value); } },
    h("label", { htmlFor: "q" }, t("page.search.what")),
    h("div", { className: "row" }, input, h("button", { type: "submit" }, t("page.search.go"))),
    h("details", { className: "quiet" }, h("summary", {}, t("page.home")), homeFields()));
  fill(root, title, form, h("p", {}, h("a", { href: "#/guide" }, t("page.all"))), answer);
  focus(title);
  if (text) look(text);

  function go(words) {
    const address = `#/search/${encodeURIComponent(words.trim())}`;
    if (location.hash === address) look(words.trim());
    else location.hash = address;
  }

  async function look(words) {
    fill(answer, h("p", { className: "busy" }, t("page.loading")));
    try {
      const found = await call("GET", `/waste/items?${new URLSearchParams({ q: words, ...readHome() })}`);
      if (found.together) fill(answer,
        h("section", { className: "card" }, h("h2", {}, t("page.search.together")), h("ul", {},
          found.parts.map(({ name, destination: place }) => h("li", {}, t("page.search.part", { name, place: place.name }))))),
        askView({ ...found.together, question: t("page.search.together.open") },
          (option) => open(option.item_id, { ...found.state, ...option.state }, found.candidates)));
      else if (found.decision === "match") await open(found.candidates[0].id, found.state, found.candidates.slice(1));
      else if (found.question) fill(answer,
        askView(found.question, (option) => open(option.item_id, { ...found.state, ...option.state }, found.candidates)),
        others(found.candidates));
      else fill(answer, h("section", { className: "card" }, h("h2", {}, t("page.search.none")), h("p", {}, t("page.search.none.detail"))), others(found.candidates));
    } catch (error) {
      fill(answer, problemView(error));
    }
  }

  async function open(id, state, rest) {
    try {
      const item = await fetchItem(id, state);
      fill(answer, itemView(item, (said) => open(id, said, rest)), others(rest.filter((candidate) => candidate.id !== id)));
    } catch (error) {
      fill(answer, problemView(error));
    }
  }

  function others(candidates) {
    return candidates.length > 0 && h("section", { className: "card" }, h("h2", {}, t("page.search.others")),
      h("div", { className: "options" }, candidates.map((candidate) =>
        h("button", { type: "button", className: "option", onclick: () => open(candidate.id, {}, candidates) }, candidate.name))));
  }
}
