//! What was seen between classes.

use hashbrown::{HashMap, HashSet};

use super::Observation;
use super::ends::{Ends, Spot};
use super::rules::Refused;

/// What was seen from one class to another about one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Pairs of different workloads; an end that is none counts as one.
    pub(super) pairs: u64,
    pub(super) flows: u64,
    /// Flows that the policy allows already.
    pub(super) allowed: u64,
    /// Whether a rule is needed for any of them.
    pub(super) needed: bool,
}

/// A cell that must be covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Element {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) service: u32,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By service and source class: destination classes, ascending.
    cells: HashMap<(u32, u32), Vec<(u32, Cell)>>,
    /// Sorted.
    pub(super) elements: Vec<Element>,
}

impl Seen {
    /// The cells of `observations`. What lies where an assertion says `never` is seen workload by workload; what it
    /// forbids even so is refused.
    pub(super) fn new(ends: &mut Ends<'_>, observations: &[Observation], refused: &mut Vec<Refused>) -> Self {
        let mut places = Vec::with_capacity(observations.len());
        for one in observations {
            let from = ends.spot(0, one.source, one.destination, one.service);
            let to = ends.spot(1, one.destination, one.source, one.service);
            match (from, to) {
                (Some(from), Some(to)) => places.push((one, from, to)),
                _ if one.needed => refused.push(Refused::quarantined(one)),
                _ => {}
            }
        }
        let mut sums = Sums::default();
        let mut confined = Vec::new();
        for (one, from, to) in places {
            let strict = one.needed && !super::cover::can_be_covered(ends, from.class, to.class, one.service);
            sums.add(
                &Observation { needed: one.needed && !strict, ..*one },
                from,
                to,
                [from.class, to.class],
            );
            if strict {
                confined.push((one, from, to));
            }
        }
        for (one, from, to) in confined {
            let classes = [ends.by_name(0, from), ends.by_name(1, to)];
            match super::cover::forbidden(ends, classes[0], classes[1], one.service) {
                Some(assertion) => refused.push(Refused::forbidden(one, assertion)),
                None => sums.add(one, from, to, classes),
            }
        }
        sums.finish()
    }

    /// The cells at `service` from a source class, by destination class.
    pub(super) fn of(&self, service: u32, from: u32) -> &[(u32, Cell)] {
        self.cells.get(&(service, from)).map_or(&[], Vec::as_slice)
    }

    /// What was seen from one selector to another at a service.
    pub(super) fn between(&self, ends: &Ends<'_>, pair: [u32; 2], service: u32) -> Cell {
        let [from, to] = [0, 1].map(|side| &ends.sides[side].matched[pair[side] as usize].classes);
        let mut sum = Cell::default();
        for source in from {
            for (target, cell) in self.of(service, *source) {
                if to.binary_search(target).is_ok() {
                    sum.pairs += cell.pairs;
                    sum.flows = sum.flows.saturating_add(cell.flows);
                    sum.allowed = sum.allowed.saturating_add(cell.allowed);
                    sum.needed |= cell.needed;
                }
            }
        }
        sum
    }
}

/// How many pairs of different workloads a pair of selectors matches at a service.
pub(super) fn allows(ends: &Ends<'_>, pair: [u32; 2], service: u32) -> u64 {
    let [from, to] = [0, 1].map(|side| &ends.sides[side].matched[pair[side] as usize]);
    let classes = &ends.sides[1].classes;
    let takes = |class: u32| {
        let services = classes[class as usize].services.as_ref();
        services.is_none_or(|services| services.iter().any(|one| one.contains(service)))
    };
    let special = to.special.iter().filter(|class| takes(**class));
    let targets = to.size + special.map(|class| classes[*class as usize].size).sum::<u64>();
    let mut same = 0;
    for source in &from.classes {
        for (twin, count) in ends.twins.get(*source as usize).into_iter().flatten() {
            if to.classes.binary_search(twin).is_ok() && takes(*twin) {
                same += count;
            }
        }
    }
    // A class by name is in no twin, but it is one workload.
    (from.size * targets).saturating_sub(same)
}

/// Pairs of workloads that a pair of selectors would allow at a service, and that were not seen.
pub(super) fn unseen(ends: &Ends<'_>, seen: &Seen, pair: [u32; 2], service: u32) -> u64 {
    allows(ends, pair, service).saturating_sub(seen.between(ends, pair, service).pairs)
}

#[derive(Default)]
struct Sums {
    cells: HashMap<Element, Cell>,
    met: HashSet<(Element, [u64; 2])>,
}

impl Sums {
    fn add(&mut self, one: &Observation, from: Spot, to: Spot, classes: [u32; 2]) {
        let element = Element { from: classes[0], to: classes[1], service: one.service };
        let cell = self.cells.entry(element).or_default();
        cell.flows = cell.flows.saturating_add(one.flows);
        if one.allowed {
            cell.allowed = cell.allowed.saturating_add(one.flows);
        }
        cell.needed |= one.needed;
        let who = |spot: Spot| spot.workload.map_or(u64::MAX, u64::from);
        let different = from.workload.is_none() || from.workload != to.workload;
        if different && self.met.insert((element, [who(from), who(to)])) {
            cell.pairs += 1;
        }
    }

    fn finish(self) -> Seen {
        let mut elements: Vec<Element> =
            self.cells.iter().filter(|(_, cell)| cell.needed).map(|(element, _)| *element).collect();
        elements.sort_unstable();
        let mut cells: HashMap<(u32, u32), Vec<(u32, Cell)>> = HashMap::new();
        for (element, cell) in self.cells {
            cells.entry((element.service, element.from)).or_default().push((element.to, cell));
        }
        cells.values_mut().for_each(|list| list.sort_unstable_by_key(|(to, _)| *to));
        Seen { cells, elements }
    }
}
