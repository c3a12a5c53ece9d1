//! Packets of flows: a flow the table knows under the epoch in force goes through; a stale one is decided again in
//! its initiator's direction and, if denied, ends as its rule says; an unknown one is decided and, if allowed,
//! remembered.

use crate::flow::tcp::{self, Connection, Step};
use crate::flow::{
    Class, Evicted, FlowHandle, FlowHash, FlowKey, FlowView, NewFlow, Orientation, Ruling, Slot,
};
use crate::headers::{IcmpBody, Ip, Quoted, Tcp, Transport, protocol};
use crate::policy::ServiceKey;
use crate::records::{Ending, FlowEvent, Observed, Occasion, Told};
use crate::verdict::{Decision, DraftAnswers, DropReason, Terms, Verdict};

use super::judge::{Judge, Loss};

/// Where a packet's flow is in the table, if it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    pub(super) key: FlowKey,
    /// The end that sent this packet.
    pub(super) sender: Orientation,
    pub(super) hash: FlowHash,
    /// Where it was seen to be.
    pub(super) slot: Option<Slot>,
}

/// What policy says of a flow that would begin.
struct Opening {
    initiator: Orientation,
    decision: Decision,
    drafts: DraftAnswers,
}

/// What became of a packet whose flow was found.
enum Followed {
    /// It belongs to the flow and passes.
    Passed,
    /// It begins a new connection on the ports of one that is over.
    Reopens,
}

