//! Small parts, solved exactly: branch and bound over which pair covers the element that the fewest pairs can cover.

use std::collections::BTreeSet;

use super::cover::{Candidate, Chosen, alike};
use super::ends::Ends;
use super::seen::{Element, Seen, unseen};

/// Elements of a part that is tried.
pub(super) const ELEMENTS_MAX: usize = 64;
/// Candidates of a part that is tried.
const CANDIDATES_MAX: usize = 512;
/// Rules of a solution that is looked for; with more, all ways to share services out would take too long.
const RULES_MAX: u32 = 8;
/// Steps of the search in one part.
const STEPS_MAX: u32 = 200_000;

/// The elements that a pair covers, by service, with what the pair costs at each service.
struct Way {
    pair: [u32; 2],
    covers: u64,
    /// By place in [`Search::services`]; `None` where it covers nothing.
    costs: Vec<Option<u64>>,
}

/// Options with the services, by place, that each is used for.
type Used = Vec<(usize, Vec<usize>)>;

struct Search {
    options: Vec<Way>,
    /// Each service with its elements.
    services: Vec<(u32, u64)>,
    all: u64,
    most: u32,
    steps: u32,
    best: Option<(u64, Used)>,
}

/// The fewest pairs that cover all elements, and of as few those with the fewest unseen tuples; `None` if the part is
/// too large. Second: whether that is proved.
pub(super) fn solve(
    ends: &Ends<'_>,
    seen: &Seen,
    elements: &[Element],
    candidates: &[Candidate],
) -> Option<(Vec<Chosen>, bool)> {
    if elements.len() > ELEMENTS_MAX || candidates.len() > CANDIDATES_MAX {
        return None;
    }
    let mut services: Vec<(u32, u64)> = Vec::new();
    for (at, one) in elements.iter().enumerate() {
        match services.iter_mut().find(|(service, _)| *service == one.service) {
            Some((_, mask)) => *mask |= 1 << at,
            None => services.push((one.service, 1 << at)),
        }
    }
    let option = |one: &Candidate| {
        let covers = one.covers.iter().fold(0u64, |mask, at| mask | 1 << at);
        let cost = |(service, mask): &(u32, u64)| {
            (covers & mask != 0).then(|| unseen(ends, seen, one.pair, *service))
        };
        Way { pair: one.pair, covers, costs: services.iter().map(cost).collect() }
    };
    // Of ways that are as good, the first is kept.
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by_key(|one| std::cmp::Reverse(alike(ends, one.pair)));
    let options = undominated(order.into_iter().map(option).collect());
    let most = options.iter().map(|one| one.covers.count_ones()).max()?;
    let all = u64::MAX >> (64 - elements.len());
    let mut search = Search { options, services, all, most, steps: 0, best: None };
    for rules in 1..=RULES_MAX {
        search.descend(0, &mut Vec::new(), rules);
        if search.best.is_some() || search.steps > STEPS_MAX {
            break;
        }
    }
    let proved = search.steps <= STEPS_MAX;
    let (_, chosen) = search.best?;
    let pairs = chosen.into_iter().map(|(option, used)| {
        let services: BTreeSet<u32> = used.iter().map(|at| search.services[*at].0).collect();
        (search.options[option].pair, services)
    });
    Some((pairs.collect(), proved))
}

/// Those of which no other covers as much for no more at each service.
fn undominated(mut options: Vec<Way>) -> Vec<Way> {
    options.sort_by_key(|one| {
        (std::cmp::Reverse(one.covers.count_ones()), one.costs.iter().flatten().sum::<u64>())
    });
    let mut kept: Vec<Way> = Vec::new();
    for one in options {
        let worse = |other: &Way| {
            one.covers & !other.covers == 0
                && one.costs.iter().zip(&other.costs).all(|costs| match costs {
                    (Some(own), Some(other)) => other <= own,
                    (Some(_), None) => false,
                    (None, _) => true,
                })
        };
        if !kept.iter().any(worse) {
            kept.push(one);
        }
    }
    kept
}

impl Search {
    fn descend(&mut self, covered: u64, chosen: &mut Vec<usize>, left: u32) {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return;
        }
        let open = self.all & !covered;
        if open == 0 {
            self.weigh(chosen);
            return;
        }
        if left * self.most < open.count_ones() {
            return;
        }
        let bits = |mut mask: u64| {
            std::iter::from_fn(move || {
                let at = (mask != 0).then(|| mask.trailing_zeros())?;
                mask &= mask - 1;
                Some(at)
            })
        };
        let ways = |at: u32| self.options.iter().filter(|one| one.covers >> at & 1 == 1).count();
        let Some(rarest) = bits(open).min_by_key(|at| ways(*at)) else { return };
        for option in 0..self.options.len() {
            if self.options[option].covers >> rarest & 1 == 1 {
                chosen.push(option);
                self.descend(covered | self.options[option].covers, chosen, left - 1);
                chosen.pop();
            }
        }
    }

    /// Shares the services out among the chosen pairs at the least cost, and keeps the result if it is the best.
    fn weigh(&mut self, chosen: &[usize]) {
        let mut used: Used = chosen.iter().map(|option| (*option, Vec::new())).collect();
        let mut sum = 0u64;
        for (place, (_, wanted)) in self.services.iter().enumerate() {
            let able: Vec<usize> =
                (0..chosen.len()).filter(|at| self.options[chosen[*at]].costs[place].is_some()).collect();
            let mut best: Option<(u64, u32)> = None;
            for some in 1u32..1 << able.len() {
                let picked = able.iter().enumerate().filter(|(bit, _)| some >> bit & 1 == 1);
                let (mut covers, mut cost) = (0, 0u64);
                for (_, at) in picked {
                    let option = &self.options[chosen[*at]];
                    covers |= option.covers;
                    cost = cost.saturating_add(option.costs[place].unwrap_or(u64::MAX));
                }
                if covers & wanted == *wanted && best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, some));
                }
            }
            let Some((cost, some)) = best else { return };
            sum = sum.saturating_add(cost);
            for (bit, at) in able.iter().enumerate() {
                if some >> bit & 1 == 1 {
                    used[*at].1.push(place);
                }
            }
        }
        if self.best.as_ref().is_none_or(|(least, _)| sum < *least) {
            used.retain(|(_, services)| !services.is_empty());
            self.best = Some((sum, used));
        }
    }
}
