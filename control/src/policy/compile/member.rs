//! Which profiles each peer list matches, through inverted lists: never every selector on every profile.

use super::Limits;
use super::error::{CompileError, Part};
use super::lists::Lists;
use super::profile::Profiles;
use super::vocabulary::{KNOWN, LABELLED, Need, PeersId, Token, Vocabulary, WORKLOAD, meets, number};
use crate::policy::valid::{Enforcement, Mode};
use dataplane::policy::GateMode;

/// The profiles of each peer list, sorted.
pub(super) struct Members {
    lists: Lists,
}

/// The profiles for which each token holds.
struct Postings<'a> {
    of: Lists,
    profiles: &'a Profiles,
}

impl Postings<'_> {
    /// Adds the profiles that meet all needs of a selector: the rarest need proposes, the others are checked.
    fn select(&self, needs: &[Need<'_>], into: &mut Vec<u32>) {
        let size = |tokens: &&[Token]| tokens.iter().map(|token| self.of.get(*token).len()).sum::<usize>();
        let positive = needs.iter().filter_map(|need| match need {
            Need::Any(tokens) => Some(*tokens),
            Need::NoneOf(_) | Need::Without(_) => None,
        });
        match positive.min_by_key(size) {
            Some(tokens) => {
                let proposed = tokens.iter().flat_map(|token| self.of.get(*token));
                into.extend(proposed.filter(|profile| self.meets(**profile, needs)));
            }
            None if needs.iter().all(|need| matches!(need, Need::Without(_))) => {
                into.extend((0..number(self.profiles.len())).filter(|profile| self.meets(*profile, needs)));
            }
            None => into.extend(self.of.get(KNOWN).iter().filter(|profile| self.meets(**profile, needs))),
        }
    }

    fn meets(&self, profile: u32, needs: &[Need<'_>]) -> bool {
        meets(self.profiles.tokens().get(profile), needs)
    }
}

impl Members {
    pub(super) fn new(
        vocabulary: &Vocabulary,
        profiles: &Profiles,
        limits: Limits,
    ) -> Result<Self, CompileError> {
        let postings = Postings { of: profiles.tokens().transpose(vocabulary.tokens(), |_| true), profiles };
        let mut lists = Lists::default();
        let mut matched = Vec::new();
        for peers in vocabulary.each_peers() {
            matched.clear();
            peers.for_each(|needs| postings.select(&needs, &mut matched));
            matched.sort_unstable();
            matched.dedup();
            let bytes = lists.bytes() + size_of_val(matched.as_slice()) as u64;
            if bytes > limits.bytes {
                return Err(CompileError::TooLarge { part: Part::Memberships, bytes, limit: limits.bytes });
            }
            lists.push(&matched);
        }
        Ok(Self { lists })
    }

    /// The profiles that a peer list matches, ascending.
    pub(super) fn of(&self, peers: PeersId) -> &[u32] {
        self.lists.get(peers)
    }

    /// The peer lists, of those `wanted`, that each profile satisfies; each list sorted.
    pub(super) fn transposed(&self, profiles: usize, wanted: impl Fn(PeersId) -> bool) -> Lists {
        self.lists.transpose(profiles, wanted)
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
    profiles.tokens().iter().zip(told).map(|(held, told)| Modes::of(held, told)).collect()
}

impl Modes {
    /// Of an endpoint with the sorted tokens `held`, if enforcement says so of its egress and ingress.
    pub(super) fn of(held: &[Token], (egress, ingress): (Option<Mode>, Option<Mode>)) -> Self {
        let has = |token: Token| held.binary_search(&token).is_ok();
        if !has(WORKLOAD) {
            Self { egress: GateMode::Unmanaged, ingress: GateMode::Unmanaged }
        } else if !has(LABELLED) {
            Self { egress: GateMode::Quarantine, ingress: GateMode::Quarantine }
        } else {
            Self { egress: gate_mode(egress), ingress: gate_mode(ingress) }
        }
    }
}

fn gate_mode(mode: Option<Mode>) -> GateMode {
    match mode {
        Some(Mode::Off) => GateMode::Off,
        Some(Mode::Observe) => GateMode::Observe,
        Some(Mode::Selective) => GateMode::Selective,
        Some(Mode::Full) | None => GateMode::Full,
    }
}