impl Judge<'_> {
    /// The flow of a packet that has one, if the table knows it.
    #[inline]
    pub(super) fn find(&self, lookup: &Lookup) -> Option<FlowHandle<'_>> {
        self.flows.find_at(lookup.slot, &lookup.key, lookup.hash, self.arrival.now)
    }

    /// Judges a packet that has a flow of its own; `known` is that flow if the table knows it, `bytes` is the frame's
    /// length.
    pub(super) fn flow(
        &self,
        ip: &Ip,
        lookup: &Lookup,
        known: Option<FlowHandle<'_>>,
        bytes: u16,
    ) -> Result<(), Loss> {
        let tcp = match &ip.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        };
        // Tier 1: known and current. Tier 2: known but stale.
        let over = match known {
            None => None,
            Some(mut handle) => {
                let cut_now = self.refresh(&mut handle, &lookup.key)?;
                let followed = follow(&handle, lookup.sender, tcp, bytes, self);
                match followed.map_err(|loss| if cut_now { loss.told_to_both() } else { loss })? {
                    Followed::Passed => return Ok(()),
                    Followed::Reopens => Some(handle),
                }
            }
        };
        // Tier 3: unknown, or a new connection on old ports.
        self.open(ip, tcp, lookup, bytes, over)
    }

    /// Decides a flow again unless it is settled under the epoch in force; whether that has cut it.
    #[inline]
    fn refresh(&self, handle: &mut FlowHandle<'_>, key: &FlowKey) -> Result<bool, Loss> {
        if handle.is_settled(self.snapshot.epoch) {
            self.counters.flow_hits.add(1);
            return Ok(false);
        }
        self.refresh_stale(handle, key)
    }

    /// The flow was decided under another epoch, or drains. It is decided in the direction of its initiator.
    #[inline(never)]
    fn refresh_stale(&self, handle: &mut FlowHandle<'_>, key: &FlowKey) -> Result<bool, Loss> {
        let (epoch, now) = (self.snapshot.epoch, self.arrival.now);
        if handle.epoch() == epoch && handle.drains(now) {
            self.counters.flow_hits.add(1);
            return Ok(false);
        }
        self.counters.flow_stale.add(1);
        let (source, destination) = key.addresses(handle.initiator());
        let service = service_of(key, handle.initiator());
        let decision = self.ask().policy(source, destination, service);
        let (ruling, enforced) = Ruling::of(&decision, handle.standing(now), now);
        self.ask().count(ruling.rule(), decision.potential);
        let drafts = self.ask().drafts(source, destination, service, enforced);
        let was_cut = handle.is_cut();
        let cut = handle.rule_on(epoch, ruling, drafts).map_err(Loss::of)?;
        if let Some(view) = &cut {
            self.counters.flows_cut.add(1);
            self.ended(view, Ending::Cut);
        }
        let lives_again = was_cut && !handle.is_cut();
        if lives_again || !self.snapshot.drafts.is_empty() || !decision.verdict.is_allow() {
            let occasion = if lives_again { Occasion::Opened } else { Occasion::Redecided };
            self.redecided(occasion, handle, key, &ruling, &decision, drafts);
        }
        Ok(cut.is_some())
    }

    /// Tells what became of a live flow.
    fn redecided(
        &self,
        occasion: Occasion,
        handle: &FlowHandle<'_>,
        key: &FlowKey,
        ruling: &Ruling,
        decision: &Decision,
        drafts: DraftAnswers,
    ) {
        let now = self.arrival.now;
        let (cut, first_seen) = (matches!(ruling, Ruling::Cut { .. }), handle.opened());
        self.happened(FlowEvent {
            at: now,
            occasion,
            key: *key,
            initiator: handle.initiator(),
            epoch: self.snapshot.epoch,
            verdict: if cut { decision.verdict } else { Verdict::Allow },
            gate: Some(decision.gate),
            rule: ruling.rule(),
            potential: decision.potential,
            drafts,
            packets: [0; 2],
            bytes: [0; 2],
            first_seen,
            last_seen: now.as_millis32(),
        });
    }

    fn ended(&self, view: &FlowView, ending: Ending) {
        if let Some(told) = Told::ended(view, ending, self.arrival.now) {
            self.happened(told);
        }
    }

    fn happened(&self, event: impl Into<Told>) {
        self.records.happened(event, self.counters);
    }

    /// Decides a new flow and remembers it if it is allowed. `over` is the flow whose ports it takes.
    fn open(
        &self,
        ip: &Ip,
        tcp: Option<&Tcp>,
        lookup: &Lookup,
        bytes: u16,
        over: Option<FlowHandle<'_>>,
    ) -> Result<(), Loss> {
        self.counters.flow_misses.add(1);
        if let Transport::Icmp(icmp) = ip.transport
            && matches!(icmp.body, IcmpBody::Reply(_))
        {
            return Err(Loss::of(DropReason::IcmpNoFlow));
        }
        let mode = if self.pickup { tcp::Mode::Loose } else { tcp::Mode::Strict };
        // A segment that opens nothing is refused before policy is asked: it has no direction to decide in.
        let opened =
            tcp.map(|tcp| Connection::open(tcp, lookup.sender, mode)).transpose().map_err(Loss::of)?;
        let midstream = tcp.is_some_and(|tcp| !tcp::is_opening(tcp));
        let opening = self.decide_opening(&lookup.key, lookup.sender, midstream);
        let Opening { initiator, decision, drafts } = opening;
        if !decision.verdict.is_allow() {
            self.begun(Occasion::Denied, lookup, &opening, bytes);
            return Err(Loss::denied(&decision));
        }
        let new = NewFlow {
            initiator,
            sender: lookup.sender,
            connection: opened.map(|connection| connection.opened_by(initiator)),
            epoch: self.snapshot.epoch,
            rule: decision.rule,
            potential: decision.potential,
            terms: Terms { on_revoke: decision.on_revoke, drafts },
            bytes,
        };
        if self.remember(lookup, tcp, &new, over)? {
            self.begun(Occasion::Opened, lookup, &opening, bytes);
        }
        Ok(())
    }

    /// Tells of a flow that began, or was not allowed to.
    fn begun(&self, occasion: Occasion, lookup: &Lookup, opening: &Opening, bytes: u16) {
        let (now, decision) = (self.arrival.now, &opening.decision);
        let at = lookup.sender.index();
        let (mut packets, mut sent) = ([0; 2], [0; 2]);
        (packets[at], sent[at]) = (1, u64::from(bytes));
        let event = FlowEvent {
            at: now,
            occasion,
            key: lookup.key,
            initiator: opening.initiator,
            epoch: self.snapshot.epoch,
            verdict: decision.verdict,
            gate: Some(decision.gate),
            rule: decision.rule,
            potential: decision.potential,
            drafts: opening.drafts,
            packets,
            bytes: sent,
            first_seen: now.as_millis32(),
            last_seen: now.as_millis32(),
        };
        let observed = Observed { side: Some(self.arrival.side), ..Observed::default() };
        self.happened(Told { event, observed });
    }

    /// Who opened the flow, and what policy says. In the middle of a connection the sender of the first segment
    /// seen may be either end, so the other direction is asked too.
    fn decide_opening(&self, key: &FlowKey, sender: Orientation, midstream: bool) -> Opening {
        let ask = |initiator| {
            let (source, destination) = key.addresses(initiator);
            let (decision, drafts) = self.ask().decide(source, destination, service_of(key, initiator));
            Opening { initiator, decision, drafts }
        };
        let opening = ask(sender);
        if !opening.decision.verdict.is_allow() && midstream {
            let other = ask(sender.reverse());
            if other.decision.verdict.is_allow() {
                return other;
            }
        }
        opening
    }

    /// Puts an allowed flow into the table; whether it is new there.
    fn remember(
        &self,
        lookup: &Lookup,
        tcp: Option<&Tcp>,
        new: &NewFlow,
        over: Option<FlowHandle<'_>>,
    ) -> Result<bool, Loss> {
        let now = self.arrival.now;
        if let Some(mut handle) = over {
            let old = handle.reopen(&lookup.key, new, now).map_err(Loss::of)?;
            self.counters.flows_opened.add(1);
            self.ended(&old, Ending::of(&old));
            return Ok(true);
        }
        let inserted = self.flows.insert(&lookup.key, lookup.hash, new, now).map_err(Loss::of)?;
        if inserted.fresh {
            self.counters.flows_opened.add(1);
            if let Some(Evicted { class, view }) = inserted.evicted {
                let expired = class == Class::Expired;
                self.counters.flows_evicted.add(u64::from(!expired));
                let over = expired || class == Class::Closed;
                let ending = if over { Ending::of(&view) } else { Ending::Evicted };
                self.ended(&view, ending);
            }
            return Ok(true);
        }
        // Another worker put the same flow in first: this packet is its second one.
        match follow(&inserted.handle, lookup.sender, tcp, new.bytes, self)? {
            Followed::Passed => Ok(false),
            Followed::Reopens => Err(Loss::of(DropReason::FlowContended)),
        }
    }

    /// Judges an ICMP error by the flow it speaks of. It must be addressed to the end whose packet it quotes, and
    /// that flow must be alive under the policy in force.
    pub(super) fn related(&self, ip: &Ip, quoted: &Quoted, bytes: u16) -> Result<(), Loss> {
        let stranger = Loss::of(DropReason::IcmpNoFlow);
        if ip.destination != quoted.source {
            return Err(stranger);
        }
        let (key, sender) = FlowKey::of_quoted(self.arrival.wire, quoted).ok_or(stranger)?;
        let mut handle = self.flows.find(&key, self.flows.hash(&key), self.arrival.now).ok_or(stranger)?;
        self.refresh(&mut handle, &key)?;
        if handle.is_cut() {
            return Err(Loss::revoked(&handle));
        }
        handle.account(sender, bytes).map_err(Loss::of)
    }
}

