//! Profiles that no rule and no mode can tell apart become one class.

use hashbrown::HashMap;

use super::lists::Lists;
use super::member::Modes;
use super::profile::UNKNOWN;
use super::vocabulary::{PeersId, number};

/// One class.
pub(super) struct Members<'a> {
    /// The peer lists of rules' `from` that it satisfies, sorted.
    pub(super) from: &'a [PeersId],
    /// The peer lists of rules' `to` that it satisfies, sorted.
    pub(super) to: &'a [PeersId],
    pub(super) modes: Modes,
}

/// All classes; the first is that of unknown addresses.
pub(super) struct Classes<'a> {
    pub(super) list: Vec<Members<'a>>,
    of: Vec<u32>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(from: &'a Lists, to: &'a Lists, modes: &[Modes]) -> Self {
        debug_assert_eq!(UNKNOWN, 0, "the unknown profile is met first, so its class is the first");
        let mut index = HashMap::new();
        let mut classes = Self { list: Vec::new(), of: Vec::with_capacity(modes.len()) };
        for ((from, to), &modes) in from.iter().zip(to.iter()).zip(modes) {
            let next = number(classes.list.len());
            let class = *index.entry((from, to, modes)).or_insert(next);
            if class == next {
                classes.list.push(Members { from, to, modes });
            }
            classes.of.push(class);
        }
        classes
    }

    /// The class of a profile.
    pub(super) fn of(&self, profile: u32) -> u32 {
        self.of[profile as usize]
    }
}
