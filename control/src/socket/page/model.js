// From the answer of /v1/map to what is drawn: groups, their tiers, and one line for each pair of ends and state.
import { STATES } from "./dom.js";

/** Whether a group has something inside that can be shown. */
export const folds = (group) => group.nodes.some((node) => node.name !== group.name);

/** Groups drawn at first; the busiest. */
export const GROUPS_AT_FIRST = 40;
/** With more groups than this, tiers are hidden until a group is opened. */
const OPEN_MAX = 12;

/** The answer with keys that mean the same in the next answer, so that a selection outlives it. */
export function shape(map) {
  const groups = new Map(), ends = new Map();
  for (const given of map.groups) {
    const group = { ...given, key: `${given.kind} ${given.name}`, flows: 0, nodes: [] };
    for (const node of given.nodes) {
      const end = { ...node, key: `${group.key} / ${node.name}`, group };
      group.nodes.push(end);
      ends.set(node.id, end);
    }
    groups.set(group.key, group);
  }
  const edges = [];
  for (const edge of map.edges) {
    const from = ends.get(edge.from), to = ends.get(edge.to);
    if (!from || !to) continue;
    edges.push({ ...edge, from, to });
    from.group.flows += edge.flows;
    if (to.group !== from.group) to.group.flows += edge.flows;
  }
  const order = (a, b) => b.flows - a.flows || (a.key < b.key ? -1 : 1);
  return { groups: [...groups.values()].sort(order), edges, map };
}

/** The state of a service under the policy in force or under the draft. */
export const stateOf = (service, draft) => (draft && service.draft) || service.state;

/** Whether `text` is in what names an end. */
export function holds(end, text) {
  return [end.name, end.group && end.group.name, ...(end.examples || [])].some((word) => word && word.toLowerCase().includes(text));
}

/** Adds an edge's services to the lines between two ends. */
function add(lines, from, to, edge, draft) {
  for (const service of edge.services) {
    const state = stateOf(service, draft);
    const key = `${from.key} → ${to.key} ${state}`;
    let line = lines.get(key);
    if (!line) lines.set(key, line = { key, from, to, state, flows: 0, packets: 0, bytes: 0, services: [], changed: false, first_seen: service.first_seen, last_seen: service.last_seen });
    line.flows += service.flows;
    line.packets += service.packets;
    line.bytes += service.bytes;
    if (service.first_seen < line.first_seen) line.first_seen = service.first_seen;
    if (service.last_seen > line.last_seen) line.last_seen = service.last_seen;
    line.changed ||= !!service.draft && service.draft !== service.state;
    line.services.push({ ...service, from: edge.from, to: edge.to });
  }
}

/**
 * What is to be seen: `view` has `limit`, `opened` and `closed` (keys of groups), `states` (a set), `draft` (whether its
 * states count). A group that is not open is one end; so is one without tiers.
 */
export function seen(model, view) {
  const groups = model.groups.slice(0, view.limit);
  const shown = new Set(groups);
  const openAtFirst = groups.length <= OPEN_MAX;
  const isOpen = (group) => folds(group) && (openAtFirst ? !view.closed.has(group.key) : view.opened.has(group.key));
  const open = new Set(groups.filter(isOpen));
  const end = (node) => (open.has(node.group) ? node : node.group);
  const lines = new Map(), sums = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const edge of model.edges) {
    for (const service of edge.services) sums[stateOf(service, view.draft)] += service.flows;
    if (shown.has(edge.from.group) && shown.has(edge.to.group)) add(lines, end(edge.from), end(edge.to), edge, view.draft);
  }
  const all = [...lines.values()];
  return { groups, open, sums, lines: all.filter((line) => view.states.has(line.state)), hidden: model.groups.length - groups.length };
}

/** Every dependency between tiers, for the table. */
export function rows(model, view, text) {
  const lines = new Map();
  for (const edge of model.edges) {
    if (!text || holds(edge.from, text) || holds(edge.to, text)) add(lines, edge.from, edge.to, edge, view.draft);
  }
  return [...lines.values()].filter((line) => view.states.has(line.state));
}

export const groupOf = (end) => end.group || end;
/** The values without their keys, for lists. */
export const short = (end) => title(end).replace(/(^|[ ,])[^=\s,]+=/g, "$1").replace(/ /, " / ");
export const title = (end) => (end.group ? `${end.group.name}${end.name !== end.group.name ? ` ${end.name}` : ""}` : end.name);
