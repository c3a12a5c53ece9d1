//! Which pairs of selectors cover every cell.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::classes::{ABSENT, ANY, End, Group};
use super::ends::Ends;
use super::seen::{Element, Seen, allows, unseen};
use super::{Tightness, exact, greedy};

/// Selectors of one class that are looked at; more can only be those of a class with many values.
const OPTIONS_MAX: usize = 64;
/// Of these, the selectors that ask as little as the tightness allows.
const WIDEST_MAX: usize = 16;

/// A pair of selectors (by number, source and destination) with the services that it is used for.
pub(super) type Chosen = ([u32; 2], BTreeSet<u32>);

/// What covers everything.
pub(super) struct Cover {
    pub(super) pairs: Vec<Chosen>,
    /// Whether each part was solved exactly.
    pub(super) exact: bool,
}

/// By class, two kinds of selectors that match it.
type Options = HashMap<u32, [Vec<u32>; 2]>;

/// A pair of selectors, and the elements of a part that it can cover, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) pair: [u32; 2],
    pub(super) covers: Vec<usize>,
    /// Whether it keeps to what the tightness asks; others are kept as they are.
    pub(super) regular: bool,
}

/// Covers every element of `seen`.
pub(super) fn cover(ends: &mut Ends<'_>, seen: &Seen) -> Cover {
    // An assertion may forbid the widest pair and not the tighter ones, which then may tie others together.
    let ties = candidates(ends, seen, &seen.elements, !ends.nevers.is_empty());
    let mut pairs: Vec<Chosen> = Vec::new();
    let mut all_exact = true;
    for part in parts(seen.elements.len(), &ties) {
        let elements: Vec<Element> = part.iter().map(|at| seen.elements[*at]).collect();
        let (chosen, exact) = solve(ends, seen, &elements);
        all_exact &= exact;
        pairs.extend(chosen);
    }
    // Parts do not share pairs that can cover anything of both, but their tightest selectors may be the same.
    let mut merged: HashMap<[u32; 2], BTreeSet<u32>> = HashMap::new();
    pairs.into_iter().for_each(|(pair, services)| merged.entry(pair).or_default().extend(services));
    let mut pairs: Vec<Chosen> = merged.into_iter().collect();
    pairs.sort_unstable();
    Cover { pairs, exact: all_exact }
}

