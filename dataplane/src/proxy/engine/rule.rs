//! What policy says of connections: of a new one before it leads anywhere, and of all that stand when it is new.

use super::conn::Stage;
use super::finish::End;
use super::{Core, LOOKS_MAX, Scene};
use crate::ask::Ask;
use crate::flow::{Ruling, Standing};
use crate::policy::Snapshot;
use crate::proxy::counters::{Fate, Refusal};
use crate::proxy::service;
use crate::records::Occasion;
use crate::verdict::{DropReason, Side, Verdict};

impl Core {
    fn ask<'a>(&'a self, snapshot: &'a Snapshot) -> Ask<'a> {
        Ask { snapshot, counters: &self.counters, worker: self.worker }
    }

    /// Asks policy about a new connection; if it is allowed, it is in the flow table afterwards.
    pub(super) fn decide(
        &mut self,
        scene: &Scene<'_>,
        snapshot: &Snapshot,
        index: u32,
    ) -> Result<(), Refusal> {
        let conn = &self.conns[index as usize];
        let (source, destination) = (conn.source.0, conn.destination.0);
        let service = service(conn.destination.1);
        self.counters.side(Side::Outside).received.add(1);
        self.counters.flow_misses.add(1);
        let (decision, drafts) = self.ask(snapshot).decide(source, destination, service);
        let (ruling, _) = match decision.verdict {
            Verdict::Allow => Ruling::of(
                &decision,
                Standing { on_revoke: decision.on_revoke, cut: false, drained: false },
                scene.now,
            ),
            Verdict::Deny | Verdict::Reject => {
                let told = decision.verdict == Verdict::Reject;
                (Ruling::Cut { rule: decision.rule, told }, decision.answer())
            }
        };
        let conn = &mut self.conns[index as usize];
        conn.ruled.by(snapshot.epoch, &ruling, drafts);
        conn.ruled.potential = decision.potential;
        if decision.verdict.is_allow() {
            self.counters.side(Side::Outside).forwarded.add(1);
            if self.remember(scene, index, &decision).is_err() {
                return Err(Refusal::FlowTableFull);
            }
            return Ok(());
        }
        let (reason, refusal) = match decision.verdict {
            Verdict::Reject => (DropReason::Rejected, Refusal::Rejected),
            Verdict::Allow | Verdict::Deny => (DropReason::Policy, Refusal::Policy),
        };
        self.tell(scene, index, Occasion::Denied, Some(&decision));
        self.drop_told(scene, index, reason);
        Err(refusal)
    }

    /// Whether bytes of a connection may go on under the policy in force, which is asked if another one was last.
    #[inline]
    pub(super) fn may_pass(&mut self, scene: &Scene<'_>, index: u32) -> bool {
        if self.conns[index as usize].ruled.epoch == scene.epoch() {
            return true;
        }
        self.rule(scene, index)
    }

    /// Decides a connection again, in its initiator's direction; whether it lives on.
    #[inline(never)]
    pub(super) fn rule(&mut self, scene: &Scene<'_>, index: u32) -> bool {
        let conn = &self.conns[index as usize];
        let Some(snapshot) = scene.snapshot.filter(|_| is_decided(conn.stage)) else {
            return conn.stage != Stage::Closing;
        };
        self.counters.flow_stale.add(1);
        let (source, destination) = (conn.source.0, conn.destination.0);
        let service = service(conn.destination.1);
        let now = scene.millis();
        let drained = conn.ruled.drains.is_some_and(|until| now.wrapping_sub(until) < 1 << 31);
        let standing = Standing { on_revoke: conn.ruled.on_revoke, cut: false, drained };
        let ask = self.ask(snapshot);
        let decision = ask.policy(source, destination, service);
        let (ruling, enforced) = Ruling::of(&decision, standing, scene.now);
        ask.count(ruling.rule(), decision.potential);
        let drafts = ask.drafts(source, destination, service, enforced);
        let relaying = conn.stage == Stage::Relaying;
        self.conns[index as usize].ruled.by(snapshot.epoch, &ruling, drafts);
        self.stamp_flow(scene, index, ruling);
        if !snapshot.drafts.is_empty() || !decision.verdict.is_allow() {
            self.tell(scene, index, Occasion::Redecided, Some(&decision));
        }
        if matches!(ruling, Ruling::Cut { .. }) {
            self.counters.flows_cut.add(1);
            let end = if relaying { End::Over(Fate::Revoked) } else { End::Refused(Refusal::Revoked) };
            self.end(scene, index, end);
            return false;
        }
        if relaying && matches!(ruling, Ruling::Drain { .. }) {
            self.schedule(scene, index);
        }
        true
    }

    /// Decides some of the connections again that an older policy has allowed; whether there are more.
    pub(super) fn rule_some(&mut self, scene: &Scene<'_>) -> bool {
        let Some(first) = self.scan else { return false };
        let mut looks = 0;
        let count = self.config.limits.connections_max;
        for index in first..count {
            let conn = &self.conns[index as usize];
            if !is_decided(conn.stage) || conn.ruled.epoch == scene.epoch() {
                continue;
            }
            if looks == LOOKS_MAX {
                self.scan = Some(index);
                return true;
            }
            looks += 1;
            self.rule(scene, index);
        }
        self.scan = None;
        false
    }
}

/// Whether policy has been asked about a connection in this stage.
const fn is_decided(stage: Stage) -> bool {
    matches!(stage, Stage::Connecting | Stage::Relaying)
}
