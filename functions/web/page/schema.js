// Reading the JSON Schemas of the API's document: what a value looks like, and one to begin with.

/** What a `{$ref}` stands for; anything else is itself. */
export function resolve(api, given) {
  if (!given?.$ref) return given;
  return given.$ref.slice(2).split("/").reduce((place, step) => place[step], api);
}

const kinds = (schema) => [schema.type ?? []].flat().filter((kind) => kind !== "null");
const nullable = (schema) => [schema.type ?? []].flat().includes("null");

/** A schema in the manner of a type: `{id: uuid, status: "asked" | "failed", score?: number | null}`. */
export function shape(api, given, depth = 0) {
  const schema = resolve(api, given);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((one) => shape(api, one, depth)).join(" | ");
  if (schema.type === "null") return "null";
  return schemaOf(api, schema, depth) + (nullable(schema) ? " | null" : "");
}

function schemaOf(api, schema, depth) {
  const [kind] = kinds(schema);
  if (kind === "array") return `[${shape(api, schema.items, depth)}, …]`;
  if (kind !== "object") return schema.format ?? kind ?? "any";
  if (!schema.properties) return `{…: ${shape(api, schema.additionalProperties ?? {}, depth)}}`;
  const pad = "  ".repeat(depth + 1);
  const lines = Object.entries(schema.properties).map(([name, one]) => `${pad}${name}${schema.required?.includes(name) ? "" : "?"}: ${shape(api, one, depth + 1)}`);
  return lines.length ? `{\n${lines.join(",\n")}\n${"  ".repeat(depth)}}` : "{}";
}

/** A value to begin with: what must be there, and what is optional as null where it may be. */
export function example(api, given) {
  const schema = resolve(api, given);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return schema.anyOf.some((one) => one.type === "null") ? null : example(api, schema.anyOf[0]);
  if (nullable(schema)) return null;
  const [kind] = kinds(schema);
  if (kind === "object") return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, one]) => [name, example(api, one)]));
  if (kind === "array") return [example(api, schema.items)];
  if (kind === "integer" || kind === "number") return schema.minimum ?? 0;
  if (kind === "boolean") return true;
  return schema.format === "uuid" ? "00000000-0000-4000-8000-000000000000" : "";
}