/// Lets the flow take its next packet into account.
#[inline(always)]
fn follow(
    handle: &FlowHandle<'_>,
    sender: Orientation,
    tcp: Option<&Tcp>,
    bytes: u16,
    judge: &Judge<'_>,
) -> Result<Followed, Loss> {
    let now = judge.arrival.now;
    let taken = match tcp {
        Some(tcp) => handle.observe_tcp(sender, tcp, bytes, now),
        None => handle.observe(sender, bytes, now).map(|()| Step::Pass),
    };
    match taken {
        Ok(Step::Pass | Step::Ignored) => Ok(Followed::Passed),
        Ok(Step::Reopen) => Ok(Followed::Reopens),
        Err(DropReason::Revoked) => Err(Loss::revoked(handle)),
        Err(reason) => Err(Loss::of(reason)),
    }
}

/// What the initiator of a flow asked for, from the flow's key alone: the same point of the service space as its
/// first packet had.
fn service_of(key: &FlowKey, initiator: Orientation) -> ServiceKey {
    let (own, other) = match initiator {
        Orientation::FromFirst => (key.first_port, key.second_port),
        Orientation::FromSecond => (key.second_port, key.first_port),
    };
    let low = match key.protocol {
        protocol::ICMP | protocol::ICMPV6 => match u8::try_from(key.second_port) {
            Ok(query) => u16::from(query) << 8,
            Err(_) => own,
        },
        protocol::TCP | protocol::UDP | protocol::SCTP => other,
        _ => 0,
    };
    ServiceKey::new(key.protocol, low)
}
