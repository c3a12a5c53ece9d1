//! The flow table's upkeep, a little of it per turn: flows whose time is over end, and those that live for long are
//! told of. The path of packets has no part in either.

use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::flow::{FlowTable, SweepCursor};
use crate::records::{Ending, Records, Told};

/// Sets of the flow table looked at per millisecond by each worker: a million flows (131,072 sets) are swept within
/// 2 s by one worker. Paced by time and not by turns of the loop, because under load there are ten thousand turns a
/// second: 256 sets per turn took 4 % of a worker's time on a table of two million flows.
const SWEEP_SETS_PER_MILLI: usize = 64;
/// The most sets looked at in one tick: some 10 us. An idle worker ticks ten times a second, so it sweeps a million
/// flows within 13 s; an expired flow is not found before that either.
const SWEEP_SETS_MAX: usize = 1024;

/// The most sets that are looked at in one tick for flows to tell of; an idle worker passes a million flows within
/// 50 s, and takes longer for each round if there are more.
const TELL_SETS_MAX: u64 = 256;

/// How far one worker is with its share of the table.
#[derive(Debug)]
pub(super) struct Upkeep {
    sweep: SweepCursor,
    /// When it was swept last: [`Now::as_millis32`].
    swept: u32,
    tell: SweepCursor,
    /// When flows were told of last: [`Now::as_millis32`].
    told: u32,
    /// Milliseconds times sets that the next turns have to make up for.
    owed: u64,
}

impl Upkeep {
    pub(super) fn new(sweep: SweepCursor) -> Self {
        Self { sweep, swept: 0, tell: sweep, told: 0, owed: 0 }
    }

    /// What the time since the last turn asks for.
    pub(super) fn run(&mut self, flows: &FlowTable, records: &Records, counters: &WorkerCounters, now: Now) {
        if now.as_millis32() != self.swept {
            self.sweep(flows, records, counters, now);
            self.tell(flows, records, counters, now);
        }
    }

    /// Ends expired flows.
    fn sweep(&mut self, flows: &FlowTable, records: &Records, counters: &WorkerCounters, now: Now) {
        let millis = now.as_millis32().wrapping_sub(self.swept);
        let sets = (millis as usize).saturating_mul(SWEEP_SETS_PER_MILLI).min(SWEEP_SETS_MAX);
        flows.sweep(&mut self.sweep, now, sets, |view| {
            if let Some(told) = Told::ended(&view, Ending::of(&view), now) {
                records.happened(told, counters);
            }
        });
        self.swept = now.as_millis32();
    }

    /// Tells of live flows: each about once in the time that [`Records::update_every`] says, evenly spread.
    fn tell(&mut self, flows: &FlowTable, records: &Records, counters: &WorkerCounters, now: Now) {
        let every = records.update_every();
        let millis = now.as_millis32().wrapping_sub(self.told);
        self.told = now.as_millis32();
        if every == 0 {
            return;
        }
        let share = flows.share(&self.tell) as u64;
        self.owed = self.owed.saturating_add(u64::from(millis) * share);
        let sets = self.owed / u64::from(every);
        // What one turn does not manage is given up: the round takes longer.
        self.owed %= u64::from(every);
        let sets = usize::try_from(sets.min(TELL_SETS_MAX).min(share)).unwrap_or(0);
        flows.tell(&mut self.tell, now, sets, every, |view| {
            records.updated(Told::updated(view, now), counters)
        });
    }
}
