// The guide for all items: a list to look through or filter, and one item at an address of its own (#/guide/<id>).

import { call } from "./api.js";
import { fill, focus, h, problemView } from "./dom.js";
import { fetchItem, itemView } from "./item.js";
import { t } from "./texts.js";

let all = null; // fetched once a visit

/** The list in `root`, or the item `id`. */
export function allView(root, id) {
  if (id) one(root, id);
  else list(root);
}

async function list(root) {
  const title = h("h1", {}, t("page.all"));
  const count = h("p", { className: "hint", "aria-live": "polite" });
  const found = h("ul", { className: "all" });
  const input = h("input", { id: "filter", type: "search", maxLength: 100, placeholder: t("page.search.example"), oninput: filter });
  const further = h("a", { className: "button" }, t("page.all.search"));
  fill(root, title, h("label", { htmlFor: "filter" }, t("page.all.filter")), input, count, found, further);
  focus(title);
  try {
    all ??= (await call("GET", "/waste/guide")).items.map((item) => ({
      ...item, said: [item.name, ...item.aliases].map(plain),
    }));
  } catch (error) {
    fill(root, title, problemView(error));
    return;
  }
  filter();

  function filter() {
    const words = plain(input.value);
    const shown = all.filter(({ said }) => said.some((name) => name.includes(words)));
    count.textContent = t("page.all.count", { shown: shown.length, all: all.length });
    further.href = `#/search/${encodeURIComponent(input.value.trim())}`;
    further.hidden = !input.value.trim();
    fill(found, shown.map((item) => h("li", {}, h("a", { href: `#/guide/${item.id}` },
      h("span", {}, item.name), h("small", {}, item.destinations.join(" · "))))));
  }
}

async function one(root, id, state = {}) {
  const back = h("p", {}, h("a", { href: "#/guide" }, t("page.all.back")));
  try {
    const item = await fetchItem(id, state);
    const known = Object.keys(state).length > 0;
    fill(root, back, itemView(item, (said) => one(root, id, said)),
      known && h("button", { type: "button", onclick: () => one(root, id) }, t("page.all.again")));
    focus(root.querySelector("h2"));
  } catch (error) {
    fill(root, back, problemView(error));
  }
}

function plain(text) {
  return text.toLowerCase().replace(/[\s·,()]/g, "");
}
