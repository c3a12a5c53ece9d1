//! The slots that are probed together, and where each of them is.

use super::entry::{Entry, Header, Rare, WAYS};
use super::memory::Memory;

/// One set of the table: a view, made for a lookup.
///
/// Headers, entries and what is rarely needed are three arrays, and the last two are ordered by way first: the first
/// slots of all sets, then the second ones. A vacant slot is always taken from the same end of a set, so the flows of a
/// table that is far from full lie in few of its pages, and the TLB holds them more likely: of 10,000 flows in a table for
/// 262,144, 86 % are in one eighth of the entries (`tests::sets::few_flows_lie_in_few_pages`). There, in a virtual machine
/// whose host has small pages, the stage takes 88 ns a packet in place of 95 with the slots of a set side by side (`lab`,
/// median over batches). One array of whole sets, headers among them, is slower by 25 ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set<'t> {
    pub(super) header: &'t Header,
    memory: &'t Memory,
    index: usize,
}

impl<'t> Set<'t> {
    /// The set with this number, which must be below the number of sets.
    #[inline(always)]
    pub(super) fn of(memory: &'t Memory, index: usize) -> Self {
        Self { header: &memory.headers()[index], memory, index }
    }

    /// The numbers of a set's slots.
    pub(super) const fn ways() -> core::ops::Range<usize> {
        0..WAYS
    }

    /// A slot's flow.
    #[inline(always)]
    pub(super) fn entry(self, way: usize) -> &'t Entry {
        &self.memory.entries()[self.place(way)]
    }

    /// What of a slot's flow is rarely needed.
    #[inline(always)]
    pub(super) fn rare(self, way: usize) -> &'t Rare {
        &self.memory.rare()[self.place(way)]
    }

    fn place(self, way: usize) -> usize {
        way * self.memory.headers().len() + self.index
    }
}
