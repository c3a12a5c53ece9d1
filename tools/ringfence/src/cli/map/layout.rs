//! Where things stand in the picture: groups in layers from left to right, so that most edges point right; edges that
//! span layers get lanes between the groups in them.
//!
//! The order of groups that breaks cycles is the greedy one of Eades, Lin and Smyth; the order inside layers follows the
//! mean of neighbours (Sugiyama's method), with a fixed number of rounds.

use std::collections::{BTreeMap, BTreeSet};

use super::drawing::Drawing;

/// Pixels.
pub(super) const NODE_WIDTH: f64 = 176.0;
const NODE_MIN: f64 = 38.0;
const PORT: f64 = 9.0;
const PAD: f64 = 12.0;
/// The group's name above its nodes.
pub(super) const HEAD: f64 = 30.0;
const NODE_GAP: f64 = 10.0;
const GROUP_GAP: f64 = 26.0;
const LANE: f64 = 10.0;
const LAYER_GAP: f64 = 150.0;
/// Rounds of putting groups near their neighbours.
const ROUNDS: usize = 8;

/// A box: left, top, width, height.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// A place where an edge passes; curves run level through it.
pub(super) type Point = (f64, f64);

/// The finished layout.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// By group; `None` for groups without edges.
    pub(super) groups: Vec<Option<Area>>,
    /// By node; `None` in groups without edges.
    pub(super) nodes: Vec<Option<Area>>,
    /// By edge: where it begins, the ends of its lanes, where it ends.
    pub(super) edges: Vec<Vec<Point>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// What stands in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Group(usize),
    /// A lane of the edges between two groups.
    Lane(usize, usize),
}

/// Lays `drawing` out.
pub(super) fn layout(drawing: &Drawing) -> Layout {
    let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut active: BTreeSet<usize> = BTreeSet::new();
    for edge in &drawing.edges {
        let (from, to) = (drawing.nodes[edge.from].group, drawing.nodes[edge.to].group);
        active.extend([from, to]);
        if from != to {
            *pairs.entry((from, to)).or_default() += 1;
        }
    }
    let layer = layers(&active, &pairs, drawing.groups.len());
    let columns = columns(&active, &pairs, &layer);
    let heights = heights(drawing);
    place(drawing, &columns, &layer, &pairs, &heights)
}

/// The layer of each group: edges that agree with the greedy order point right.
fn layers(active: &BTreeSet<usize>, pairs: &BTreeMap<(usize, usize), usize>, groups: usize) -> Vec<usize> {
    let (mut left, mut head, mut tail) = (active.clone(), Vec::new(), Vec::new());
    let (mut ins, mut outs) = (vec![0usize; groups], vec![0usize; groups]);
    for &(from, to) in pairs.keys() {
        outs[from] += 1;
        ins[to] += 1;
    }
    while !left.is_empty() {
        let sink = left.iter().copied().find(|at| outs[*at] == 0 && ins[*at] > 0);
        let best = || left.iter().copied().max_by_key(|at| (outs[*at] + groups - ins[*at], usize::MAX - at));
        let Some(at) = sink.or_else(best) else { break };
        left.remove(&at);
        if sink.is_some() {
            tail.push(at)
        } else {
            head.push(at)
        }
        for &(from, to) in pairs.keys() {
            if from == at {
                ins[to] = ins[to].saturating_sub(1);
            }
            if to == at {
                outs[from] = outs[from].saturating_sub(1);
            }
        }
    }
    tail.reverse();
    head.extend(tail);
    let mut rank = vec![0usize; groups];
    head.iter().enumerate().for_each(|(at, group)| rank[*group] = at);
    let mut layer = vec![0usize; groups];
    for &group in &head {
        let before = pairs.keys().filter(|(from, to)| *to == group && rank[*from] < rank[group]);
        layer[group] = before.map(|(from, _)| layer[*from] + 1).max().unwrap_or(0);
    }
    layer
}

