// Building the page: elements are made of nodes and text, never of markup in strings.

import { t } from "./texts.js";

/** Element `tag` with properties (`on…` are listeners, `aria-…`/`data-…` attributes) and children (null is left out). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || !(name in element)) element.setAttribute(name, value === true ? "" : value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** SVG element `tag`: every property is an attribute. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity));
  return element;
}

/** Put `children` in place of what is in `element`. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A message that is read aloud at once: something went wrong. */
export function alarm(...children) {
  return h("div", { role: "alert", className: "alarm" }, ...children);
}

/** The alarm for an `error` of ours: what went wrong, and what to do; where somebody must log in again, the way there. */
export function problemView(error) {
  return alarm(h("strong", {}, error.message), h("p", {}, error.detail),
    error.code === "signed_out" && h("a", { className: "button", href: "#/account" }, t("page.account.log_in")));
}

/** Move focus to `element` (a heading of the new view), so that keyboard and screen reader start there. */
export function focus(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}
