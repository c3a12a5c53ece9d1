//! From the workers' events to the log.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::clock::Now;
use dataplane::policy::Publisher;
use dataplane::records::{FlowEvent, Occasion, Records, Told};
use dataplane::verdict::{Answer, Epoch, RuleId, Verdict};
use jiff::{SignedDuration, Timestamp};

use super::{Addition, Details, FlowKind, Outcome, RecordLog};
use crate::observe::follow::Followers;
use crate::observe::live::Ends;
use crate::observe::worker::Worker;

/// Epochs whose drafts are still known.
const EPOCHS_MAX: usize = 4096;

/// What gives rules their names.
pub trait Wording {
    /// The name of a rule of the policy of `epoch`.
    fn rule(&self, epoch: Epoch, rule: RuleId) -> Arc<str>;

    /// Its tier, if that is known.
    fn tier(&self, _epoch: Epoch, _rule: RuleId) -> Option<Arc<str>> {
        None
    }

    /// What policy knows of an address, in words: see [`super::Folded`].
    fn labels(&self, _address: IpAddr) -> Arc<str> {
        "unknown".into()
    }

    /// Hears of every event that is collected, for whoever else wants it. Must not wait.
    fn hear(&self, _event: &FlowEvent, _clock: Clock) {}
}

/// Takes the workers' events into the log.
#[derive(Debug)]
pub struct Collector {
    log: RecordLog,
    /// Events lost by each worker, as far as they are in the log.
    lost: Vec<u64>,
    /// The numbers of the drafts beside each policy, oldest first.
    drafts: VecDeque<(Epoch, Arc<[u16]>)>,
    /// Who is told of each event.
    followers: Followers,
}

impl Collector {
    /// Goes on with `log`.
    #[must_use]
    pub fn new(log: RecordLog) -> Self {
        Self { log, lost: Vec::new(), drafts: VecDeque::new(), followers: Followers::default() }
    }

    /// The log as it is.
    #[must_use]
    pub const fn log(&self) -> &RecordLog {
        &self.log
    }

    /// The log, to be saved or pruned.
    pub const fn log_mut(&mut self) -> &mut RecordLog {
        &mut self.log
    }

    /// Who is told of each event as it is taken.
    pub const fn followers(&mut self) -> &mut Followers {
        &mut self.followers
    }

    /// Learns which drafts were beside the policies that workers may still decide by. To be called before their
    /// snapshots are retired.
    pub fn learn(&mut self, publisher: &Publisher) {
        let last = self.drafts.back().map_or(Epoch(0), |(epoch, _)| *epoch);
        for snapshot in publisher.kept().into_iter().filter(|snapshot| snapshot.epoch > last) {
            let ids: Arc<[u16]> = snapshot.drafts.iter().map(|draft| draft.id).collect();
            if self.drafts.len() == EPOCHS_MAX {
                self.drafts.pop_front();
            }
            if self.drafts.back().is_none_or(|(_, before)| *before != ids) {
                self.log.keep_drafts(&ids);
            }
            self.drafts.push_back((snapshot.epoch, ids));
        }
    }

    /// Takes what the workers told since. One call takes a bounded number of events.
    pub fn collect(&mut self, workers: &[Worker], words: &impl Wording) {
        let clock = Clock { now: Now::read(), at: Timestamp::now() };
        self.lost.resize(workers.len(), 0);
        let mut missed = 0u64;
        for (worker, known) in workers.iter().zip(&mut self.lost) {
            for _ in 0..Records::EVENTS {
                let Some(told) = worker.records.next_told() else { break };
                if !self.followers.is_empty() {
                    self.followers.tell(told.event, clock.wall(told.event.at));
                }
                add(&mut self.log, &self.drafts, &told, words, clock);
                words.hear(&told.event, clock);
            }
            let lost = worker.counters.flow_events_lost.get();
            missed = missed.saturating_add(lost.wrapping_sub(*known));
            *known = lost;
        }
        if missed > 0 {
            self.followers.missed(missed);
        }
        self.log.seen_until(clock.at, missed);
    }
}