/// What stands in each layer, from top to bottom.
fn columns(
    active: &BTreeSet<usize>,
    pairs: &BTreeMap<(usize, usize), usize>,
    layer: &[usize],
) -> Vec<Vec<Item>> {
    let last = active.iter().map(|at| layer[*at]).max().unwrap_or(0);
    let mut columns: Vec<Vec<Item>> = vec![Vec::new(); last + 1];
    active.iter().for_each(|at| columns[layer[*at]].push(Item::Group(*at)));
    let mut links: Vec<Vec<(Item, Item)>> = vec![Vec::new(); last + 1];
    for &(from, to) in pairs.keys() {
        let (near, far) = (layer[from].min(layer[to]), layer[from].max(layer[to]));
        let (first, second) = if layer[from] <= layer[to] { (from, to) } else { (to, from) };
        let mut before = Item::Group(first);
        for (at, column) in columns.iter_mut().enumerate().take(far).skip(near + 1) {
            let lane = Item::Lane(from, to);
            column.push(lane);
            links[at - 1].push((before, lane));
            before = lane;
        }
        if far > near {
            links[far - 1].push((before, Item::Group(second)));
        }
    }
    for round in 0..ROUNDS {
        let rightwards = round % 2 == 0;
        let order: Vec<usize> = if rightwards { (1..=last).collect() } else { (0..last).rev().collect() };
        for at in order {
            let beside = if rightwards { at - 1 } else { at + 1 };
            let places: BTreeMap<Item, usize> = columns[beside].iter().copied().zip(0..).collect();
            let mut sums: BTreeMap<Item, (usize, usize)> = BTreeMap::new();
            for &(a, b) in &links[at.min(beside)] {
                let (mine, other) = if rightwards { (b, a) } else { (a, b) };
                let sum = sums.entry(mine).or_default();
                *sum = (sum.0 + places.get(&other).copied().unwrap_or(0), sum.1 + 1);
            }
            let mean = |item: &Item, own: usize| match sums.get(item) {
                Some((sum, count)) => *sum as f64 / *count as f64,
                None => own as f64,
            };
            let mut keyed: Vec<(f64, Item)> =
                columns[at].iter().enumerate().map(|(own, item)| (mean(item, own), *item)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            columns[at] = keyed.into_iter().map(|(_, item)| item).collect();
        }
    }
    columns
}

/// The height of each node: room for the ends of its edges.
fn heights(drawing: &Drawing) -> Vec<f64> {
    let mut ends = vec![[0usize; 2]; drawing.nodes.len()];
    for edge in &drawing.edges {
        ends[edge.from][0] += 1;
        ends[edge.to][1] += 1;
    }
    let both = |[outs, ins]: &[usize; 2]| (outs + ins) as f64 * PORT + 14.0;
    ends.iter().map(|ends| both(ends).max(NODE_MIN)).collect()
}

fn place(
    drawing: &Drawing,
    columns: &[Vec<Item>],
    layer: &[usize],
    pairs: &BTreeMap<(usize, usize), usize>,
    heights: &[f64],
) -> Layout {
    let high = |item: &Item| match item {
        Item::Group(at) => {
            let nodes = &drawing.groups[*at].nodes;
            nodes.iter().map(|node| heights[*node] + NODE_GAP).sum::<f64>() - NODE_GAP + HEAD + PAD
        }
        Item::Lane(from, to) => LANE * pairs.get(&(*from, *to)).copied().unwrap_or(1) as f64,
    };
    let tall = |column: &Vec<Item>| column.iter().map(|item| high(item) + GROUP_GAP).sum::<f64>() - GROUP_GAP;
    let height = columns.iter().map(tall).fold(0.0, f64::max);
    let mut layout = Layout {
        groups: vec![None; drawing.groups.len()],
        nodes: vec![None; drawing.nodes.len()],
        height,
        ..Layout::default()
    };
    let mut lanes: BTreeMap<(usize, usize), Vec<Area>> = BTreeMap::new();
    let w = NODE_WIDTH + 2.0 * PAD;
    let mut x = 0.0;
    for column in columns {
        let mut y = (height - tall(column)) / 2.0;
        for item in column {
            let area = Area { x, y, w, h: high(item) };
            match item {
                Item::Group(at) => {
                    layout.groups[*at] = Some(area);
                    let mut top = y + HEAD;
                    for &node in &drawing.groups[*at].nodes {
                        let h = heights[node];
                        layout.nodes[node] = Some(Area { x: x + PAD, y: top, w: NODE_WIDTH, h });
                        top += h + NODE_GAP;
                    }
                }
                Item::Lane(from, to) => lanes.entry((*from, *to)).or_default().push(area),
            }
            y += area.h + GROUP_GAP;
        }
        x += w + LAYER_GAP;
    }
    layout.width = x - LAYER_GAP;
    route(drawing, layer, &mut lanes, &mut layout);
    layout
}

/// An end of an edge at a node: from where it is seen, which edge, whether it begins here.
type Port = (f64, usize, bool);

/// The ways of all edges.
fn route(
    drawing: &Drawing,
    layer: &[usize],
    lanes: &mut BTreeMap<(usize, usize), Vec<Area>>,
    layout: &mut Layout,
) {
    let mut used: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    // By node and whether it is its right side.
    let mut ports: BTreeMap<(usize, bool), Vec<Port>> = BTreeMap::new();
    let middle = |layout: &Layout, node: usize| layout.nodes[node].map_or(0.0, |area| area.y + area.h / 2.0);
    for (at, edge) in drawing.edges.iter().enumerate() {
        let pair = (drawing.nodes[edge.from].group, drawing.nodes[edge.to].group);
        let (from, to) = (layer[pair.0], layer[pair.1]);
        let lane = used.entry(pair).or_default();
        let mut way: Vec<Point> = Vec::new();
        for area in lanes.get(&pair).into_iter().flatten() {
            let y = area.y + LANE * (*lane as f64 + 0.5);
            way.extend([(area.x, y), (area.x + area.w, y)]);
        }
        if from > to {
            way.reverse();
        }
        *lane += 1;
        let seen =
            |end: usize, near: Option<&Point>| near.map_or_else(|| middle(layout, end), |point| point.1);
        let leaves_right = from <= to;
        let enters_right = from >= to;
        let first = seen(edge.to, way.first());
        let last = seen(edge.from, way.last());
        ports.entry((edge.from, leaves_right)).or_default().push((first, at, true));
        ports.entry((edge.to, enters_right)).or_default().push((last, at, false));
        layout.edges.push(way);
    }
    for ((node, right), mut ends) in ports {
        let Some(area) = layout.nodes[node] else { continue };
        ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let step = area.h / (ends.len() as f64 + 1.0);
        let x = if right { area.x + area.w } else { area.x };
        for (at, (_, edge, begins)) in ends.into_iter().enumerate() {
            let point = (x, area.y + step * (at as f64 + 1.0));
            let way = &mut layout.edges[edge];
            if begins { way.insert(0, point) } else { way.push(point) }
        }
    }
}
