// Everything a person reads comes from the catalogue (/messages.json): no sentence stands in the code of the page.

export const lang = document.documentElement.lang;

const catalogue = await (await fetch(`/messages.json?lang=${lang}`)).json();

/** The text of `key` with its {places} filled; the key itself where the catalogue lacks it (a test finds those). */
export function t(key, values = {}) {
  return (catalogue[key] ?? key).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** The text of `key`, or `fallback` where the catalogue does not know it. */
export function textOr(key, fallback) {
  return catalogue[key] ?? fallback;
}

/** [code, text] of every text whose key is `prefix` and a code, in the order of the alphabet. */
export function below(prefix) {
  return Object.entries(catalogue).filter(([key]) => key.startsWith(prefix)).map(([key, text]) => [key.slice(prefix.length), text])
    .sort(([, one], [, other]) => one.localeCompare(other, lang));
}

/** The language that is not shown. */
export const otherLanguage = lang === "ko" ? "en" : "ko";

/** Switch to a language: the server renders the page anew, the address (and so the view) stays. */
export function switchLanguage(wanted) {
  document.cookie = `lang=${wanted}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
}

/** A day such as "2026. 1. 1." from an ISO date or time. */
export function day(iso) {
  return new Date(iso.length === 10 ? `${iso}T00:00:00` : iso).toLocaleDateString(lang);
}

/** A day and time of day. */
export function moment(iso) {
  return new Date(iso).toLocaleString(lang, { dateStyle: "medium", timeStyle: "short" });
}

/** Metres as people say them: "850 m", "1.2 km", "37 km". */
export function distance(metres) {
  if (metres < 995) return t("page.places.metres", { n: Math.max(10, Math.round(metres / 10) * 10) });
  const km = metres / 1000;
  return t("page.places.km", { n: Number(km.toFixed(km < 9.95 ? 1 : 0)) });
}
