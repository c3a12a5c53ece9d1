// Elements without markup in strings: whatever a label or a name holds, it is text.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const by = (id) => document.getElementById(id);

/** A number for people: 1 234, 12.3 k, 4.5 M. */
export function count(n) {
  if (n < 10000) return String(n ?? 0);
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [size, unit] = units.find(([size]) => n >= size);
  return `${Number((n / size).toPrecision(3))} ${unit}`;
}
export const bytes = (n) => `${count(n)}B`.replace(/^(\d+)B$/, "$1 B");

/** How long ago, or the time itself if that is long. */
export function ago(text, now = Date.now()) {
  const seconds = Math.round((now - Date.parse(text)) / 1000);
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 5) return "now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return time(text);
}
export function time(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Tells who cannot see. */
export function say(text) {
  by("said").textContent = text;
}
export const WORDS = { allowed: "allowed", "potentially-blocked": "potentially blocked", blocked: "blocked" };
export const STATES = Object.keys(WORDS);
