// Where one lives decides where things go: asked on the form and the search, remembered in this browser.

import { h } from "./dom.js";
import { t } from "./texts.js";

const KEPT = "growbin.home";
const KINDS = ["apartment", "house", ""];

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

function keep(change) {
  localStorage.setItem(KEPT, JSON.stringify({ ...kept(), ...change }));
}

/** What is known of the visitor's home, as the API wants it: {housing?, region?}. */
export function readHome() {
  const { housing, region } = kept();
  return { ...(housing && { housing }), ...(region && { region }) };
}

/** The fields that ask for it; every change is remembered at once. */
export function homeFields() {
  const { housing = "", region = "" } = kept();
  return h("fieldset", { className: "home" },
    h("legend", {}, t("page.home")),
    h("div", { className: "choices" }, KINDS.map((kind) => h("label", { className: "choice" },
      h("input", { type: "radio", name: "housing", value: kind, checked: kind === housing, onchange: () => keep({ housing: kind }) }),
      h("span", {}, t(`page.home.${kind || "unknown"}`))))),
    h("label", { htmlFor: "region" }, t("page.region")),
    h("input", {
      id: "region", maxLength: 60, value: region, autocomplete: "address-level2", placeholder: t("page.region.example"),
      oninput: (event) => keep({ region: event.target.value.trim() }),
    }));
}
