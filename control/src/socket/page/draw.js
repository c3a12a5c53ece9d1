// The map as SVG. Every group and every line is an element of its own, with a name for who cannot see.
import { count, s, WORDS } from "./dom.js";
import { HEAD, ROW, WIDTH } from "./layout.js";
import { folds, groupOf, title } from "./model.js";

const KINDS = { unlabelled: "no labels", network: "network", unknown: "unknown" };

/** Draws `seen` into `svg`. `on` has `group(group)`, `fold(group)` and `line(line)`. */
export function draw(svg, seen, on) {
  const world = s("g", { class: "world" });
  const edges = s("g", { class: "edges" });
  const groups = s("g", { class: "groups" });
  if (seen.size.strip) {
    const { y, groups: n } = seen.size.strip;
    world.append(s("text", { class: "strip", x: 0, y }, `${n} ${n === 1 ? "group" : "groups"} without traffic that was seen`));
  }
  const ports = spread(seen.lines);
  for (const line of [...seen.lines].sort((a, b) => rank(a) - rank(b))) edges.append(edge(line, ports.get(line), on));
  for (const group of seen.groups) groups.append(card(group, seen.open.has(group), on));
  world.append(edges, groups);
  svg.replaceChildren(world);
  return world;
}

const rank = (line) => ({ allowed: 0, "potentially-blocked": 1, blocked: 2 })[line.state];

/** On which sides a line leaves and arrives: 1 is right, -1 left. In one column it goes around on the right. */
function sides(line) {
  const from = groupOf(line.from), to = groupOf(line.to);
  if (from.x + WIDTH <= to.x) return [1, -1];
  return to.x + WIDTH <= from.x ? [-1, 1] : [1, 1];
}

const middle = (end) => {
  const group = groupOf(end);
  return end === group ? group.y + HEAD / 2 : group.y + HEAD + (group.nodes.indexOf(end) + 0.5) * ROW;
};

/** Lines that meet at one side of an end share its height, in the order of where they come from: how far off each is. */
function spread(lines) {
  const meetings = new Map(), ports = new Map(lines.map((line) => [line, [0, 0]]));
  for (const line of lines) sides(line).forEach((side, at) => {
    const [end, other] = at === 0 ? [line.from, line.to] : [line.to, line.from];
    const key = `${end.key} ${side}`;
    if (!meetings.has(key)) meetings.set(key, []);
    meetings.get(key).push({ line, at, other: middle(other) - (at === 0 ? 0.1 : 0) });
  });
  for (const met of meetings.values()) {
    met.sort((a, b) => a.other - b.other || rank(a.line) - rank(b.line));
    const step = Math.min(7, 17 / Math.max(1, met.length - 1));
    met.forEach(({ line, at }, place) => { ports.get(line)[at] = (place - (met.length - 1) / 2) * step; });
  }
  return ports;
}

export function widthOf(line) {
  const traffic = Math.max(line.bytes, line.flows * 64);
  return Math.min(7, 1.4 + 0.6 * Math.max(0, Math.log10(1 + traffic) - 3.5));
}

/** The path of a line, where it ends and from which side, and its middle. */
function route(line, [off, away]) {
  const [leaves, arrives] = sides(line);
  const at = (end, side, shift) => ({ x: groupOf(end).x + (side > 0 ? WIDTH : 0), y: middle(end) + shift });
  const a = at(line.from, leaves, off), b = at(line.to, arrives, away);
  const around = leaves === arrives, itself = line.from === line.to;
  const bend = itself ? 20 : around ? 30 + Math.min(70, Math.abs(a.y - b.y) * 0.3) : Math.max(36, Math.min(150, Math.abs(b.x - a.x) * 0.5));
  const stop = b.x + arrives * 9;
  const path = `M${a.x} ${a.y}C${a.x + leaves * bend} ${a.y} ${stop + arrives * bend} ${b.y} ${stop} ${b.y}`;
  return { path, at: b, way: -arrives, mid: { x: around ? a.x + bend * 0.75 : (a.x + b.x) / 2, y: (a.y + b.y) / 2 } };
}

