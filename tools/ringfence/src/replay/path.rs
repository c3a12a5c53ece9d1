//! One wire in memory: the packet path of a worker without rings, fed one frame at a time.

use std::io;
use std::sync::Arc;

use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::flow::fragments::{FragmentHeads, FragmentLimits, FragmentTable};
use dataplane::flow::{FlowKey, FlowTable, HashKey, SweepCursor};
use dataplane::frame::{Batch, Frame, Umem};
use dataplane::headers::{self, Headers, IcmpBody, Ip, Network, Transport};
use dataplane::pipeline::{Arrival, Outbox, Pipeline, PipelineParts, SourceCheck, Stage};
use dataplane::policy::{PolicyTable, Publisher, ServiceKey, Snapshot};
use dataplane::records::{DropRecord, Records};
use dataplane::verdict::{DropReason, RuleId, Side, WireId};

/// The only wire.
const WIRE: WireId = WireId(0);
/// The largest frame, bytes: what the largest chunk of a worker's memory holds.
const CHUNK_SIZE: u32 = 4096;
/// The same, as a length.
pub(super) const FRAME_MAX: usize = CHUNK_SIZE as usize;
/// More than all fragments that can be held at a time, and the frame at hand.
const CHUNKS: u32 = 1024;
/// Flows that fit.
const FLOWS: usize = 1 << 18;
/// Secret in a daemon; fixed here, so that two runs agree to the last eviction.
const HASH_KEY: HashKey = HashKey([0x7269_6e67, 0x6665_6e63]);

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It leaves by the other side.
    Forward {
        /// What let it through.
        how: How,
        /// The rule or default, where one was asked.
        rule: Option<RuleId>,
    },
    /// It is lost.
    Drop {
        /// Why.
        reason: DropReason,
        /// The rule or default, where policy dropped it.
        rule: Option<RuleId>,
    },
}

/// What let a packet through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// It opened a flow.
    NewFlow,
    /// It belongs to a flow.
    Flow,
    /// It is an ICMP error about a flow.
    Related,
    /// It follows its datagram's first fragment.
    Fragment,
    /// Policy allows it by itself; it opens no flow.
    Stateless,
    /// A valid neighbour discovery message.
    Neighbour,
    /// A valid ARP message.
    Arp,
    /// The policy names its EtherType.
    EtherType,
}

impl How {
    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NewFlow => "new_flow",
            Self::Flow => "flow",
            Self::Related => "related",
            Self::Fragment => "fragment",
            Self::Stateless => "stateless",
            Self::Neighbour => "neighbour",
            Self::Arp => "arp",
            Self::EtherType => "ether_type",
        }
    }
}

/// A packet that waits for its datagram's first fragment.
#[derive(Clone, Copy, Debug)]
struct Held {
    packet: u64,
    /// Where its bytes are: tells its chunk from others.
    place: usize,
}

/// One wire in memory.
pub(crate) struct MemoryWire {
    umem: Umem,
    pipeline: Pipeline,
    out: Outbox,
    counters: Arc<WorkerCounters>,
    records: Arc<Records>,
    flows: Arc<FlowTable>,
    snapshot: Arc<Snapshot>,
    /// In the order they came.
    held: Vec<Held>,
    /// Frames dropped for each reason, as far as they were told.
    told: Vec<u64>,
}

