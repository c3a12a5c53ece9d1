//! Large parts: the pair that covers most, again and again; then pairs that others make unnecessary go, elements move
//! to where they cost less, and selectors ask all that what is left to them has in common.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use hashbrown::HashMap;

use super::cover::{Candidate, Chosen, tightest};
use super::ends::Ends;
use super::seen::{Element, Seen, allows, unseen};

/// Moves of single elements that are tried.
const MOVES_MAX: usize = 20_000;

/// Pairs that cover all of `elements`, each element by one.
pub(super) fn solve(
    ends: &mut Ends<'_>,
    seen: &Seen,
    elements: &[Element],
    candidates: &[Candidate],
) -> Vec<Chosen> {
    let mut chosen = pick(ends, elements, candidates);
    drop_needless(&mut chosen, elements.len(), candidates);
    let mut held = share(ends, elements, candidates, &chosen);
    improve(ends, seen, elements, candidates, &chosen, &mut held);
    let mut pairs = Vec::new();
    for (one, held) in chosen.iter().zip(&held).filter(|(_, held)| !held.is_empty()) {
        let own: Vec<Element> = held.iter().map(|at| elements[*at]).collect();
        let regular = candidates[*one].regular;
        let pair = if regular { tightest(ends, seen, &own) } else { None };
        pairs.push((pair.unwrap_or(candidates[*one].pair), own.iter().map(|one| one.service).collect()));
    }
    pairs
}

/// Candidates until everything is covered: always the one that covers most of what is left, and of those the one that
/// allows least.
fn pick(ends: &Ends<'_>, elements: &[Element], candidates: &[Candidate]) -> Vec<usize> {
    let size = |one: &Candidate| {
        let services: BTreeSet<u32> = one.covers.iter().map(|at| elements[*at].service).collect();
        services.iter().map(|service| allows(ends, one.pair, *service)).fold(0, u64::saturating_add)
    };
    let mut heap: BinaryHeap<(usize, Reverse<u64>, Reverse<usize>)> = candidates
        .iter()
        .enumerate()
        .map(|(at, one)| (one.covers.len(), Reverse(size(one)), Reverse(at)))
        .collect();
    let (mut covered, mut left) = (vec![false; elements.len()], elements.len());
    let mut chosen = Vec::new();
    while left > 0
        && let Some((gain, cost, Reverse(at))) = heap.pop()
    {
        let now = candidates[at].covers.iter().filter(|one| !covered[**one]).count();
        if now < gain {
            // It was better before others were chosen.
            if now > 0 {
                heap.push((now, cost, Reverse(at)));
            }
            continue;
        }
        candidates[at].covers.iter().for_each(|one| covered[*one] = true);
        left -= now;
        chosen.push(at);
    }
    chosen
}

/// Drops what the others cover without it, the last chosen first.
fn drop_needless(chosen: &mut Vec<usize>, elements: usize, candidates: &[Candidate]) {
    let mut times = vec![0u32; elements];
    chosen.iter().flat_map(|one| &candidates[*one].covers).for_each(|at| times[*at] += 1);
    for at in (0..chosen.len()).rev() {
        let covers = &candidates[chosen[at]].covers;
        if covers.iter().all(|one| times[*one] > 1) {
            covers.iter().for_each(|one| times[*one] -= 1);
            chosen.remove(at);
        }
    }
}

/// The elements of each chosen pair: each element goes to the pair that allows least at its service.
fn share(
    ends: &Ends<'_>,
    elements: &[Element],
    candidates: &[Candidate],
    chosen: &[usize],
) -> Vec<Vec<usize>> {
    let mut best: Vec<Option<(u64, usize)>> = vec![None; elements.len()];
    for (place, one) in chosen.iter().enumerate() {
        let mut known: HashMap<u32, u64> = HashMap::new();
        for &at in &candidates[*one].covers {
            let service = elements[at].service;
            let cost = *known.entry(service).or_insert_with(|| allows(ends, candidates[*one].pair, service));
            if best[at].is_none_or(|(least, _)| cost < least) {
                best[at] = Some((cost, place));
            }
        }
    }
    let mut held = vec![Vec::new(); chosen.len()];
    for (at, best) in best.into_iter().enumerate() {
        if let Some((_, place)) = best {
            held[place].push(at);
        }
    }
    held
}

/// What the elements of a chosen pair cost.
fn cost(ends: &mut Ends<'_>, seen: &Seen, elements: &[Element], one: &Candidate, held: &[usize]) -> u64 {
    let own: Vec<Element> = held.iter().map(|at| elements[*at]).collect();
    if own.is_empty() {
        return 0;
    }
    let pair = if one.regular { tightest(ends, seen, &own) } else { None };
    let pair = pair.unwrap_or(one.pair);
    let services: BTreeSet<u32> = own.iter().map(|one| one.service).collect();
    services.iter().map(|service| unseen(ends, seen, pair, *service)).fold(0, u64::saturating_add)
}

/// Moves elements that several chosen pairs cover to where they cost less.
fn improve(
    ends: &mut Ends<'_>,
    seen: &Seen,
    elements: &[Element],
    candidates: &[Candidate],
    chosen: &[usize],
    held: &mut [Vec<usize>],
) {
    let mut tried = 0;
    // With large shares each try costs as much as they are long.
    let budget = MOVES_MAX / (1 + elements.len() / 64);
    for from in 0..chosen.len() {
        for at in held[from].clone() {
            for to in (0..chosen.len()).filter(|to| *to != from) {
                let target = &candidates[chosen[to]];
                if held[from].len() < 2 || target.covers.binary_search(&at).is_err() {
                    continue;
                }
                tried += 1;
                if tried > budget {
                    return;
                }
                let less: Vec<usize> = held[from].iter().copied().filter(|one| *one != at).collect();
                let more: Vec<usize> = held[to].iter().copied().chain([at]).collect();
                let source = &candidates[chosen[from]];
                let before = cost(ends, seen, elements, source, &held[from])
                    .saturating_add(cost(ends, seen, elements, target, &held[to]));
                let after = cost(ends, seen, elements, source, &less)
                    .saturating_add(cost(ends, seen, elements, target, &more));
                if after < before {
                    held[from] = less;
                    held[to] = more;
                    break;
                }
            }
        }
    }
}
