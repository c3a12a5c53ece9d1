//! Which profiles each peer list matches, through inverted lists: never every selector on every profile.

use super::Limits;
use super::error::{CompileError, Part};
use super::profile::Profiles;
use super::vocabulary::{Conjunction, KNOWN, LABELLED, Need, PeersId, Token, Vocabulary, WORKLOAD, number};
use crate::policy::valid::{Enforcement, Mode};
use dataplane::policy::GateMode;

/// The profiles of each peer list, sorted.
pub(super) struct Members {
    lists: Vec<Vec<u32>>,
}

/// The profiles for which each token holds.
struct Postings<'a> {
    lists: Vec<Vec<u32>>,
    profiles: &'a Profiles,
}

impl<'a> Postings<'a> {
    fn new(tokens: usize, profiles: &'a Profiles) -> Self {
        let mut lists = vec![Vec::new(); tokens];
        for (profile, held) in profiles.tokens().iter().enumerate() {
            for &token in held {
                lists[token as usize].push(number(profile));
            }
        }
        Self { lists, profiles }
    }

    fn of(&self, token: Token) -> &[u32] {
        &self.lists[token as usize]
    }

    fn size(&self, tokens: &[Token]) -> usize {
        tokens.iter().map(|token| self.of(*token).len()).sum()
    }

    /// Adds the profiles that meet all needs of `selector`: the rarest need proposes, the others are checked.
    fn select(&self, selector: &Conjunction, into: &mut Vec<u32>) {
        let positive = selector.iter().filter_map(|need| match need {
            Need::Any(tokens) => Some(tokens.as_slice()),
            Need::NoneOf(_) => None,
        });
        let meets = |profile: &u32| {
            let held = &self.profiles.tokens()[*profile as usize];
            let has = |token: &Token| held.binary_search(token).is_ok();
            selector.iter().all(|need| match need {
                Need::Any(tokens) => tokens.iter().any(has),
                Need::NoneOf(tokens) => has(&KNOWN) && !tokens.iter().any(has),
            })
        };
        let everyone = 0..number(self.profiles.len());
        match positive.min_by_key(|tokens| self.size(tokens)) {
            Some(tokens) => {
                let proposed = tokens.iter().flat_map(|token| self.of(*token));
                into.extend(proposed.filter(|profile| meets(profile)));
            }
            None if selector.is_empty() => into.extend(everyone),
            None => into.extend(self.of(KNOWN).iter().filter(|profile| meets(profile))),
        }
    }
}

impl Members {
    pub(super) fn new(
        vocabulary: &Vocabulary<'_>,
        profiles: &Profiles,
        limits: Limits,
    ) -> Result<Self, CompileError> {
        let postings = Postings::new(vocabulary.tokens(), profiles);
        let mut lists = Vec::with_capacity(vocabulary.peer_lists());
        let mut bytes = 0_u64;
        for peers in vocabulary.each_peers() {
            let mut matched = Vec::new();
            peers.iter().for_each(|selector| postings.select(selector, &mut matched));
            matched.sort_unstable();
            matched.dedup();
            bytes += size_of_val(&*matched) as u64;
            if bytes > limits.bytes {
                return Err(CompileError::TooLarge { part: Part::Memberships, bytes, limit: limits.bytes });
            }
            lists.push(matched);
        }
        Ok(Self { lists })
    }

    fn of(&self, peers: PeersId) -> &[u32] {
        &self.lists[peers as usize]
    }

    /// The peer lists, of those in `used`, that each profile satisfies; each list sorted.
    pub(super) fn by_profile(
        &self,
        used: impl Iterator<Item = PeersId>,
        profiles: usize,
    ) -> Vec<Vec<PeersId>> {
        let mut wanted = vec![false; self.lists.len()];
        used.for_each(|peers| wanted[peers as usize] = true);
        let mut satisfied = vec![Vec::new(); profiles];
        for (peers, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            for &profile in &self.lists[peers] {
                satisfied[profile as usize].push(number(peers));
            }
        }
        satisfied
    }
}

/// How the gates of one profile treat rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Modes {
    pub(super) egress: GateMode,
    pub(super) ingress: GateMode,
}

/// The modes of each profile: the first enforcement that matches and names the direction.
pub(super) fn modes(
    enforcement: &[Enforcement],
    peers: &[PeersId],
    members: &Members,
    profiles: &Profiles,
) -> Vec<Modes> {
    let mut told = vec![(None, None); profiles.len()];
    for (enforcement, peers) in enforcement.iter().zip(peers) {
        for &profile in members.of(*peers) {
            let (egress, ingress) = &mut told[profile as usize];
            *egress = egress.or(enforcement.egress);
            *ingress = ingress.or(enforcement.ingress);
        }
    }
    let modes = profiles.tokens().iter().zip(told).map(|(held, (egress, ingress))| {
        let has = |token: Token| held.binary_search(&token).is_ok();
        if !has(WORKLOAD) {
            Modes { egress: GateMode::Unmanaged, ingress: GateMode::Unmanaged }
        } else if !has(LABELLED) {
            Modes { egress: GateMode::Quarantine, ingress: GateMode::Quarantine }
        } else {
            Modes { egress: gate_mode(egress), ingress: gate_mode(ingress) }
        }
    });
    modes.collect()
}

fn gate_mode(mode: Option<Mode>) -> GateMode {
    match mode {
        Some(Mode::Off) => GateMode::Off,
        Some(Mode::Observe) => GateMode::Observe,
        Some(Mode::Selective) => GateMode::Selective,
        Some(Mode::Full) | None => GateMode::Full,
    }
}