impl MemoryWire {
    /// A wire with `table` in force. With `midstream`, TCP connections that are older than the first packet are
    /// picked up if policy allows them.
    ///
    /// # Errors
    /// The memory cannot be had.
    pub(crate) fn new(table: PolicyTable, midstream: bool) -> io::Result<Self> {
        let publisher = Publisher::new(1);
        let snapshot = publisher.publish(table);
        let flows = Arc::new(FlowTable::with_key(FLOWS, HASH_KEY)?);
        let limits = FragmentLimits::default();
        let heads = Arc::new(FragmentHeads::new(limits.datagrams, HASH_KEY));
        let counters = Arc::new(WorkerCounters::default());
        let records = Arc::new(Records::new());
        let pipeline = Pipeline::new(PipelineParts {
            worker: 0,
            reader: publisher.reader(0),
            flows: Arc::clone(&flows),
            sweep: SweepCursor::new(0, 1),
            fragments: FragmentTable::new(limits, heads),
            counters: Arc::clone(&counters),
            records: Arc::clone(&records),
            source_check: SourceCheck::Strict,
            pickup_until: Now::from_nanos(if midstream { u64::MAX } else { 0 }),
        });
        let out = Outbox::new(pipeline.forward_max());
        let umem = Umem::anonymous(CHUNKS, CHUNK_SIZE)?;
        let told = vec![0; DropReason::COUNT];
        Ok(Self { umem, pipeline, out, counters, records, flows, snapshot, held: Vec::new(), told })
    }

    /// The policy in force.
    pub(crate) fn table(&self) -> &PolicyTable {
        &self.snapshot.table
    }

    /// Gives a frame whose capture had no Ethernet addresses one that its sender owns.
    pub(crate) fn make_up_sender(&self, frame: &mut [u8], parsed: &Result<Headers, DropReason>) {
        let Ok(Headers { network: Network::Ip(ip), .. }) = parsed else { return };
        let table = self.table();
        let binding = table.binding(table.resolve(ip.source));
        if let (Some(mac), Some(place)) = (binding.macs.first(), frame.get_mut(6..12)) {
            place.copy_from_slice(mac);
        }
    }

    /// Frames that the wire made itself, to tell a sender that its packet was refused.
    pub(crate) fn answers(&self) -> u64 {
        self.counters.made.get()
    }

    /// Packets that wait for their datagram's first fragment.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Sends one packet through the path and tells every packet that is settled by it: this one, unless it is held,
    /// and any held before that it sets free.
    ///
    /// # Errors
    /// The path lost track of a frame.
    pub(crate) fn send(
        &mut self,
        packet: u64,
        side: Side,
        now: Now,
        bytes: &[u8],
        mut tell: impl FnMut(u64, Fate),
    ) -> Result<(), Unaccounted> {
        let Some(frame) = self.umem.allocate(bytes.len()) else {
            // What no port could hand over: nothing at all, or more than a chunk.
            let reason = if bytes.is_empty() { DropReason::Truncated } else { DropReason::TooBig };
            tell(packet, Fate::Drop { reason, rule: None });
            return Ok(());
        };
        self.umem.bytes_mut(&frame).copy_from_slice(bytes);
        let place = self.place(&frame);
        let opened = self.counters.flows_opened.get();
        let mut batch = Batch::new();
        batch.push(frame);
        self.pipeline.process(&mut self.umem, Arrival { wire: WIRE, side, now }, &mut batch, &mut self.out);
        let forwarded = self.take_forwarded();
        if forwarded.contains(&place) {
            let opened = self.counters.flows_opened.get() > opened;
            tell(packet, self.forwarded(bytes, now, opened));
        } else if let Some(DropRecord { reason, rule, .. }) = self.own_drop() {
            self.told[reason as usize] += 1;
            tell(packet, Fate::Drop { reason, rule });
        } else {
            self.held.push(Held { packet, place });
        }
        self.settle(&forwarded, tell)
    }

    /// Lets time pass: expired flows go, and so do held packets whose first fragment did not come.
    ///
    /// # Errors
    /// The path lost track of a frame.
    pub(crate) fn tick(&mut self, now: Now, tell: impl FnMut(u64, Fate)) -> Result<(), Unaccounted> {
        self.pipeline.tick(&mut self.umem, now, &mut self.out);
        let forwarded = self.take_forwarded();
        self.settle(&forwarded, tell)
    }

    /// What was said of the packet at hand, if it was dropped; those held before are told by [`Self::settle`].
    fn own_drop(&self) -> Option<DropRecord> {
        std::iter::from_fn(|| self.records.next_drop()).filter(|record| !record.held).last()
    }

    fn place(&self, frame: &Frame) -> usize {
        self.umem.bytes(frame).as_ptr().addr()
    }

