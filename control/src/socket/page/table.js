// The same dependencies as a table, for reading, sorting and screen readers.
import { ago, bytes, count, h, WORDS } from "./dom.js";
import { title } from "./model.js";

/** Rows put into the page at a time. */
const ROWS_AT_FIRST = 500;
const COLUMNS = [
  ["From", (row) => title(row.from)], ["To", (row) => title(row.to)], ["Verdict", (row) => WORDS[row.state]],
  ["Services", (row) => row.services.map((service) => service.service).join(", ")],
  ["Rules", (row) => [...new Set(row.services.flatMap((service) => service.rules || []))].join(", ")],
  ["Flows", (row) => row.flows, count], ["Bytes", (row) => row.bytes, bytes], ["Last seen", (row) => row.last_seen, ago],
];

/** Fills `into`. `sort` is `{ column, down }` and is kept by the caller. */
export function table(into, rows, { sort, selected, on, limit = ROWS_AT_FIRST }) {
  const value = COLUMNS[sort.column][1];
  const sorted = [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return (x < y ? -1 : x > y ? 1 : 0) * (sort.down ? -1 : 1);
  });
  const head = COLUMNS.map(([name, , number], at) => h("th", {
    scope: "col", class: number && at < 7 ? "n" : null, "aria-sort": at === sort.column ? (sort.down ? "descending" : "ascending") : null,
  }, h("button", { type: "button", onclick: () => on.sort({ column: at, down: at === sort.column ? !sort.down : at >= 5 }) }, name, at === sort.column ? (sort.down ? " ↓" : " ↑") : "")));
  const body = sorted.slice(0, limit).map((row) => h("tr", {
    tabindex: "0", "data-key": row.key, "aria-selected": row.key === selected ? "true" : "false",
    onclick: () => on.line(row),
    onkeydown: (event) => {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (event.key === "Enter") on.line(row);
      else if (step) { event.currentTarget[step]?.focus(); event.preventDefault(); }
    },
  }, COLUMNS.map(([, of, number], at) => {
    if (at === 2) return h("td", {}, h("span", { class: `badge ${row.state}` }, WORDS[row.state]));
    return h("td", { class: number && at < 7 ? "n" : null }, number ? number(of(row)) : of(row));
  })));
  const focused = into.contains(document.activeElement) && document.activeElement.dataset.key;
  into.replaceChildren(h("table", {}, h("caption", { class: "unseen" }, `${rows.length} dependencies`), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    rows.length === 0 ? h("p", { class: "hint empty" }, "Nothing that fits was seen.") : "",
    sorted.length > limit ? h("button", { type: "button", onclick: () => on.more(limit + ROWS_AT_FIRST) }, `${sorted.length - limit} more`) : "");
  if (focused) [...into.querySelectorAll("tr")].find((row) => row.dataset.key === focused)?.focus();
}
