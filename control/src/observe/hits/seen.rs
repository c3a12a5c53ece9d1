//! When each rule of one table was last seen to have decided.

use dataplane::policy::RuleHits;
use dataplane::verdict::RuleId;
use jiff::Timestamp;

/// Counters looked at in one go: ten times a second, all of so many rules, and of more in turns.
pub(super) const LOOKS: usize = 20_000;

/// The counts of one table as they were when they were last looked at; index is the rule's id.
#[derive(Debug)]
pub(super) struct Seen {
    /// The count, and the milliseconds of the wall's clock when it was seen to have grown; 0 if it never was.
    rules: Vec<(u64, i64)>,
    /// Where the next look begins.
    next: usize,
}

impl Seen {
    pub(super) fn new(rules: usize) -> Self {
        Self { rules: vec![(0, 0); rules], next: 0 }
    }

    pub(super) fn look(&mut self, hits: &RuleHits, now: Timestamp) {
        let end = (self.next + LOOKS).min(self.rules.len());
        self.range(self.next..end, hits, now);
        self.next = if end == self.rules.len() { 0 } else { end };
    }

    pub(super) fn look_at_all(&mut self, hits: &RuleHits, now: Timestamp) {
        self.range(0..self.rules.len(), hits, now);
    }

    fn range(&mut self, range: std::ops::Range<usize>, hits: &RuleHits, now: Timestamp) {
        let first = u32::try_from(range.start).unwrap_or(u32::MAX);
        let Some(rules) = self.rules.get_mut(range) else { return };
        for (id, (count, at)) in (first..).zip(rules) {
            let is = hits.of(RuleId(id));
            if is != *count {
                (*count, *at) = (is, now.as_millisecond());
            }
        }
    }

    /// When a rule was last seen to have decided.
    pub(super) fn last(&self, id: u32) -> Option<Timestamp> {
        let (_, at) = self.rules.get(id as usize)?;
        (*at != 0).then(|| Timestamp::from_millisecond(*at).unwrap_or_default())
    }
}
