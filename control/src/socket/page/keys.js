// The keyboard. The map is one stop of the tab order; inside, arrows go to the nearest group that way, Enter opens a group
// and goes through its lines, Enter again goes into the details, Escape goes back out.
import { by, say } from "./dom.js";
import { groupOf } from "./model.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function keys({ page, zoom, select, on, asTable, openAll, tab, render, width, element }) {
  /** The group whose lines the arrows go through; none while they go from group to group. */
  let inside = null;

  const map = () => document.querySelector("svg.map");
  const focused = () => document.activeElement.closest?.("svg.map [data-key]")?.dataset.key;
  const group = (key) => page.seen.groups.find((one) => one.key === key);
  const line = (key) => page.seen.lines.find((one) => one.key === key);
  const linesOf = (one) => page.seen.lines.filter((each) => groupOf(each.from) === one || groupOf(each.to) === one)
    .sort((a, b) => groupOf(a.from).y - groupOf(b.from).y || groupOf(a.to).y - groupOf(b.to).y || (a.key < b.key ? -1 : 1));

  function go(key) {
    const target = element(map(), key);
    if (!target) return;
    target.focus({ preventScroll: true });
    const to = group(key) || groupOf(line(key).to);
    zoom.reveal(to, width);
    say(target.getAttribute("aria-label"));
  }

  function nearest(from, [dx, dy]) {
    let best = null, least = Infinity;
    for (const one of page.seen.groups) {
      const x = one.x - from.x, y = one.y + one.h / 2 - from.y - from.h / 2;
      const along = x * dx + y * dy, off = Math.abs(x * dy) + Math.abs(y * dx);
      const far = along + 2.5 * off;
      if (one !== from && along > 1 && far < least) [best, least] = [one, far];
    }
    return best;
  }

  function arrow(step) {
    const at = focused();
    if (inside) {
      const lines = linesOf(inside);
      const place = lines.findIndex((one) => one.key === at);
      const next = lines[(place + (step[0] + step[1]) + lines.length) % lines.length];
      if (next) go(next.key);
      return;
    }
    const from = group(at);
    const to = from ? nearest(from, step) : page.seen.groups[0];
    if (to) go(to.key);
  }

  function enter() {
    const at = focused(), one = group(at);
    if (one) {
      select(one.key);
      const lines = linesOf(one);
      inside = lines.length ? one : null;
      if (inside) go(lines[0].key);
    } else if (line(at)) {
      select(at);
      (by("details").querySelector("button") || by("details")).focus();
    } else if (page.seen.groups[0]) go(page.seen.groups[0].key);
  }

  function escape() {
    if (by("details").contains(document.activeElement) || by("change").contains(document.activeElement)) {
      const within = page.table ? by("table-view") : map() || by("table-view");
      const target = page.selected && element(within, page.selected);
      (target || within).focus();
    } else if (inside) {
      const out = inside;
      inside = null;
      select(out.key);
      go(out.key);
    } else {
      if (document.activeElement === by("search")) by("search").value = "";
      select(null);
      map()?.focus();
    }
  }

  document.addEventListener("focusin", (event) => {
    if (!event.target.closest?.("svg.map")) inside = null;
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || !page.seen) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape") { if (event.target.tagName !== "TEXTAREA") escape(); return; }
    if (event.target.getAttribute?.("role") === "tab" && /^Arrow(Left|Right)$/.test(event.key)) {
      const other = event.target.id === "tab-details" ? "change" : "details";
      tab(other);
      render();
      by(`tab-${other}`).focus();
      return;
    }
    if (typing) return;
    const onMap = event.target.closest?.("svg.map");
    const at = onMap && focused();
    const doing = {
      "/": () => by("search").focus(), t: () => asTable(!page.table), e: openAll, 0: () => zoom.fit(), "+": () => zoom.by(1.25), "=": () => zoom.by(1.25), "-": () => zoom.by(0.8),
    }[event.key] || (onMap && { Enter: enter, " ": () => at && group(at) && on.fold(group(at)), Home: () => go(page.seen.groups[0].key) }[event.key]) ||
      (onMap && STEPS[event.key] && (() => arrow(STEPS[event.key])));
    if (!doing) return;
    event.preventDefault();
    doing();
  });
}
