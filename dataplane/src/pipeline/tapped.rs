//! Copies for a capture: of dropped frames where they are lost (`act`), of forwarded ones after the batch, so that the
//! path of packets has no part in it while nobody captures.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::capture::{Fate, Lane, Sight};
use crate::clock::Now;
use crate::flow::FlowKey;
use crate::frame::{BATCH_MAX, Frame, Umem};
use crate::headers::{self, Headers, Ip, Network};
use crate::policy::Snapshot;
use crate::records::Records;
use crate::verdict::{Epoch, RuleId, Side, WireId};

use super::{Outbox, Path};

/// The capture that runs, as long as a batch is in work.
#[derive(Debug, Default)]
pub(super) struct Tapped {
    lane: Option<Arc<Lane>>,
    /// The wire of the last batch: a worker serves one.
    wire: WireId,
    /// The chunks of frames that were made here and not received: no capture has them.
    made: ArrayVec<u32, { 2 * BATCH_MAX }>,
}

impl Tapped {
    /// A batch begins.
    #[inline]
    pub(super) fn begin(&mut self, records: &Records, wire: WireId) {
        self.wire = wire;
        self.go_on(records);
    }

    /// A batch begins, or upkeep in its place.
    #[inline]
    pub(super) fn go_on(&mut self, records: &Records) {
        self.lane = records.tap().current();
    }

    pub(super) fn lane(&self) -> Option<&Lane> {
        self.lane.as_deref()
    }

    /// This frame was made here.
    pub(super) fn made(&mut self, frame: &Frame) {
        if self.lane.is_some() {
            // Two answers for each frame of a batch at most.
            let _ = self.made.try_push(frame.chunk);
        }
    }
}

/// The place of the frame that leaves as number `place`.
const fn forwarded_at(place: u32) -> u32 {
    place.saturating_mul(2).saturating_add(1)
}

/// The place of a frame that is lost when so many of its side leave already.
pub(super) fn dropped_after(left: usize) -> u32 {
    u32::try_from(left).unwrap_or(u32::MAX).saturating_mul(2)
}

impl Path {
    /// Copies what leaves with this batch, if somebody wants it, and lets go of the capture.
    #[inline]
    pub(super) fn copy_forwarded(
        &mut self,
        umem: &Umem,
        snapshot: Option<&Snapshot>,
        now: Now,
        out: &mut Outbox,
    ) {
        if let Some(lane) = self.tapped.lane.take() {
            self.copy_all(&lane, umem, snapshot, now, out);
        }
    }

    #[inline(never)]
    fn copy_all(&mut self, lane: &Lane, umem: &Umem, snapshot: Option<&Snapshot>, at: Now, out: &mut Outbox) {
        let in_force = snapshot.map_or(Epoch(0), |snapshot| snapshot.epoch);
        for side in [Side::Inside, Side::Outside] {
            let left = (0u32..).zip(out.from(side).iter());
            for (place, frame) in left.filter(|(_, frame)| !self.tapped.made.contains(&frame.chunk)) {
                let bytes = umem.bytes(frame);
                let headers = headers::parse(bytes);
                let ip = match &headers {
                    Ok(Headers { network: Network::Ip(ip), .. }) => Some(ip),
                    _ => None,
                };
                let decided = ip.and_then(|ip| self.decided(ip, at));
                let (epoch, rule) = decided.map_or((in_force, None), |(epoch, rule)| (epoch, Some(rule)));
                let (wire, fate) = (self.tapped.wire, Fate::Forwarded);
                let order = forwarded_at(place);
                lane.offer(&Sight { at, wire, side, fate, epoch, rule, ip, order }, bytes);
            }
        }
        self.tapped.made.clear();
    }

    /// Under which policy and by which rule the flow of a packet was let through.
    fn decided(&self, ip: &Ip, now: Now) -> Option<(Epoch, RuleId)> {
        let (key, _) = FlowKey::of(self.tapped.wire, ip)?;
        let flow = self.flows.find(&key, self.flows.hash(&key), now)?;
        Some((flow.epoch(), flow.rule()))
    }
}