/// Elements that no candidate ties together, directly or over others.
fn parts(elements: usize, candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..elements).collect();
    fn root(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    for candidate in candidates {
        for pair in candidate.covers.windows(2) {
            let (a, b) = (root(&mut parent, pair[0]), root(&mut parent, pair[1]));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
    for at in 0..elements {
        parts.entry(root(&mut parent, at)).or_default().push(at);
    }
    let mut parts: Vec<Vec<usize>> = parts.into_values().collect();
    parts.sort_unstable();
    parts
}

fn solve(ends: &mut Ends<'_>, seen: &Seen, elements: &[Element]) -> (Vec<Chosen>, bool) {
    if let Some(pair) = tightest(ends, seen, elements) {
        return (vec![(pair, elements.iter().map(|one| one.service).collect())], true);
    }
    if elements.len() <= exact::ELEMENTS_MAX {
        let all = candidates(ends, seen, elements, true);
        if let Some(solved) = exact::solve(ends, seen, elements, &all) {
            return solved;
        }
    }
    let widest = candidates(ends, seen, elements, false);
    (greedy::solve(ends, seen, elements, &widest), false)
}

/// The pair with the fewest unseen tuples of those that keep to the tightness and cover all of `elements`.
///
/// Whatever it asks beside what it must makes it match less, so only selectors that ask everything that all classes
/// have in common are looked at: for each key one of the common values.
pub(super) fn tightest(ends: &mut Ends<'_>, seen: &Seen, elements: &[Element]) -> Option<[u32; 2]> {
    let from = common(ends, 0, elements.iter().map(|one| one.from));
    let to = common(ends, 1, elements.iter().map(|one| one.to));
    let services: BTreeSet<u32> = elements.iter().map(|one| one.service).collect();
    let mut best: Option<(u64, usize, [u32; 2])> = None;
    for &from in &from {
        for &to in &to {
            if services.iter().any(|service| !may(ends, [from, to], *service)) {
                continue;
            }
            let cost = services.iter().map(|service| unseen(ends, seen, [from, to], *service)).sum();
            let strange = ends.terms.keys.len() - alike(ends, [from, to]);
            if best.is_none_or(|(least, stranger, _)| (cost, strange) < (least, stranger)) {
                best = Some((cost, strange, [from, to]));
            }
        }
    }
    best.map(|(.., pair)| pair)
}

/// How many keys both ends ask the same value of: of pairs that are as good, people expect the one that stays in its
/// application.
pub(super) fn alike(ends: &Ends<'_>, pair: [u32; 2]) -> usize {
    match [0, 1].map(|side| &ends.sides[side].matched[pair[side] as usize].end) {
        [End::Labels(from), End::Labels(to)] => {
            from.iter().zip(to).filter(|(from, to)| from == to && **from > ABSENT).count()
        }
        _ => 0,
    }
}

/// The tightest selectors that match all of `classes`; none if they have too little in common.
fn common(ends: &mut Ends<'_>, side: usize, classes: impl Iterator<Item = u32>) -> Vec<u32> {
    let classes: BTreeSet<u32> = classes.collect();
    let all = &ends.sides[side].classes;
    let labels = |class: &u32| match &all[*class as usize].group {
        Group::Labels(values) => Some(values),
        _ => None,
    };
    let Some(held) = classes.iter().map(labels).collect::<Option<Vec<_>>>() else {
        let only = classes.first().copied().filter(|_| classes.len() == 1);
        return only.map(|class| ends.sides[side].intern(End::Only(class))).into_iter().collect();
    };
    let mut options = Vec::with_capacity(ends.terms.keys.len());
    for key in 0..ends.terms.keys.len() {
        let first = held.first().map_or(&[][..], |values| &values[key]);
        let mut shared: Vec<u32> =
            first.iter().copied().filter(|one| held.iter().all(|values| values[key].contains(one))).collect();
        if held.iter().all(|values| values[key].is_empty()) {
            shared.push(ABSENT);
        }
        if shared.is_empty() && !ends.terms.asks(key) {
            shared.push(ANY);
        }
        options.push(shared);
    }
    let asked = product(&options, OPTIONS_MAX);
    asked.into_iter().map(|asked| ends.sides[side].intern(End::Labels(asked))).collect()
}

/// Every choice of one of each list, at most `max` of them.
fn product(options: &[Vec<u32>], max: usize) -> Vec<Box<[u32]>> {
    let mut choices: Vec<Vec<u32>> = vec![Vec::new()];
    for list in options {
        let longer =
            |choice: &Vec<u32>| list.iter().map(|one| [choice.as_slice(), &[*one]].concat()).collect();
        choices = choices.iter().flat_map::<Vec<Vec<u32>>, _>(longer).take(max).collect();
    }
    choices.into_iter().map(Vec::into_boxed_slice).collect()
}

/// Which keys a selector may leave out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// Those that the tightness lets it: all of them.
    Little,
    /// Those that the tightness lets it: each or not.
    Enough,
    /// None.
    All,
    /// The first, and each of the others or not.
    Anything,
}

fn options(ends: &mut Ends<'_>, side: usize, class: u32, asking: Asking) -> Vec<u32> {
    let Group::Labels(values) = &ends.sides[side].classes[class as usize].group else {
        return match asking {
            Asking::Anything => Vec::new(),
            _ => vec![ends.sides[side].intern(End::Only(class))],
        };
    };
    let lists: Vec<Vec<u32>> = values
        .iter()
        .enumerate()
        .map(|(key, held)| {
            let mut list = if held.is_empty() { vec![ABSENT] } else { held.clone() };
            let asks = ends.terms.asks(key);
            match asking {
                Asking::Little if !asks => list = vec![ANY],
                Asking::Enough if !asks => list.push(ANY),
                Asking::Anything if key == 0 => list = vec![ANY],
                Asking::Anything => list.push(ANY),
                _ => {}
            }
            list
        })
        .collect();
    let max = if asking == Asking::Enough { OPTIONS_MAX } else { WIDEST_MAX };
    product(&lists, max).into_iter().map(|asked| ends.sides[side].intern(End::Labels(asked))).collect()
}

/// Whether no assertion forbids what a pair would allow at a service.
pub(super) fn may(ends: &Ends<'_>, pair: [u32; 2], service: u32) -> bool {
    let [from, to] = [0, 1].map(|side| &ends.sides[side].matched[pair[side] as usize].never);
    forbids(ends, from, to, service).is_none()
}

fn forbids(ends: &Ends<'_>, from: &[u32], to: &[u32], service: u32) -> Option<u32> {
    let about = |at: &&u32| {
        to.contains(*at)
            && ends.policy.assertions[**at as usize].services.iter().any(|one| one.contains(service))
    };
    from.iter().find(about).copied()
}

/// The assertion that forbids flows between two classes.
pub(super) fn forbidden<'a>(ends: &Ends<'a>, from: u32, to: u32, service: u32) -> Option<&'a str> {
    let [from, to] =
        [(0, from), (1, to)].map(|(side, class)| &ends.sides[side].classes[class as usize].never);
    let at = forbids(ends, from, to, service)?;
    Some(ends.policy.assertions[at as usize].name.as_str())
}

