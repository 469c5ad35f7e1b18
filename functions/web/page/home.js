// Where one lives decides where things go: asked on the form and the search, remembered in this browser, and in the
// profile of who is signed in.

import { call } from "./api.js";
import { h } from "./dom.js";
import { t } from "./texts.js";
import { account } from "./who.js";

const KEPT = "growbin.home";
const KINDS = ["apartment", "house", ""];

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

/** Remember {housing, region} or one of them in this browser. */
export function keepHome(change) {
  localStorage.setItem(KEPT, JSON.stringify({ ...kept(), ...change }));
}

/** This browser knows nothing of anybody's home any more. */
export function forgetHome() {
  localStorage.removeItem(KEPT);
}

/** What is known of the visitor's home, as the API wants it: {housing?, region?}. */
export function readHome() {
  const { housing, region } = kept();
  return { ...(housing && { housing }), ...(region && { region }) };
}

/** A change is remembered here at once; that the profile could not be reached is no trouble: it is asked again there. */
function store(change) {
  keepHome(change);
  const [[name, value]] = Object.entries(change);
  if (account()) call("PATCH", "/users/me", { [name]: value || null }).catch(() => {});
}

/**
 * The fields that ask for it, in `legend`'s words. Every change is remembered at once, unless `onChange({housing} or {region})`
 * is there to hear of it.
 */
export function homeFields(legend = t("page.home"), onChange = null) {
  const { housing = "", region = "" } = kept();
  return h("fieldset", { className: "home" },
    h("legend", {}, legend),
    h("div", { className: "choices" }, KINDS.map((kind) => h("label", { className: "choice" },
      h("input", { type: "radio", name: "housing", value: kind, checked: kind === (housing ?? ""), onchange: () => (onChange ?? store)({ housing: kind }) }),
      h("span", {}, t(`page.home.${kind || "unknown"}`))))),
    h("label", { htmlFor: "region" }, t("page.region")),
    h("input", {
      id: "region", maxLength: 60, value: region ?? "", autocomplete: "address-level2", placeholder: t("page.region.example"),
      oninput: (event) => (onChange ?? keepHome)({ region: event.target.value.trim() }),
      onchange: onChange ? null : (event) => store({ region: event.target.value.trim() }),
    }));
}
