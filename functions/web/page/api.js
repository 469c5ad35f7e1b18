// The public API as the page uses it. A visitor is a guest, made on first need, or an account. Both have a session here: a
// token for a quarter of an hour, and one that is good once for the next two. All tabs share it, so one renews it for all.

import { lang, t } from "./texts.js";

const TOKEN = "growbin.token";
// {refresh_token, kind, expires_at}, with `next` while it is being renewed; or {kind, over} of an account that must log in
const SESSION = "growbin.session";
const EARLY_MS = 60_000; // renewed so long before its end: nobody waits for a refusal first
const OTHER_TAB_MS = 3000;
const PATIENCE_MS = 15_000; // for a whole answer: other tabs may be waiting for it, too

/** An answer that is not the one hoped for: `code` for the page, `title` and `detail` for people, `body` for the rest. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.title ?? t("page.error.unknown"));
    this.status = status;
    this.code = body.code ?? "unknown";
    this.detail = body.detail ?? "";
    this.body = body;
  }
}

/** No answer, or not all of it: the network is down, or the service is. */
export class Offline extends Error {
  constructor() {
    super(t("page.error.offline"));
    this.detail = t("page.error.offline.detail");
    this.code = "offline";
  }
}

/** Ask the API as nobody: what needs no token, such as logging in. `patience` in ms for the whole answer. */
export async function request(method, path, body, headers = {}, patience = PATIENCE_MS) {
  const options = {
    method, headers: { "Accept-Language": lang, ...headers }, cache: "no-store", signal: AbortSignal.timeout(patience),
  };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  let answer = {};
  try {
    response = await fetch(`/api/v1${path}`, options);
    if (response.status !== 204) answer = await response.json();
  } catch {
    if (!response || response.ok) throw new Offline(); // a refusal counts without its words
  }
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(SESSION)) ?? {};
  } catch {
    return {};
  }
}

/** The visitor's token, renewed where it is about to end; that of a new guest where there is none yet. */
export async function token() {
  const mine = localStorage.getItem(TOKEN);
  const { expires_at: end = Infinity } = kept();
  if (mine && Date.now() < end - EARLY_MS) return mine;
  try {
    return await renew(mine);
  } catch (problem) {
    if (mine && problem.status !== 401 && Date.now() < end) return mine; // it could not be renewed, but still serves
    throw problem;
  }
}

let renewing = null; // once, even when two requests need it at the same moment

/** A token instead of `stale`. Throws Problem `signed_out` where an account must log in again. */
function renew(stale) {
  renewing ??= alone(async () => {
    const present = localStorage.getItem(TOKEN);
    if (present === stale) { // otherwise another tab was first
      const next = await successor(kept(), present);
      if (next && stillThere(present)) adopt(next);
    }
    const mine = localStorage.getItem(TOKEN);
    if (!mine) throw signedOut(); // who asked has logged out or left meanwhile: nobody else asks in their place
    return mine;
  }).finally(() => { renewing = null; });
  return renewing;
}

/** Run `work` while no other tab runs any. */
async function alone(work) {
  return navigator.locks ? navigator.locks.request(SESSION, work) : work();
}

/** The session after `session`; null where something else took the place of `present` meanwhile: a login, another tab. */
async function successor(session, present) {
  const { refresh_token, kind, over } = session;
  if (over) throw signedOut();
  if (refresh_token) {
    try {
      return await request("POST", "/auth/refresh", { refresh_token, next: chosen(session) });
    } catch (problem) {
      if (problem.code === "refresh_used" && await changed(present)) return null;
      if (problem.code !== "refresh_used" && problem.status !== 401) throw problem;
    }
  }
  if (!stillThere(present)) return null;
  if (kind !== "account") return request("POST", "/auth/guest"); // a guest has nothing to come back with
  localStorage.setItem(SESSION, JSON.stringify({ kind, over: true }));
  localStorage.removeItem(TOKEN);
  window.dispatchEvent(new Event("signedout"));
  throw signedOut();
}

/** False once a login, a sign-up, a new password or a logout has changed whom this browser speaks for. */
const stillThere = (present) => localStorage.getItem(TOKEN) === present;

/** The secret of the token after that of `session`. It is kept before it is sent: a lost answer can be asked for again. */
function chosen(session) {
  if (session.next) return session.next;
  const random = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
  const next = random.replaceAll("+", "-").replaceAll("/", "_").replace("=", "");
  localStorage.setItem(SESSION, JSON.stringify({ ...session, next }));
  return next;
}

const signedOut = () => new Problem(401, {
  title: t("page.signed_out"), detail: t("page.signed_out.detail"), code: "signed_out",
});

/** Wait until another tab has kept a token other than `present`; false where none does. */
async function changed(present) {
  for (const until = Date.now() + OTHER_TAB_MS; Date.now() < until;) {
    if (!stillThere(present)) return true;
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  return false;
}

/** True where this browser has a user already, guest or account. */
export const known = () => Boolean(localStorage.getItem(TOKEN));

/** True where that user is an account whose session is not known to be over. */
export const signedIn = () => known() && kept().kind === "account";

/** True where an account must log in again. */
export const sessionOver = () => Boolean(kept().over);

/** What ends this browser's session when it logs out. */
export const refreshToken = () => kept().refresh_token;

/** From now on this browser speaks for the user of `session`, an answer of sign-up, login or refresh. */
export function adopt({ token: access, refresh_token, kind, expires_in }) {
  localStorage.setItem(SESSION, JSON.stringify({ refresh_token, kind, expires_at: Date.now() + expires_in * 1000 }));
  localStorage.setItem(TOKEN, access);
}

/** This browser speaks for nobody any more. */
export function forget() {
  localStorage.removeItem(TOKEN);
  localStorage.removeItem(SESSION);
}

/**
 * Ask the API as this visitor. A token that is no longer good is replaced once: by the next of its session, or by a new
 * guest's where a guest's session is over. An account's then hears Problem `signed_out`, and the window `signedout`.
 */
export async function call(method, path, body, headers = {}, patience = PATIENCE_MS) {
  const as = (mine) => request(method, path, body, { ...headers, Authorization: `Bearer ${mine}` }, patience);
  const mine = await token();
  try {
    return await as(mine);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
  }
  return as(await renew(mine));
}

/** Post `file` to the object store with the presigned `form`; `progress` hears the part sent, 0 to 1. */
export function upload(form, file, progress) {
  const data = new FormData();
  for (const [name, value] of Object.entries(form.fields)) data.append(name, value);
  data.append("file", file);
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", form.url);
    sending.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    sending.onload = () => (sending.status < 300 ? resolve() : reject(new Problem(sending.status, {
      title: t("page.error.upload"), detail: t("page.error.upload.detail"), code: "upload_refused",
    })));
    sending.onerror = () => reject(new Offline());
    sending.send(data);
  });
}
