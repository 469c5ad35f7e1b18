// Where things are taken: recycling centres around a position that is asked for on a touch, and kept nowhere.

import { call, known, request } from "./api.js";
import { alarm, fill, focus, h, problemView } from "./dom.js";
import { complain, field } from "./forms.js";
import { HALLS } from "./halls.js";
import { placesMap } from "./map.js";
import { notices, placeCard, sourceLine } from "./place.js";
import { below, distance, t } from "./texts.js";

const RADII = [2000, 5000, 10000, 20000]; // metres
const PATIENCE_MS = 15000;

/** Show the search in `root`. The position lives as long as this view does. */
export function placesView(root) {
  let origin = null; // {latitude, longitude, name}
  let asked = 0; // the latest search: an earlier answer is not shown
  let locating = 0; // the latest wait for the browser's position, while it lasts: an earlier answer is not heard
  let waits = 0;
  const title = h("h1", {}, t("page.places"));
  const problem = h("div");
  const shown = h("div", { className: "result" });
  const spoken = h("p", { className: "spoken", role: "status", "aria-live": "polite" });
  const here = h("button", { type: "button", className: "primary", onclick: locate }, t("page.places.here"));
  const elsewhere = elsewherePart(search);
  const radius = h("div", { className: "choices four" }, RADII.map((metres) => h("label", { className: "choice" },
    h("input", { type: "radio", name: "radius", value: String(metres), checked: metres === 5000, onchange: again }),
    h("span", {}, distance(metres)))));
  const accepts = h("select", { id: "accepts", onchange: again },
    h("option", { value: "" }, t("page.places.accepts.all")), below("places.accepts.").map(([code, name]) => h("option", { value: code }, name)));
  const filters = [h("fieldset", {}, h("legend", {}, t("page.places.radius")), radius), h("label", { htmlFor: "accepts" }, t("page.places.accepts")), accepts];
  fill(root, title, h("p", { className: "lead" }, t("page.places.lead")),
    h("section", { className: "card where" }, here, h("p", { className: "hint" }, t("page.places.private")), problem, elsewhere, filters),
    spoken, shown);
  focus(title);

  function again() {
    if (origin) search(origin);
  }

  function locate() {
    if (locating) return undefined;
    fill(problem);
    if (!navigator.geolocation) return refused("page.places.refused.failed");
    const mine = locating = waits += 1;
    here.setAttribute("aria-disabled", "true"); // a disabled button would lose the keyboard's focus
    spoken.textContent = here.textContent = t("page.places.locating");
    return navigator.geolocation.getCurrentPosition(({ coords }) => {
      if (mine === locating) search({ latitude: coords.latitude, longitude: coords.longitude, name: t("page.places.you") });
    }, ({ code }) => {
      if (mine !== locating) return;
      free();
      refused(code === 1 ? "page.places.refused.denied" : "page.places.refused.failed");
    }, { timeout: PATIENCE_MS, maximumAge: 60000 });
  }

  function free() {
    locating = 0;
    here.removeAttribute("aria-disabled");
    here.textContent = t("page.places.here");
    spoken.textContent = "";
  }

  function refused(why) {
    fill(problem, alarm(h("strong", {}, t("page.places.refused")), h("p", {}, t(why))));
    elsewhere.open = true;
  }

  async function search(from) {
    const moved = from !== origin;
    if (moved) free();
    origin = from;
    const mine = asked += 1;
    fill(problem);
    if (!shown.children.length) fill(shown, h("p", { className: "busy" }, t("page.loading")));
    const about = { lat: from.latitude.toFixed(4), lon: from.longitude.toFixed(4), radius: radius.querySelector(":checked").value };
    if (accepts.value) about.accepts = accepts.value;
    try {
      const found = await (known() ? call : request)("GET", `/locations?${new URLSearchParams(about)}`);
      if (mine !== asked) return;
      draw(found, Number(about.radius));
    } catch (error) {
      if (mine !== asked) return;
      fill(shown, problemView(error));
    }
    if (moved) shown.scrollIntoView({ block: "start" });
  }

  function draw(found, metres) {
    const cards = found.centres.map(placeCard);
    const summary = t("page.places.around", { place: origin.name, n: cards.length });
    fill(shown, h("h2", {}, summary), notices(found),
      cards.length > 0 && h("figure", { className: "card map-card" }, placesMap(origin, found.centres, metres),
        h("figcaption", { className: "hint" }, t("page.places.map.legend"))),
      h("ol", { className: "places" }, cards), sourceLine(found.source));
    spoken.textContent = summary;
  }
}

/** Folded: a city hall to search around, or coordinates; `go({latitude, longitude, name})` hears the choice. */
function elsewherePart(go) {
  const halls = h("select", { id: "hall", onchange: choose },
    h("option", { value: "" }, t("page.places.hall.choose")),
    HALLS.map(([name], index) => h("option", { value: String(index) }, t(name))));
  const typed = field(t("page.places.coordinates"), {
    id: "coordinates", autocomplete: "off", maxLength: 60, placeholder: t("page.places.coordinates.example"),
  }, { extra: () => h("button", { type: "submit" }, t("page.places.coordinates.go")) });
  const form = h("form", { noValidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } }, typed.element);

  function choose() {
    if (!halls.value) return;
    const [name, latitude, longitude] = HALLS[Number(halls.value)];
    go({ latitude, longitude, name: t(name) });
  }

  function submit() {
    const [latitude, longitude, ...rest] = typed.input.value.split(/[\s,]+/).filter(Boolean).map(Number);
    const inKorea = latitude >= 33 && latitude <= 39 && longitude >= 124 && longitude <= 132 && !rest.length;
    if (complain([[typed, inKorea ? "" : t("page.places.coordinates.wrong")]])) go({ latitude, longitude, name: `${latitude}, ${longitude}` });
  }

  return h("details", {}, h("summary", {}, t("page.places.elsewhere")),
    h("label", { htmlFor: "hall" }, t("page.places.hall")), halls, form);
}
