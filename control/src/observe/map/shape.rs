//! From sums to an answer that is in order and within its bounds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::edges::{Edges, Line, Sum};
use super::nodes::{Found, Nodes, Place, Values};
use super::{Edge, Group, Kind, LeftOut, Map, Node, Question, Service, State};
use crate::observe::names::service_name;

/// Groups in one answer that have no edge in it.
const GROUPS_MAX: usize = 5000;
/// Nodes of one group that have no edge in the answer.
const IDLE_MAX: usize = 100;
/// Services of one edge.
const SERVICES_MAX: usize = 100;

pub(super) fn shape(nodes: Nodes<'_>, edges: Edges, question: &Question) -> Map {
    let totals = edges.totals;
    let mut left_out = LeftOut::default();
    let kept = choose(edges, question.limit, &mut left_out);
    let mut busy = vec![false; nodes.nodes.len()];
    for ((ends, _), _) in &kept {
        ends.iter().for_each(|end| busy[*end as usize] = true);
    }
    let (groups, ids) = groups(nodes.nodes, &busy, question, &mut left_out);
    let edges = (0..).zip(kept).map(|(at, ((ends, state), sum))| edge(at, ends, state, sum, &ids)).collect();
    Map { groups, edges, totals, left_out }
}

type Summed = (([u32; 2], State), Sum);

/// The edges that fit: of each state those with the most flows first, the states in turn, so that none crowds out
/// another.
fn choose(edges: Edges, limit: usize, left_out: &mut LeftOut) -> Vec<Summed> {
    let mut all: Vec<Summed> = edges.edges.into_iter().collect();
    all.sort_unstable_by_key(|((ends, state), sum)| (*state, Reverse(sum.sums.flows), *ends));
    let mut rank = [0usize; 3];
    let mut ranked: Vec<(usize, Summed)> = Vec::with_capacity(all.len());
    for one in all {
        let rank = &mut rank[one.0.1 as usize];
        ranked.push((*rank, one));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, ((_, state), _))| (*rank, Reverse(*state)));
    let rest = ranked.split_off(limit.min(ranked.len()));
    left_out.edges = rest.len();
    left_out.flows = rest.iter().map(|(_, (_, sum))| sum.sums.flows).fold(0, u64::saturating_add);
    ranked.into_iter().map(|(_, one)| one).collect()
}

