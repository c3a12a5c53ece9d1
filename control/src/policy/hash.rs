//! One number for what a policy means.

use super::valid::{
    Action, AssertionKind, Labels, Mode, OnRevoke, Requirement, Selector, ServiceRange, ValidPolicy,
};

/// Names the encoding below; changed whenever that changes.
const CONTEXT: &str = "ringfence 2026-11 policy, inventory included, canonical form 2";

/// BLAKE3 over the policy's canonical form: equal for policies that mean the same, wherever and in whatever order
/// they were written. Workloads, networks, and the rules of a tier count as sets; enforcement counts in its order,
/// which has a meaning. Names count, since verdicts carry them; places and tests do not.
#[must_use]
pub fn hash(policy: &ValidPolicy) -> blake3::Hash {
    let mut form = Form(blake3::Hasher::new_derive_key(CONTEXT));
    form.set(&policy.workloads, |one, form| {
        form.text(&one.name);
        form.labels(&one.labels);
        form.set(&one.addresses, |address, form| form.text(&address.to_string()));
        form.set(&one.macs, |mac, form| form.bytes(mac));
        form.optional(one.wire.as_deref());
        form.set(&one.listeners, |one, form| {
            form.text(&one.name);
            form.labels(&one.labels);
            form.services(&one.services);
        });
    });
    form.set(&policy.networks, |one, form| {
        form.text(&one.name);
        form.labels(&one.labels);
        form.set(&one.prefixes, |prefix, form| form.text(&format!("{}/{}", prefix.address, prefix.len)));
    });
    form.list(&policy.tiers, |tier, form| {
        form.text(&tier.name);
        form.set(&tier.rules, |rule, form| {
            form.text(&rule.name);
            form.set(&rule.from, selector);
            form.set(&rule.to, selector);
            form.services(&rule.services);
            form.number(match rule.action {
                Action::Allow => 1,
                Action::Deny => 2,
                Action::Reject => 3,
                Action::Pass => 4,
            });
            form.number(u64::from(rule.gates.egress) << 1 | u64::from(rule.gates.ingress));
            form.set(&rule.same, |key, form| form.text(key));
            form.number(match rule.on_revoke {
                OnRevoke::Cut => 0,
                OnRevoke::Drain(seconds) => 1 << 16 | u64::from(seconds),
                OnRevoke::Keep => 2 << 16,
            });
            form.number(u64::from(rule.staged));
            form.number(rule.priority.into());
        });
    });
    form.list(&policy.enforcement, |one, form| {
        form.set(&one.select, selector);
        form.number(mode(one.ingress));
        form.number(mode(one.egress));
    });
    form.list(&policy.ether_types, |number, form| form.number((*number).into()));
    form.set(&policy.assertions, |one, form| {
        form.text(&one.name);
        form.number(match one.kind {
            AssertionKind::Never => 1,
            AssertionKind::Always => 2,
        });
        form.set(&one.from, selector);
        form.set(&one.to, selector);
        form.services(&one.services);
    });
    form.0.finalize()
}

fn mode(mode: Option<Mode>) -> u64 {
    match mode {
        None => 0,
        Some(Mode::Off) => 1,
        Some(Mode::Observe) => 2,
        Some(Mode::Selective) => 3,
        Some(Mode::Full) => 4,
    }
}

fn selector(selector: &Selector, form: &mut Form) {
    form.set(&selector.requirements, |one, form| {
        let mut word = |kind: u64, key: &str, words: &[String]| {
            form.number(kind);
            form.text(key);
            form.list(words, |word, form| form.text(word));
        };
        match one {
            Requirement::In(key, values) => word(1, key, values),
            Requirement::NotIn(key, values) => word(2, key, values),
            Requirement::Exists(key) => word(3, key, &[]),
            Requirement::NotExists(key) => word(4, key, &[]),
            Requirement::Workload(names) => word(5, "", names),
            Requirement::Network(names) => word(6, "", names),
            Requirement::AnyWorkload => word(7, "", &[]),
            Requirement::NotNetwork(names) => word(8, "", names),
            Requirement::NoWorkload => word(9, "", &[]),
        }
    });
}

/// Writes values so that different ones never look alike: every length goes before its bytes.
struct Form(blake3::Hasher);

impl Form {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn services(&mut self, services: &[ServiceRange]) {
        self.list(services, |range, form| {
            form.number(range.first.into());
            form.number(range.last.into());
        });
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or(""));
    }

    fn labels(&mut self, labels: &Labels) {
        self.number(labels.len() as u64);
        for (key, values) in labels {
            self.text(key);
            self.number(values.len() as u64);
            values.iter().for_each(|value| self.text(value));
        }
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&T, &mut Self)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| each(item, self));
    }

    /// As a list, but in an order of its own: by the hash of each item.
    fn set<T>(&mut self, items: &[T], each: impl Fn(&T, &mut Self)) {
        let digest = |item: &T| {
            let mut form = Self(blake3::Hasher::new());
            each(item, &mut form);
            *form.0.finalize().as_bytes()
        };
        let mut digests: Vec<[u8; 32]> = items.iter().map(digest).collect();
        digests.sort_unstable();
        self.number(digests.len() as u64);
        digests.iter().for_each(|digest| self.bytes(digest));
    }
}