    /// Takes out what leaves, as the transmit rings would, and says where it was.
    fn take_forwarded(&mut self) -> Vec<usize> {
        let mut places = Vec::new();
        for side in [Side::Inside, Side::Outside] {
            let frames = std::mem::take(self.out.from(side));
            self.counters.side(side).forwarded.add(frames.len() as u64);
            for frame in frames {
                places.push(self.place(&frame));
                self.umem.release(frame);
            }
        }
        places
    }

    /// Tells the held packets that are held no longer. Those of one datagram share one fate; if a tick drops several
    /// datagrams for different reasons, each reason is told as often as it was counted.
    fn settle(&mut self, forwarded: &[usize], mut tell: impl FnMut(u64, Fate)) -> Result<(), Unaccounted> {
        let mut reasons = Vec::new();
        for (reason, told) in DropReason::ALL.iter().zip(&mut self.told) {
            let counted = self.counters.dropped(*reason).get();
            reasons.extend((*told..counted).map(|_| *reason));
            *told = counted;
        }
        let free = if reasons.is_empty() { Vec::new() } else { self.free_places() };
        let mut reasons = reasons.into_iter();
        self.held.retain(|held| {
            if forwarded.contains(&held.place) {
                tell(held.packet, Fate::Forward { how: How::Fragment, rule: None });
                return false;
            }
            if !free.contains(&held.place) {
                return true;
            }
            // A freed chunk without a reason is noticed below.
            let Some(reason) = reasons.next() else { return true };
            tell(held.packet, Fate::Drop { reason, rule: None });
            false
        });
        let leaked = self.umem.free() + self.held.len() != CHUNKS as usize;
        if leaked || reasons.next().is_some() || self.counters.unaccounted() != 0 {
            return Err(Unaccounted);
        }
        Ok(())
    }

    /// Where the free chunks are.
    fn free_places(&mut self) -> Vec<usize> {
        let frames: Vec<_> = std::iter::from_fn(|| self.umem.allocate(1)).collect();
        let places = frames.iter().map(|frame| self.place(frame)).collect();
        // Given back in reverse, the next chunk to be used is the same as before.
        frames.into_iter().rev().for_each(|frame| self.umem.release(frame));
        places
    }

    /// What let a packet through that was just forwarded, read from the tables that decided it.
    fn forwarded(&self, bytes: &[u8], now: Now, opened: bool) -> Fate {
        let (how, rule) = match headers::parse(bytes) {
            Ok(Headers { network: Network::Ip(ip), .. }) => self.forwarded_ip(&ip, now, opened),
            Ok(Headers { network: Network::Arp(_), .. }) => (How::Arp, None),
            Ok(Headers { network: Network::Other(_), .. }) | Err(_) => (How::EtherType, None),
        };
        Fate::Forward { how, rule }
    }

    fn forwarded_ip(&self, ip: &Ip, now: Now, opened: bool) -> (How, Option<RuleId>) {
        let rule_of = |key: &FlowKey| Some(self.flows.find(key, self.flows.hash(key), now)?.rule());
        if let Transport::Icmp(icmp) = ip.transport {
            match icmp.body {
                IcmpBody::Error(quoted) => {
                    let flow = FlowKey::of_quoted(WIRE, &quoted);
                    return (How::Related, flow.and_then(|(key, _)| rule_of(&key)));
                }
                IcmpBody::Neighbour(_) => return (How::Neighbour, None),
                _ => {}
            }
        }
        if ip.transport == Transport::Later {
            return (How::Fragment, None);
        }
        match FlowKey::of(WIRE, ip) {
            Some((key, _)) => (if opened { How::NewFlow } else { How::Flow }, rule_of(&key)),
            None => {
                let table = self.table();
                let service = ServiceKey::of(ip.protocol, &ip.transport);
                let decision = table.decide(table.resolve(ip.source), table.resolve(ip.destination), service);
                (How::Stateless, Some(decision.rule))
            }
        }
    }
}

/// A frame was neither forwarded, dropped nor held, or more than one of them: a fault of the packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unaccounted;
