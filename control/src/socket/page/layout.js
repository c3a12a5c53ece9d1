// Where the groups stand: who asks is left of who answers. Layers by longest path once cycles are cut, rows by the mean of
// the neighbours, long layers wrapped. Groups without traffic stand in rows below.
import { groupOf } from "./model.js";

export const WIDTH = 188, HEAD = 38, ROW = 25;
const ACROSS = 120, DOWN = 22, LAYERS_MAX = 7, HEIGHT_MAX = 900;

export const heightOf = (group, open) => HEAD + (open ? group.nodes.length * ROW + 6 : 0);

/** Sets `x`, `y`, `h` of every group in `seen`; the whole's size comes back. */
export function arrange(seen) {
  const groups = seen.groups;
  for (const group of groups) group.h = heightOf(group, seen.open.has(group));
  const { out, into } = neighbours(seen);
  const busy = groups.filter((group) => out.get(group).size + into.get(group).size > 0);
  const idle = groups.filter((group) => !busy.includes(group));
  const layers = order(layered(busy, out), out, into);
  let x = 0, height = 0;
  const columns = layers.flatMap(wrapped);
  for (const column of columns) {
    column.height = column.reduce((sum, group) => sum + group.h + DOWN, -DOWN);
    height = Math.max(height, column.height);
  }
  columns.forEach((column, at) => {
    if (at > 0) x += WIDTH + (column.wrapped ? 46 : ACROSS);
    let y = (height - column.height) / 2;
    for (const group of column) {
      Object.assign(group, { x, y });
      y += group.h + DOWN;
    }
  });
  const width = Math.max(columns.length ? x + WIDTH : 0, 4 * (WIDTH + 30));
  return { width, ...strip(idle, width, columns.length ? height + 74 : 0) };
}

function neighbours(seen) {
  const out = new Map(seen.groups.map((group) => [group, new Map()]));
  const into = new Map(seen.groups.map((group) => [group, new Map()]));
  for (const line of seen.lines) {
    const from = groupOf(line.from), to = groupOf(line.to);
    if (from === to) { out.get(from).set(from, 0); continue; }
    const weight = Math.log2(2 + line.flows) * (line.state === "allowed" ? 2 : 1);
    out.get(from).set(to, (out.get(from).get(to) || 0) + weight);
    into.get(to).set(from, (into.get(to).get(from) || 0) + weight);
  }
  return { out, into };
}

/** The layer of each group. Cycles are cut where they are met first, beginning with those who ask the most. */
function layered(groups, out) {
  const sum = (map) => [...map.values()].reduce((a, b) => a + b, 0);
  const asks = new Map(groups.map((group) => [group, 0]));
  for (const group of groups) for (const [to, weight] of out.get(group)) {
    asks.set(group, asks.get(group) + weight);
    if (to !== group) asks.set(to, (asks.get(to) || 0) - weight);
  }
  const first = [...groups].sort((a, b) => asks.get(b) - asks.get(a) || sum(out.get(b)) - sum(out.get(a)) || (a.key < b.key ? -1 : 1));
  const place = new Map(first.map((group, at) => [group, at]));
  const layer = new Map(first.map((group) => [group, 0]));
  for (const group of first) for (const to of out.get(group).keys()) {
    if (place.get(to) > place.get(group)) layer.set(to, Math.max(layer.get(to), layer.get(group) + 1));
  }
  // As far right as those it asks allow: short lines cross less.
  for (const group of [...first].reverse()) {
    const later = [...out.get(group).keys()].filter((to) => place.get(to) > place.get(group)).map((to) => layer.get(to));
    if (later.length) layer.set(group, Math.max(layer.get(group), Math.min(...later) - 1));
  }
  const layers = [];
  for (const group of first) (layers[Math.min(layer.get(group), LAYERS_MAX - 1)] ||= []).push(group);
  return layers.filter(Boolean);
}

/** Rows by the mean of the neighbours in the layer before and after, a few times over. */
function order(layers, out, into) {
  for (let round = 0; round < 6; round++) {
    const place = new Map();
    for (const layer of layers) layer.forEach((group, at) => place.set(group, at / Math.max(1, layer.length - 1)));
    const mean = (group) => {
      let sum = 0, weight = 0;
      for (const map of [into.get(group), out.get(group)]) for (const [other, w] of map) {
        if (other !== group && place.has(other)) { sum += place.get(other) * w; weight += w; }
      }
      return weight ? sum / weight : place.get(group);
    };
    for (const layer of layers) {
      const means = new Map(layer.map((group) => [group, mean(group)]));
      layer.sort((a, b) => means.get(a) - means.get(b) || (a.key < b.key ? -1 : 1));
    }
  }
  return layers;
}

/** A long layer as columns side by side. */
function wrapped(layer) {
  const total = layer.reduce((sum, group) => sum + group.h + DOWN, 0);
  const parts = Math.max(1, Math.ceil(total / HEIGHT_MAX));
  const columns = [];
  let column = [], used = 0;
  for (const group of layer) {
    if (used + group.h > total / parts + 1 && column.length && columns.length < parts - 1) {
      columns.push(column);
      column = [];
      used = 0;
    }
    column.push(group);
    used += group.h + DOWN;
  }
  columns.push(column);
  columns.forEach((column, at) => { column.wrapped = at > 0; });
  return columns;
}

function strip(idle, width, y) {
  if (!idle.length) return { height: Math.max(0, y - 74), strip: null };
  const across = Math.max(1, Math.floor((width + 30) / (WIDTH + 30)));
  const top = y;
  let row = 0;
  for (let at = 0; at < idle.length; at += across) {
    const line = idle.slice(at, at + across);
    line.forEach((group, column) => Object.assign(group, { x: column * (WIDTH + 30), y }));
    y += Math.max(...line.map((group) => group.h)) + 16;
    row++;
  }
  return { height: y - 16, strip: row ? { y: top - 14, groups: idle.length } : null };
}
