//! Random rules, at the edges of the service space and of their peers.

use std::collections::BTreeSet;

use control::policy::valid::{
    Action, Assertion, AssertionKind, Gates, OnRevoke, Origin, Requirement, Rule, Selector, ServiceRange,
    ValidPolicy,
};

use super::{KEYS, Shape, origin, small, value};
use crate::random::Random;

fn requirement(random: &mut Random, shape: Shape) -> Requirement {
    let key = (*random.pick(&KEYS)).to_owned();
    let values = |random: &mut Random| -> Vec<String> {
        (0..=random.below(2)).map(|_| value(random)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    match random.below(if shape.whole { 14 } else { 12 }) {
        0..=4 => Requirement::In(key, values(random)),
        5 | 6 => Requirement::NotIn(key, values(random)),
        7 => Requirement::Exists(key),
        8 => Requirement::NotExists(key),
        9 => Requirement::Workload(vec![format!("w{}", random.below(shape.workloads))]),
        10 => Requirement::Network(vec![format!("n{}", random.below(shape.networks))]),
        11 => Requirement::AnyWorkload,
        12 => Requirement::NotNetwork(vec![format!("n{}", random.below(shape.networks))]),
        _ => Requirement::NoWorkload,
    }
}

pub(super) fn peers(random: &mut Random, shape: Shape) -> Vec<Selector> {
    if random.one_in(5) {
        return vec![Selector::default()];
    }
    let selector = |random: &mut Random| Selector {
        requirements: (0..=random.below(2)).map(|_| requirement(random, shape)).collect(),
    };
    (0..=random.below(2)).map(|_| selector(random)).collect()
}

/// A few ranges, merged as `validate` would.
pub(super) fn services(random: &mut Random) -> Vec<ServiceRange> {
    let mut ranges: Vec<ServiceRange> = (0..=random.below(3)).map(|_| service(random)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<ServiceRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last + 1 => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

fn service(random: &mut Random) -> ServiceRange {
    let port = |random: &mut Random| {
        u32::from(*random.pick(&[0_u16, 1, 22, 53, 80, 443, 444, 8080, 65_534, u16::MAX]))
    };
    let protocol = *random.pick(&[6_u32, 6, 17, 132]);
    match random.below(8) {
        0 => ServiceRange::ANY,
        1 => ServiceRange { first: protocol << 16, last: protocol << 16 | 0xffff },
        2 => {
            // All codes of one ICMP or ICMPv6 type.
            let first =
                *random.pick(&[1_u32, 58]) << 16 | u32::from(*random.pick(&[0_u8, 3, 8, 128, 255])) << 8;
            ServiceRange { first, last: first | 0xff }
        }
        3 => {
            let first = *random.pick(&[47_u32, 50, 255]) << 16;
            ServiceRange { first, last: first | 0xffff }
        }
        4 => {
            let (a, b) = (port(random), port(random));
            ServiceRange { first: protocol << 16 | a.min(b), last: protocol << 16 | a.max(b) }
        }
        _ => {
            let key = protocol << 16 | port(random);
            ServiceRange { first: key, last: key }
        }
    }
}

pub(super) fn rule(random: &mut Random, at: usize, tier: &str, shape: Shape) -> Rule {
    let gates = match random.below(8) {
        0 => Gates { egress: true, ingress: false },
        1 => Gates { egress: false, ingress: true },
        _ => Gates { egress: true, ingress: true },
    };
    let plain = Rule {
        name: format!("r{at}"),
        from: peers(random, shape),
        to: peers(random, shape),
        services: services(random),
        action: if matches!(tier, "override" | "boundary") { Action::Deny } else { Action::Allow },
        gates,
        origin: Origin { line: u32::try_from(at).unwrap_or(0) + 1, ..origin() },
        ..Rule::default()
    };
    if shape.whole { whole(random, plain, tier) } else { plain }
}

/// Adds what plain rules have not.
fn whole(random: &mut Random, plain: Rule, tier: &str) -> Rule {
    use Action::{Allow, Deny, Pass, Reject};
    let actions: &[Action] = match tier {
        "override" | "boundary" => &[Deny, Reject],
        "infrastructure" | "application" => &[Allow],
        _ => &[Allow, Deny, Reject, Pass, Pass],
    };
    let action = *random.pick(actions);
    let mut same = BTreeSet::new();
    if random.one_in(4) {
        same.extend((0..=random.below(2)).map(|_| (*random.pick(&KEYS)).to_owned()));
    }
    let on_revoke = match (action, random.below(4)) {
        (Allow, 0) => OnRevoke::Drain(1 + u16::from(small(random, 200))),
        (Allow, 1) => OnRevoke::Keep,
        _ => OnRevoke::Cut,
    };
    Rule {
        action,
        same: same.into_iter().collect(),
        on_revoke,
        staged: random.one_in(8),
        priority: u32::from(small(random, 3)),
        ..plain
    }
}

/// `count` random assertions about the endpoints of `policy`: some hold, some do not.
#[must_use]
pub fn assertions(random: &mut Random, policy: &ValidPolicy, count: usize) -> Vec<Assertion> {
    let shape = Shape { workloads: policy.workloads.len(), networks: policy.networks.len(), whole: true };
    let one = |at: usize, random: &mut Random| Assertion {
        name: format!("a{at}"),
        kind: if random.one_in(2) { AssertionKind::Never } else { AssertionKind::Always },
        from: peers(random, shape),
        to: peers(random, shape),
        services: services(random),
        except: Vec::new(),
        origin: origin(),
    };
    (0..count).map(|at| one(at, random)).collect()
}