/// Whether any pair that keeps to the tightness may allow flows between two classes.
pub(super) fn can_be_covered(ends: &mut Ends<'_>, from: u32, to: u32, service: u32) -> bool {
    if ends.nevers.is_empty() {
        return true;
    }
    let (from, to) = (options(ends, 0, from, Asking::Enough), options(ends, 1, to, Asking::Enough));
    from.iter().any(|from| to.iter().any(|to| may(ends, [*from, *to], service)))
}

/// The pairs that may cover some of `elements`: with `every`, all of them; otherwise those that ask little, where
/// assertions let them.
pub(super) fn candidates(
    ends: &mut Ends<'_>,
    seen: &Seen,
    elements: &[Element],
    every: bool,
) -> Vec<Candidate> {
    let mut met: HashMap<[u32; 2], Vec<usize>> = HashMap::new();
    let mut known: [Options; 2] = [HashMap::new(), HashMap::new()];
    for (at, one) in elements.iter().enumerate() {
        for (side, class) in [(0, one.from), (1, one.to)] {
            if !known[side].contains_key(&class) {
                let little = options(ends, side, class, Asking::Little);
                known[side].insert(class, [little, options(ends, side, class, Asking::Enough)]);
            }
        }
        let (from, to) = (&known[0][&one.from], &known[1][&one.to]);
        let mut found = false;
        let mut enter = |from: &[u32], to: &[u32]| {
            for pair in from.iter().flat_map(|from| to.iter().map(|to| [*from, *to])) {
                if may(ends, pair, one.service) {
                    met.entry(pair).or_default().push(at);
                    found = true;
                }
            }
            found
        };
        if every || !enter(&from[0], &to[0]) {
            enter(&from[1], &to[1]);
        }
    }
    let regular = |(pair, covers)| Candidate { pair, covers, regular: true };
    let mut all: Vec<Candidate> = met.into_iter().map(regular).collect();
    if ends.terms.tightness == Tightness::Wide {
        all.extend(dense(ends, seen, elements));
    }
    all.sort_unstable_by(|a, b| (a.pair, &a.covers).cmp(&(b.pair, &b.covers)));
    all
}

/// Pairs that leave the first key out at one end, at services where at least half of what they allow was seen.
fn dense(ends: &mut Ends<'_>, seen: &Seen, elements: &[Element]) -> Vec<Candidate> {
    let mut met: HashMap<([u32; 2], u32), Vec<usize>> = HashMap::new();
    let mut known: [Options; 2] = [HashMap::new(), HashMap::new()];
    for (at, one) in elements.iter().enumerate() {
        for (side, class) in [(0, one.from), (1, one.to)] {
            if !known[side].contains_key(&class) {
                let mut kept = options(ends, side, class, Asking::All);
                kept.extend(options(ends, side, class, Asking::Little));
                kept.sort_unstable();
                kept.dedup();
                known[side].insert(class, [options(ends, side, class, Asking::Anything), kept]);
            }
        }
        let ([wide_from, from], [wide_to, to]) = (&known[0][&one.from], &known[1][&one.to]);
        for (from, to) in [(wide_from, to), (from, wide_to)] {
            for pair in from.iter().flat_map(|from| to.iter().map(|to| [*from, *to])) {
                met.entry((pair, one.service)).or_default().push(at);
            }
        }
    }
    let half = |pair: [u32; 2], service: u32| {
        seen.between(ends, pair, service).pairs.saturating_mul(2) >= allows(ends, pair, service)
    };
    let mut found: HashMap<[u32; 2], Vec<usize>> = HashMap::new();
    for ((pair, service), covers) in met {
        // One element needs no help.
        if covers.len() > 1 && may(ends, pair, service) && half(pair, service) {
            found.entry(pair).or_default().extend(covers);
        }
    }
    found
        .into_iter()
        .map(|(pair, mut covers)| {
            covers.sort_unstable();
            Candidate { pair, covers, regular: false }
        })
        .collect()
}