function tip(line, { at, way }, width) {
  const size = 4 + width * 0.75, x = at.x - way * 1;
  if (line.state === "blocked") return s("path", { class: "end", d: `M${at.x - way * 6} ${at.y - size}V${at.y + size}` });
  return s("path", { class: "end", d: `M${x} ${at.y}l${-way * (size + 5)} ${-size}v${size * 2}z` });
}

function edge(line, ports, on) {
  const routed = route(line, ports), width = line.from === line.to ? Math.min(2.2, widthOf(line)) : widthOf(line);
  const name = `${title(line.from)} to ${title(line.to)}: ${WORDS[line.state]}, ${count(line.flows)} flows`;
  const g = s("g", {
    class: `edge ${line.state}${line.changed ? " changed" : ""}`, "data-key": line.key, role: "button", tabindex: "-1", "aria-label": name,
    onclick: (event) => { event.stopPropagation(); on.line(line); },
  }, s("title", {}, name));
  const path = (attributes) => s("path", { d: routed.path, ...attributes });
  g.append(path({ class: "halo", "stroke-width": width + 12 }), path({ class: "hit" }), path({ class: "line", "stroke-width": width }), tip(line, routed, width));
  if (line.changed) {
    g.append(s("circle", { class: "mark", cx: routed.mid.x, cy: routed.mid.y, r: 8 }), s("text", { x: routed.mid.x, y: routed.mid.y + 4 }, "Δ"));
  }
  return g;
}

/** As much of `text` as `room` characters hold. */
const cut = (text, room) => (text.length > room ? `${text.slice(0, room - 1)}…` : text);

function card(group, open, on) {
  const kind = KINDS[group.kind];
  const [key, ...rest] = group.kind === "labelled" ? group.name.split("=") : [kind, group.name];
  const value = rest.join("=") || group.name;
  const name = `${group.name}${kind ? `, ${kind}` : ""}: ${group.workloads} workloads, ${count(group.flows)} flows`;
  const g = s("g", {
    class: `group ${group.kind}`, "data-key": group.key, role: "button", tabindex: "-1", "aria-label": name, transform: `translate(${group.x} ${group.y})`,
    onclick: (event) => { event.stopPropagation(); on.group(group); },
    ondblclick: (event) => { event.stopPropagation(); on.fold(group); },
  }, s("title", {}, name));
  g.append(s("rect", { class: "card", width: WIDTH, height: group.h, rx: group.kind === "network" ? 17 : 9 }));
  const single = !rest.length || value === kind;
  if (!single) g.append(s("text", { class: "key", x: 12, y: 15 }, cut(key, 24)));
  g.append(s("text", { class: "name", x: 12, y: single ? 24 : 30 }, cut(single ? group.name : value, 19)));
  const many = group.workloads > 0 ? `×${count(group.workloads)}` : "";
  g.append(s("text", { class: "count", x: WIDTH - (folds(group) ? 30 : 12), y: 24, "text-anchor": "end" }, many));
  if (folds(group)) {
    g.append(s("path", { class: "fold", d: open ? `M${WIDTH - 21} 17l5 5l5-5` : `M${WIDTH - 19} 15l5 5l-5 5` }));
    g.append(s("rect", { class: "foldhit", x: WIDTH - 28, y: 4, width: 26, height: 30, onclick: (event) => { event.stopPropagation(); on.fold(group); } }));
  }
  if (open) g.append(...rows(group));
  return g;
}

function rows(group) {
  const made = [s("path", { class: "rule", d: `M0 ${HEAD}H${WIDTH}` })];
  group.nodes.forEach((node, at) => {
    const y = HEAD + at * ROW;
    const value = node.name.includes("=") ? node.name.split("=").slice(1).join("=") : node.name || "no tier";
    made.push(s("text", { class: "tier", x: 22, y: y + 17 }, cut(value, 19)));
    made.push(s("circle", { class: "count", cx: 14, cy: y + 13, r: 2.5 }));
    made.push(s("text", { class: "count", x: WIDTH - 12, y: y + 17, "text-anchor": "end" }, node.workloads > 0 ? `×${count(node.workloads)}` : ""));
  });
  return made;
}
