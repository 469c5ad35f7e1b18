// What kind of photo was chosen, and whether it can be sent at all.

const ENDINGS = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp", heic: "image/heic", heif: "image/heic" };
const LARGEST = 10 * 1024 * 1024;

/** What the file dialog offers. */
export const ACCEPT = "image/jpeg,image/png,image/webp,image/heic,image/heif,.heic,.heif";

/** The content type to announce (some browsers know no HEIC: then the name decides), or null for no photo of ours. */
export function contentType(file) {
  const type = file.type === "image/heif" ? "image/heic" : file.type;
  if (Object.values(ENDINGS).includes(type)) return type;
  return type ? null : ENDINGS[file.name.split(".").pop().toLowerCase()] ?? null;
}

/** Key of the message that says why the file cannot be sent, or null where it can. */
export function fault(file) {
  if (file.size === 0) return "page.photo.empty";
  if (file.size > LARGEST) return "page.photo.too_large";
  return contentType(file) ? null : "page.photo.wrong_type";
}
