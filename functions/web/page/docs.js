// The API's page: every operation of /api/openapi.json with a form that sends it, from this origin to this origin.

import { h, fill } from "./dom.js";
import { example, shape, resolve } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
let api;

const token = h("input", { id: "token", type: "text", autocomplete: "off", spellcheck: false, placeholder: "the token of POST /api/v1/auth/guest" });

/** Text with `code`, **bold** and paragraphs as nodes. */
function prose(text) {
  return text.split(/\n\n+/).map((paragraph) => h("p", {}, paragraph.replace(/\n/g, " ").split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return h("code", {}, part.slice(1, -1));
    return part.startsWith("**") ? h("strong", {}, part.slice(2, -2)) : part;
  })));
}

/** A field for one parameter: {name, in, value()}. */
function parameter(given) {
  const said = resolve(api, given);
  const schema = resolve(api, said.schema);
  const id = `p${Math.random().toString(36).slice(2)}`;
  const field = schema.enum
    ? h("select", { id }, h("option", { value: "" }, ""), schema.enum.map((one) => h("option", { value: one }, String(one))))
    : h("input", { id, type: "text", value: said.in !== "header" && said.example !== undefined ? String(said.example) : "", placeholder: shape(api, schema), spellcheck: false });
  const line = h("div", { className: "parameter" }, h("label", { htmlFor: id }, said.name, said.required ? " *" : ""), field,
    h("small", {}, [said.in, said.description ?? schema.description].filter(Boolean).join(": ")));
  return { said, line, value: () => field.value };
}

/** What is to be sent, from the fields of a form. */
function request(method, path, fields, body) {
  const query = new URLSearchParams();
  const headers = {};
  let address = path;
  for (const { said, value } of fields) {
    if (said.in === "path") address = address.replace(`{${said.name}}`, encodeURIComponent(value()));
    else if (value() === "") continue;
    else if (said.in === "query") query.append(said.name, value());
    else headers[said.name] = value();
  }
  if (token.value.trim()) headers.Authorization = `Bearer ${token.value.trim()}`;
  const options = { method: method.toUpperCase(), headers, cache: "no-store" };
  if (body?.value.trim()) {
    headers["Content-Type"] = "application/json";
    options.body = body.value;
  }
  return [query.size ? `${address}?${query}` : address, options];
}

/** The same as a line for a shell. */
function curl(address, { method, headers, body }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const sent = Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`);
  return ["curl", "-X", method, quoted(location.origin + address), ...sent, ...(body ? ["-d", quoted(body)] : [])].join(" ");
}

/** Send a form; what is sent, how it went and the answer go into `place`, of which only the middle is read aloud. */
async function send(method, path, fields, body, place) {
  const [address, options] = request(method, path, fields, body);
  fill(place.sent, h("pre", {}, curl(address, options)));
  fill(place.status, h("p", {}, "…"));
  fill(place.answer);
  try {
    const response = await fetch(address, options);
    const text = await response.text();
    let answer = text;
    try {
      answer = JSON.stringify(JSON.parse(text), null, 2);
      const made = JSON.parse(text).token;
      if (made && path.startsWith("/api/v1/auth/")) token.value = made;
    } catch { /* no JSON: shown as it is */ }
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    fill(place.status, h("h3", {}, `${response.status} ${response.statusText}`));
    fill(place.answer, h("pre", {}, headers), h("pre", { className: "answer" }, answer));
  } catch (error) {
    fill(place.status, h("p", {}, `No answer: ${error.message}`));
  }
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, given]) => {
    const said = resolve(api, given);
    const content = Object.values(said.content ?? {})[0];
    return h("tr", {}, h("td", {}, h("code", {}, status)), h("td", {}, prose(said.description), Number(status) < 400 && content ? h("pre", {}, shape(api, content.schema)) : null));
  });
  return h("table", {}, h("tbody", {}, rows));
}

function operation(method, path, said) {
  const fields = said.parameters.map(parameter);
  const content = said.requestBody?.content["application/json"];
  const body = content ? h("textarea", { "aria-label": "body", spellcheck: false, value: JSON.stringify(example(api, content.schema), null, 2) }) : null;
  const place = { sent: h("div", {}), status: h("div", { role: "status" }), answer: h("div", {}) };
  const form = () => h("div", {},
    prose(said.description ?? ""),
    fields.map((field) => field.line),
    body ? [h("h3", {}, "Body"), h("pre", {}, shape(api, content.schema)), body] : null,
    h("p", {}, h("button", { type: "button", onclick: () => send(method, path, fields, body, place) }, "Send")),
    Object.values(place), h("h3", {}, "Answers"), answers(said.responses));
  const details = h("details", { className: "card operation", id: said.operationId },
    h("summary", {}, h("code", { className: `method ${method}` }, method.toUpperCase()), h("code", { className: "path" }, path), h("span", {}, said.summary),
      said.security.length ? null : h("span", { className: "open" }, "open to everybody")));
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(form()); });
  return details;
}

async function start() {
  api = await (await fetch("/api/openapi.json")).json();
  const every = Object.entries(api.paths).flatMap(([path, methods]) => METHODS.filter((method) => methods[method]).map((method) => ({ method, path, said: methods[method] })));
  const sections = api.tags.map(({ name, description }) => [
    h("h2", { id: name }, name), h("p", {}, description),
    every.filter(({ said }) => said.tags.includes(name)).map(({ method, path, said }) => operation(method, path, said)),
  ]);
  fill(document.getElementById("document"), h("h1", {}, `${api.info.title} ${api.info.version}`), prose(api.info.description),
    h("div", { className: "card" }, h("label", { htmlFor: "token" }, "Token"), token, h("p", { className: "hint" }, "Sent with every request from this page; a sign-in below puts its token here.")), sections);
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) { wanted.open = true; wanted.scrollIntoView(); }
}

start();