/// One moment on the workers' clock and on the wall's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Now,
    at: Timestamp,
}

impl Clock {
    /// The wall's time of a moment.
    #[must_use]
    pub fn wall(self, moment: Now) -> Timestamp {
        let ago = self.now.as_nanos().saturating_sub(moment.as_nanos());
        let ago = SignedDuration::from_nanos(i64::try_from(ago).unwrap_or(i64::MAX));
        self.at.checked_sub(ago).unwrap_or(self.at)
    }

    /// The wall's time of a moment of the last 24 days: [`Now::as_millis32`].
    #[must_use]
    pub fn time(self, millis: u32) -> Timestamp {
        let ago = self.now.as_millis32().wrapping_sub(millis);
        // A worker's batch may be younger than our reading of the clock.
        let ago = if ago > u32::MAX / 2 { 0 } else { ago };
        self.at.checked_sub(SignedDuration::from_millis(i64::from(ago))).unwrap_or(self.at)
    }
}

fn add(
    log: &mut RecordLog,
    drafts: &VecDeque<(Epoch, Arc<[u16]>)>,
    told: &Told,
    words: &impl Wording,
    clock: Clock,
) {
    let event = &told.event;
    let Ends { source, destination, service, .. } = Ends::of_key(&event.key, event.initiator);
    let kind = FlowKind {
        source: source.to_ip(),
        destination: destination.to_ip(),
        service,
        verdict: event.verdict,
        rule: words.rule(event.epoch, event.rule),
        potential: event.potential.map(|rule| words.rule(event.epoch, rule)),
    };
    let (flows, counted) = match event.occasion {
        Occasion::Opened => (1, false),
        Occasion::Denied => (1, true),
        Occasion::Updated | Occasion::Ended(_) => (0, true),
        Occasion::Redecided => (0, false),
    };
    let sum = |counts: [u64; 2]| if counted { counts[0].saturating_add(counts[1]) } else { 0 };
    let addition = Addition {
        flows,
        packets: sum(event.packets),
        bytes: sum(event.bytes),
        first_seen: clock.time(event.first_seen),
        last_seen: clock.time(event.last_seen),
    };
    log.make_room(&kind, |address| words.labels(address));
    log.add(kind.clone(), &addition);
    log.add_details(&kind, flows, &details(told, counted), || words.tier(event.epoch, event.rule));
    if matches!(event.occasion, Occasion::Updated | Occasion::Ended(_)) {
        return;
    }
    let enforced = match (event.verdict, event.potential) {
        (Verdict::Allow, None) => Answer::Allow,
        (Verdict::Allow, Some(_)) => Answer::PotentiallyBlocked,
        (Verdict::Deny, _) => Answer::Deny,
        (Verdict::Reject, _) => Answer::Reject,
    };
    let Ok(at) = drafts.binary_search_by_key(&event.epoch, |(epoch, _)| *epoch) else { return };
    for (place, draft) in drafts[at].1.iter().enumerate() {
        let answer = event.drafts.of(place);
        if answer != enforced {
            log.add_draft(&kind, *draft, answer);
        }
    }
}

/// What an event tells beside its counts; `counted` says whether those are to be added up.
fn details(told: &Told, counted: bool) -> Details {
    let Told { event, observed } = told;
    let own = event.initiator.index();
    let sent = |counts: [u64; 2]| if counted { counts[own] } else { 0 };
    Details {
        sent_packets: sent(event.packets),
        sent_bytes: sent(event.bytes),
        epoch: event.epoch.0,
        side: observed.side,
        gate: event.gate,
        outcome: match event.occasion {
            Occasion::Ended(ending) => Some(Outcome::of(ending, observed.handshake)),
            _ => None,
        },
        round_trip: observed.round_trip,
    }
}

#[cfg(test)]
mod tests;
