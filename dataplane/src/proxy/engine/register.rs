//! Connections in the flow table, where everybody else sees them, and in flow records.
//!
//! The table shows; it does not rule. Each connection is decided from what the worker itself knows of it, so an entry
//! that another flow has taken over changes nothing but what is shown.

use super::conn::Conn;
use super::{Core, Scene};
use crate::flow::tcp::{Connection, Phase};
use crate::flow::{Class, Evicted, FlowHandle, FlowKey, FlowView, NewFlow, Orientation, Relayed, Ruling};
use crate::proxy::service;
use crate::records::{DropRecord, DroppedFlow, Ending, FlowEvent, Occasion};
use crate::verdict::{Decision, DropReason, RuleId, Side, Terms, Verdict};

impl Core {
    fn key(&self, conn: &Conn) -> (FlowKey, Orientation) {
        FlowKey::of_connection(self.config.wire, conn.source, conn.destination)
    }

    /// The connection's own entry, if it still has it.
    fn entry(&self, scene: &Scene<'_>, conn: &Conn) -> Option<FlowHandle<'_>> {
        let generation = conn.generation?;
        let (key, _) = self.key(conn);
        let handle = self.flows.find(&key, self.flows.hash(&key), scene.now)?;
        (handle.generation() == generation).then_some(handle)
    }

    /// Puts an allowed connection into the flow table. An entry under the same key is of a connection that is over or
    /// as good as, because its ports are used anew.
    pub(super) fn remember(
        &mut self,
        scene: &Scene<'_>,
        index: u32,
        decision: &Decision,
    ) -> Result<(), DropReason> {
        let conn = &self.conns[index as usize];
        let (key, initiator) = self.key(conn);
        let new = NewFlow {
            initiator,
            sender: initiator,
            connection: Some(Connection::relayed(initiator, Phase::SynSent)),
            epoch: conn.ruled.epoch,
            rule: decision.rule,
            potential: decision.potential,
            terms: Terms { on_revoke: decision.on_revoke, drafts: conn.ruled.drafts },
            bytes: 0,
        };
        let mut inserted = self.flows.insert(&key, self.flows.hash(&key), &new, scene.now)?;
        let generation = if inserted.fresh {
            if let Some(Evicted { class, view }) = inserted.evicted {
                let expired = class == Class::Expired;
                self.counters.flows_evicted.add(u64::from(!expired));
                let over = expired || class == Class::Closed;
                self.view_ended(scene, &view, if over { Ending::of(&view) } else { Ending::Evicted });
            }
            inserted.handle.generation()
        } else {
            let old = inserted.handle.reopen(&key, &new, scene.now)?;
            self.view_ended(scene, &old, Ending::Evicted);
            inserted.handle.generation()
        };
        self.counters.flows_opened.add(1);
        self.conns[index as usize].generation = Some(generation);
        self.tell(scene, index, Occasion::Opened, Some(decision));
        Ok(())
    }

    fn view_ended(&self, scene: &Scene<'_>, view: &FlowView, ending: Ending) {
        if let Some(event) = FlowEvent::ended(view, ending, scene.now) {
            self.records.happened(event, &self.counters);
        }
    }

    /// Writes into the connection's entry where it stands and how much it has moved.
    pub(super) fn tell_flow(&mut self, scene: &Scene<'_>, index: u32, phase: Phase) {
        let conn = &self.conns[index as usize];
        let (_, initiator) = self.key(conn);
        let [request, response] = [0, 1].map(|at: usize| (conn.ways[at].reads, conn.ways[at].bytes));
        let by_end =
            if initiator == Orientation::FromFirst { [request, response] } else { [response, request] };
        let relayed =
            Relayed { phase, packets: by_end.map(|(reads, _)| reads), bytes: by_end.map(|(_, bytes)| bytes) };
        if let Some(handle) = self.entry(scene, conn) {
            // Taken over this moment: then it is not shown any more.
            let _ = handle.relayed(&relayed, scene.now);
        }
        let conn = &mut self.conns[index as usize];
        conn.told = conn.bytes();
    }

    /// Stamps what a newer policy says into the connection's entry.
    pub(super) fn stamp_flow(&mut self, scene: &Scene<'_>, index: u32, ruling: Ruling) {
        let conn = &self.conns[index as usize];
        if let Some(mut handle) = self.entry(scene, conn) {
            let _ = handle.rule_on(conn.ruled.epoch, ruling, conn.ruled.drafts);
        }
    }

    /// Takes the connection's entry out of the table, and tells how it ended.
    pub(super) fn end_flow(&mut self, scene: &Scene<'_>, index: u32, ending: Ending) {
        let conn = &self.conns[index as usize];
        if conn.generation.is_none() {
            return;
        }
        if let Some(handle) = self.entry(scene, conn) {
            let _ = handle.end();
            self.tell(scene, index, Occasion::Ended(ending), None);
        }
        self.conns[index as usize].generation = None;
    }

    /// The same for a connection that is about to get another destination.
    pub(super) fn forget_flow(&mut self, scene: &Scene<'_>, index: u32) {
        self.end_flow(scene, index, Ending::Reset);
    }

    /// Tells what became of a connection.
    pub(super) fn tell(
        &self,
        scene: &Scene<'_>,
        index: u32,
        occasion: Occasion,
        decision: Option<&Decision>,
    ) {
        let conn = &self.conns[index as usize];
        let (key, initiator) = self.key(conn);
        let [request, response] = [0, 1].map(|at: usize| (conn.ways[at].reads, conn.ways[at].bytes));
        let by_end =
            if initiator == Orientation::FromFirst { [request, response] } else { [response, request] };
        let denied = occasion == Occasion::Denied;
        let redecided = occasion == Occasion::Redecided;
        let rule = decision.filter(|_| denied).map(|decision| decision.rule).or(conn.ruled.rule);
        let rule = rule.unwrap_or(RuleId::DEFAULT_DENY);
        let lives = matches!(rule, RuleId::DRAINING | RuleId::KEPT);
        let count = |value: u64| if redecided { 0 } else { value };
        self.records.happened(
            FlowEvent {
                at: scene.now,
                occasion,
                key,
                initiator,
                epoch: conn.ruled.epoch,
                verdict: decision.filter(|_| !lives).map_or(Verdict::Allow, |decision| decision.verdict),
                gate: decision.map(|decision| decision.gate),
                rule,
                potential: conn.ruled.potential,
                drafts: conn.ruled.drafts,
                packets: by_end.map(|(reads, _)| count(reads)),
                bytes: by_end.map(|(_, bytes)| count(bytes)),
                first_seen: conn.opened,
                last_seen: if denied || redecided { scene.millis() } else { conn.active },
            },
            &self.counters,
        );
    }

    /// Counts and records that policy has refused a connection.
    pub(super) fn drop_told(&self, scene: &Scene<'_>, index: u32, reason: DropReason) {
        let conn = &self.conns[index as usize];
        self.counters.dropped(reason).add(1);
        let flow = DroppedFlow {
            source: conn.source.0,
            destination: conn.destination.0,
            service: service(conn.destination.1).value(),
        };
        let record = DropRecord {
            at: scene.now,
            wire: self.config.wire,
            side: Side::Outside,
            reason,
            epoch: scene.epoch(),
            rule: conn.ruled.rule,
            flow: Some(flow),
            held: false,
        };
        self.records.dropped(record, &self.counters);
    }
}
