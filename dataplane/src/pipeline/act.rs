//! What is done with a judged frame: it leaves by the other side, waits for its datagram's first fragment, or is
//! lost with a reason.

use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::flow::fragments::{Later, Settled};
use crate::frame::{Frame, Umem};
use crate::headers::{Ip, Transport};
use crate::policy::{ServiceKey, Snapshot};
use crate::records::{DropRecord, DroppedFlow};
use crate::transmit::checksum;
use crate::transmit::reject::{self, Answer};
use crate::verdict::Epoch;

use super::judge::{Loss, Told};
use super::{Arrival, Outbox, Path};

/// The frame's surroundings, for [`Path::drop`].
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) arrival: Arrival,
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) ip: Option<&'a Ip>,
}

impl Path {
    /// Hands a frame on, its checksum completed if the sender's stack left that to hardware.
    pub(super) fn forward(&self, umem: &mut Umem, arrival: Arrival, frame: Frame, ip: &Ip, out: &mut Outbox) {
        if checksum::finish_partial(umem.bytes_mut(&frame), ip) {
            self.counters.checksums_finished.add(1);
        }
        out.from(arrival.side).push(frame);
    }

    /// Loses a frame: counted, recorded, told to whom it concerns, and its chunk free again.
    pub(super) fn drop(
        &mut self,
        umem: &mut Umem,
        scene: Scene<'_>,
        frame: Frame,
        loss: Loss,
        out: &mut Outbox,
    ) {
        self.counters.dropped(loss.reason).add(1);
        let flow = scene.ip.map(|ip| DroppedFlow {
            source: ip.source,
            destination: ip.destination,
            service: ServiceKey::of(ip.protocol, &ip.transport).value(),
        });
        let record = DropRecord {
            at: scene.arrival.now,
            wire: scene.arrival.wire,
            side: scene.arrival.side,
            reason: loss.reason,
            epoch: scene.snapshot.map_or(Epoch(0), |snapshot| snapshot.epoch),
            rule: loss.rule,
            flow,
        };
        self.records.dropped(record, &self.counters);
        if let (Told::Sender | Told::BothEnds, Some(ip)) = (loss.told, scene.ip) {
            self.tell(umem, scene.arrival, ip, &frame, loss.told, out);
        }
        umem.release(frame);
    }

    /// Makes the frames that say that this one was refused, as far as the limit lets it.
    #[inline(never)]
    fn tell(
        &mut self,
        umem: &mut Umem,
        arrival: Arrival,
        ip: &Ip,
        frame: &Frame,
        told: Told,
        out: &mut Outbox,
    ) {
        let Arrival { side, now, .. } = arrival;
        if reject::may_answer(umem.bytes(frame), ip) {
            let answer = |bytes: &[u8]| reject::to_sender(bytes, ip);
            self.make(umem, now, frame, answer, out.from(side.peer()));
        }
        if told == Told::BothEnds && matches!(ip.transport, Transport::Tcp(_)) {
            let answer = |bytes: &[u8]| reject::to_far_end(bytes, ip);
            self.make(umem, now, frame, answer, out.from(side));
        }
    }

    /// Makes one frame in answer to `frame`, if the limit and the free chunks allow it.
    fn make(
        &mut self,
        umem: &mut Umem,
        now: Now,
        frame: &Frame,
        answer: impl FnOnce(&[u8]) -> Option<Answer>,
        out: &mut Vec<Frame>,
    ) {
        let made = if self.answers.take(now) { answer(umem.bytes(frame)) } else { None };
        let chunk = made.and_then(|bytes| Some((umem.allocate(bytes.len())?, bytes)));
        let Some((made, bytes)) = chunk else {
            return self.counters.answers_suppressed.add(1);
        };
        umem.bytes_mut(&made).copy_from_slice(&bytes);
        self.counters.made.add(1);
        out.push(made);
    }

    /// Disposes of a fragment: a first one by its verdict, a later one (whose `verdict` only says that its source
    /// is in order) by its first one.
    pub(super) fn fragment(
        &mut self,
        umem: &mut Umem,
        scene: Scene<'_>,
        ip: &Ip,
        frame: Frame,
        verdict: Result<(), Loss>,
        out: &mut Outbox,
    ) {
        let Arrival { wire, side, now } = scene.arrival;
        let Self { fragments, counters, .. } = self;
        if let (Transport::Later, Err(loss)) = (ip.transport, verdict) {
            return self.drop(umem, scene, frame, loss, out);
        }
        let mut settled = |settled| settle(umem, counters, settled, out);
        let fate = if ip.transport == Transport::Later {
            match fragments.judge_later(ip, wire, side, now, frame, &mut settled) {
                Later::Forward(frame) => (frame, Ok(())),
                Later::Drop(frame, reason) => (frame, Err(Loss::of(reason))),
                Later::Held => return,
            }
        } else {
            let judged =
                fragments.judge_first(ip, wire, side, now, verdict.map_err(|loss| loss.reason), &mut settled);
            let told = |reason| match verdict {
                Err(loss) if loss.reason == reason => loss,
                _ => Loss::of(reason),
            };
            (frame, judged.map_err(told))
        };
        match fate {
            (frame, Ok(())) => out.from(side).push(frame),
            (frame, Err(loss)) => self.drop(umem, scene, frame, loss, out),
        }
    }

    /// Settles held fragments whose time is up or whose first one another worker has judged.
    pub(super) fn settle_overdue(&mut self, umem: &mut Umem, now: Now, out: &mut Outbox) {
        let Self { fragments, counters, .. } = self;
        fragments.expire(now, |settled| settle(umem, counters, settled, out));
    }
}

/// Sends on, or loses, a fragment that was held.
fn settle(umem: &mut Umem, counters: &WorkerCounters, settled: Settled, out: &mut Outbox) {
    match settled.fate {
        Ok(()) => out.from(settled.side).push(settled.frame),
        Err(reason) => {
            counters.dropped(reason).add(1);
            umem.release(settled.frame);
        }
    }
}
