//! What is done with a judged frame: it leaves by the other side, waits for its datagram's first fragment, or is
//! lost with a reason.

use crate::capture::{Fate, Lane, Sight};
use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::flow::fragments::{Later, Settled};
use crate::frame::{Frame, Umem};
use crate::headers::{self, Headers, Ip, Network, Transport};
use crate::policy::{ServiceKey, Snapshot};
use crate::records::{DropRecord, DroppedFlow, Records};
use crate::transmit::checksum;
use crate::transmit::reject::{self, Answer};
use crate::verdict::{Epoch, Side, WireId};

use super::judge::{Loss, Told};
use super::tapped::dropped_after;
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
        let Arrival { wire, side, now } = scene.arrival;
        let epoch = scene.snapshot.map_or(Epoch(0), |snapshot| snapshot.epoch);
        let book = self.book(epoch, now);
        book.lost(wire, side, loss, scene.ip, false);
        book.copy(wire, side, loss, scene.ip, umem.bytes(&frame), out.from(side).len());
        if let (Told::Sender | Told::BothEnds, Some(ip)) = (loss.told, scene.ip) {
            self.tell(umem, scene.arrival, ip, &frame, loss.told, out);
        }
        umem.release(frame);
    }

    fn book(&self, epoch: Epoch, now: Now) -> Book<'_> {
        Book { counters: &self.counters, records: &self.records, lane: self.tapped.lane(), epoch, now }
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
        self.tapped.made(&made);
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
        let epoch = scene.snapshot.map_or(Epoch(0), |snapshot| snapshot.epoch);
        let Self { fragments, counters, records, tapped, .. } = self;
        let book = Book { counters, records, lane: tapped.lane(), epoch, now };
        if let (Transport::Later, Err(loss)) = (ip.transport, verdict) {
            return self.drop(umem, scene, frame, loss, out);
        }
        let mut settled = |settled| settle(umem, book, settled, out);
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

    /// Settles held fragments whose time is up or whose first one another worker has judged, while the policy of
    /// `epoch` is in force.
    pub(super) fn settle_overdue(&mut self, umem: &mut Umem, epoch: Epoch, now: Now, out: &mut Outbox) {
        let Self { fragments, counters, records, tapped, .. } = self;
        let book = Book { counters, records, lane: tapped.lane(), epoch, now };
        fragments.expire(now, |settled| settle(umem, book, settled, out));
    }
}

/// Where losses are counted and recorded.
#[derive(Clone, Copy)]
struct Book<'a> {
    counters: &'a WorkerCounters,
    records: &'a Records,
    /// Where copies of them go, if somebody wants them.
    lane: Option<&'a Lane>,
    epoch: Epoch,
    now: Now,
}

impl Book<'_> {
    /// A frame that came in on `side` of `wire` is lost. `ip` is what its headers said, `held` whether it was held
    /// before.
    fn lost(self, wire: WireId, side: Side, loss: Loss, ip: Option<&Ip>, held: bool) {
        let Self { counters, records, epoch, now, .. } = self;
        counters.dropped(loss.reason).add(1);
        let flow = ip.map(|ip| DroppedFlow {
            source: ip.source,
            destination: ip.destination,
            service: ServiceKey::of(ip.protocol, &ip.transport).value(),
        });
        let Loss { reason, rule, .. } = loss;
        records.dropped(DropRecord { at: now, wire, side, reason, epoch, rule, flow, held }, counters);
    }
}

impl Book<'_> {
    /// Copies a frame that is lost after `left` of its side, if somebody wants it.
    fn copy(self, wire: WireId, side: Side, loss: Loss, ip: Option<&Ip>, bytes: &[u8], left: usize) {
        let Some(lane) = self.lane else { return };
        let (Loss { reason, rule, .. }, Self { epoch, now: at, .. }) = (loss, self);
        let (fate, order) = (Fate::Dropped(reason), dropped_after(left));
        lane.offer(&Sight { at, wire, side, fate, epoch, rule, ip, order }, bytes);
    }
}

/// Sends on, or loses, a fragment that was held.
fn settle(umem: &mut Umem, book: Book<'_>, settled: Settled, out: &mut Outbox) {
    let Settled { wire, side, frame, fate } = settled;
    let Err(reason) = fate else { return out.from(side).push(frame) };
    let headers = headers::parse(umem.bytes(&frame));
    let ip = match &headers {
        Ok(Headers { network: Network::Ip(ip), .. }) => Some(ip),
        _ => None,
    };
    book.lost(wire, side, Loss::of(reason), ip, true);
    book.copy(wire, side, Loss::of(reason), ip, umem.bytes(&frame), out.from(side).len());
    umem.release(frame);
}