/// The groups that fit, and the id of each node that is shown.
fn groups(
    nodes: Vec<Found<'_>>,
    busy: &[bool],
    question: &Question,
    left_out: &mut LeftOut,
) -> (Vec<Group>, HashMap<u32, String>) {
    let mut by: BTreeMap<(Kind, String), Vec<(u32, Found<'_>)>> = BTreeMap::new();
    for (at, found) in (0u32..).zip(nodes) {
        if found.wanted || busy[at as usize] {
            by.entry((found.place.kind, group_name(&found.place, question))).or_default().push((at, found));
        }
    }
    let mut idle: Vec<(Reverse<u64>, (Kind, String))> = by
        .iter()
        .filter(|(_, nodes)| !nodes.iter().any(|(at, _)| busy[*at as usize]))
        .map(|(key, nodes)| (Reverse(nodes.iter().map(|(_, found)| found.workloads).sum()), key.clone()))
        .collect();
    idle.sort_unstable();
    for (_, key) in idle.drain(GROUPS_MAX.min(idle.len())..) {
        by.remove(&key);
        left_out.groups += 1;
    }
    let mut ids = HashMap::new();
    let groups = (0..).zip(by).map(|(at, ((kind, name), mut nodes))| {
        let workloads = nodes.iter().map(|(_, found)| found.workloads).sum();
        nodes
            .sort_unstable_by_key(|(at, found)| (Reverse(busy[*at as usize]), Reverse(found.workloads), *at));
        let active = nodes.iter().take_while(|(at, _)| busy[*at as usize]).count();
        left_out.nodes += nodes.len().saturating_sub(active + IDLE_MAX);
        nodes.truncate(active + IDLE_MAX);
        let labels = nodes.first().map(|(_, found)| labels(&found.place.group)).unwrap_or_default();
        let mut named: Vec<_> = nodes
            .into_iter()
            .map(|(at, found)| (node_name(&found.place, &name, question), at, found))
            .collect();
        named.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let nodes = named.into_iter().map(|(name, at, found)| {
            let id = format!("n{}", ids.len());
            ids.insert(at, id.clone());
            node(id, name, found)
        });
        Group { id: format!("g{at}"), kind, name, labels, workloads, nodes: nodes.collect() }
    });
    let groups = groups.collect();
    (groups, ids)
}

fn node(id: String, name: String, found: Found<'_>) -> Node {
    let mut all = labels(&found.place.group);
    if found.place.kind == Kind::Labelled {
        all.extend(labels(&found.place.tier));
    }
    let Found { workloads, examples, .. } = found;
    Node { id, kind: found.place.kind, name, labels: all, workloads, examples }
}

fn edge(at: usize, ends: [u32; 2], state: State, sum: Sum, ids: &HashMap<u32, String>) -> Edge {
    let mut lines: Vec<((u32, Option<State>), Line)> = sum.services.into_iter().collect();
    lines.sort_unstable_by_key(|(key, line)| (Reverse(line.sums.flows), *key));
    let draft = lines.iter().filter_map(|((_, draft), _)| *draft).max();
    let services_left_out = lines.len().saturating_sub(SERVICES_MAX);
    lines.truncate(SERVICES_MAX);
    let id = |end: u32| ids.get(&end).cloned().unwrap_or_default();
    Edge {
        id: format!("e{at}"),
        from: id(ends[0]),
        to: id(ends[1]),
        state,
        draft,
        sums: sum.sums,
        first_seen: sum.seen[0],
        last_seen: sum.seen[1],
        services: lines.into_iter().map(|((key, draft), line)| service(key, state, draft, line)).collect(),
        services_left_out,
    }
}

fn service(key: u32, state: State, draft: Option<State>, line: Line) -> Service {
    let words = |names: Vec<std::sync::Arc<str>>| names.iter().map(ToString::to_string).collect();
    Service {
        service: service_name(key),
        state,
        draft,
        rules: words(line.rules),
        potential: words(line.potential),
        draft_rules: words(line.draft_rules),
        sums: line.sums,
        first_seen: line.seen[0],
        last_seen: line.seen[1],
        example: line.example,
    }
}

fn labels(values: &Values<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let owned = |(key, values): &(&str, Vec<&str>)| {
        ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
    };
    values.iter().map(owned).collect()
}

fn group_name(place: &Place<'_>, question: &Question) -> String {
    match place.kind {
        Kind::Labelled if question.by.is_empty() => "workloads".into(),
        Kind::Labelled => words(&question.by, &place.group),
        Kind::Unlabelled => "unlabelled".into(),
        Kind::Network => "networks".into(),
        Kind::Unknown => "unknown".into(),
    }
}

fn node_name(place: &Place<'_>, group: &str, question: &Question) -> String {
    match (place.kind, place.tier.first()) {
        (Kind::Network, Some((_, names))) => names.join("+"),
        (Kind::Labelled, _) if !question.tier.is_empty() => words(&question.tier, &place.tier),
        _ => group.to_owned(),
    }
}

/// `app=shop,env=prod`, in the order of the question; `no env` where a key is missing.
fn words(keys: &[String], values: &Values<'_>) -> String {
    let word = |key: &String| match values.iter().find(|(have, _)| have == key) {
        Some((key, values)) => format!("{key}={}", values.join("+")),
        None => format!("no {key}"),
    };
    keys.iter().map(word).collect::<Vec<_>>().join(",")
}
