// The public API as the page uses it. A visitor is a guest; the token is made on first need and kept in this browser.

import { lang, t } from "./texts.js";

const TOKEN = "growbin.token";

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

/** No answer at all: the network is down, or the service is. */
export class Offline extends Error {
  constructor() {
    super(t("page.error.offline"));
    this.detail = t("page.error.offline.detail");
    this.code = "offline";
  }
}

async function request(method, path, body, headers = {}) {
  const options = { method, headers: { "Accept-Language": lang, ...headers }, cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(`/api/v1${path}`, options);
  } catch {
    throw new Offline();
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

let guest = null; // one visitor, even when two requests need the token at once

/** The visitor's token; a new guest where there is none yet. */
export async function token() {
  const kept = localStorage.getItem(TOKEN);
  if (kept) return kept;
  guest ??= request("POST", "/auth/guest").finally(() => { guest = null; });
  const made = await guest;
  localStorage.setItem(TOKEN, made.token);
  return made.token;
}

/** Ask the API as this visitor. A token that is no longer good is replaced once. */
export async function call(method, path, body, headers = {}) {
  for (let again = true; ; again = false) {
    const mine = await token();
    try {
      return await request(method, path, body, { ...headers, Authorization: `Bearer ${mine}` });
    } catch (problem) {
      if (problem.status !== 401 || !again) throw problem;
      if (localStorage.getItem(TOKEN) === mine) localStorage.removeItem(TOKEN);
    }
  }
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
