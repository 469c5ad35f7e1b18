// A map without streets, drawn here: the person in the middle, north up, rings for the distance, the places by their number.
// The list beside it says the same in words.

import { svg } from "./dom.js";
import { openness } from "./place.js";
import { distance, t } from "./texts.js";

const SIZE = 320; // units of the drawing
const EDGE = 20; // free on every side
const EARTH = 6371008.8; // metres
const BUBBLE = 10; // radius of a number
const RADIANS = Math.PI / 180;

/** The largest of 1, 2 or 5 times a power of ten that is no more than `most`. */
function round(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].find((step) => step * power <= most) * power;
}

/**
 * The drawing around `origin` {latitude, longitude}: `places` [{latitude, longitude, distance_m, …}] in the order of the list;
 * `radius` in metres is a ring where it reaches that far. It is a picture: nothing in it can be touched.
 */
export function placesMap(origin, places, radius) {
  const farthest = Math.max(...places.map((place) => place.distance_m));
  const reach = farthest > radius ? farthest : radius;
  const scale = (SIZE / 2 - EDGE) / reach;
  const outer = farthest > radius ? round(reach) : radius;
  const points = apart(places.map((place) => onPlane(origin, place, scale)));
  const middle = SIZE / 2;
  return svg("svg", { class: "map", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": t("page.places.map", { n: places.length, far: distance(farthest) }) },
    [outer, outer / 2].map((metres) => [
      svg("circle", { cx: middle, cy: middle, r: metres * scale, class: "ring" }),
      svg("text", { x: middle, y: middle + metres * scale - 4, "text-anchor": "middle" }, distance(metres)),
    ]),
    svg("path", { d: `M${middle} 4 l5 11 l-5 -3 l-5 3 z`, class: "north" }),
    svg("text", { x: middle + 9, y: 15 }, t("page.places.north")),
    svg("circle", { cx: middle, cy: middle, r: 11, class: "me-ground" }),
    svg("circle", { cx: middle, cy: middle, r: 6, class: "me" }),
    points.map(({ x, y, atX, atY }) => svg("line", { x1: atX, y1: atY, x2: x, y2: y, class: "stem" })),
    points.map(({ atX, atY }) => svg("circle", { cx: atX, cy: atY, r: 2.5, class: "spot" })),
    points.map(({ x, y }, index) => svg("g", { class: `bubble ${openness(places[index])}` },
      svg("circle", { cx: x, cy: y, r: BUBBLE }),
      svg("text", { x, y: y + 4, "text-anchor": "middle" }, String(index + 1)))));
}

/** Where a place is on the drawing; so near, the earth is flat. */
function onPlane(origin, { latitude, longitude }, scale) {
  const east = (longitude - origin.longitude) * RADIANS * EARTH * Math.cos(origin.latitude * RADIANS);
  const north = (latitude - origin.latitude) * RADIANS * EARTH;
  const [x, y] = [SIZE / 2 + east * scale, SIZE / 2 - north * scale];
  return { x, y, atX: x, atY: y };
}

/** Numbers that would cover each other, or the person, move apart; a stem leads back to the spot. */
function apart(points) {
  const me = { x: SIZE / 2, y: SIZE / 2, fixed: true };
  const all = [me, ...points];
  for (let turn = 0; turn < 60; turn += 1) {
    for (const [n, one] of all.entries()) {
      for (const other of all.slice(n + 1)) {
        const [dx, dy] = [other.x - one.x || 0.1 * (n + 1), other.y - one.y || 0.1];
        const gap = 2 * BUBBLE + 2 - Math.hypot(dx, dy);
        if (gap <= 0) continue;
        const push = gap / Math.hypot(dx, dy) / (one.fixed ? 1 : 2);
        if (!one.fixed) [one.x, one.y] = [one.x - dx * push, one.y - dy * push];
        [other.x, other.y] = [other.x + dx * push, other.y + dy * push];
      }
    }
    points.forEach((point) => {
      point.x = Math.min(SIZE - BUBBLE - 1, Math.max(BUBBLE + 1, point.x));
      point.y = Math.min(SIZE - BUBBLE - 1, Math.max(BUBBLE + 1, point.y));
    });
  }
  return points;
}
