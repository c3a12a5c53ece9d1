//! Connections whose time has come: to connect, to say who they are, to say anything, to take what waits for them.

use super::conn::{Side, Stage};
use super::finish::End;
use super::{Core, LOOKS_MAX, Scene};
use crate::flow::tcp::Phase;
use crate::proxy::counters::{Fate, Refusal};
use crate::proxy::uring::{Op, Token};

/// How often the flow table is told of a connection that moves bytes, milliseconds.
const TELL_MILLIS: u32 = 1000;
/// How often it is told that a silent one lives; far below [`crate::flow::timeouts::TCP_CLOSING`], the shortest time
/// after which it would be forgotten.
const ALIVE_MILLIS: u32 = 60_000;
/// How often, while slow readers hold all buffers, the slowest is looked for, milliseconds.
const EVICT_MILLIS: u32 = 100;
/// A reader that has taken something within this time is not slow, milliseconds.
const SLOW_MILLIS: u32 = 250;

impl Core {
    /// Looks at some connections whose time has come; whether there may be more.
    pub(super) fn look_at_due(&mut self, scene: &Scene<'_>) -> bool {
        for _ in 0..LOOKS_MAX {
            let Some(index) = self.wheel.take(scene.millis()) else { return false };
            match self.conns[index as usize].stage {
                Stage::Free | Stage::Closing => {}
                Stage::Header => self.refuse(scene, index, Refusal::HeaderTimeout),
                Stage::Connecting => self.connecting_due(scene, index),
                Stage::Relaying => self.relaying_due(scene, index),
            }
        }
        true
    }

    fn connecting_due(&mut self, scene: &Scene<'_>, index: u32) {
        let limit = self.config.timeouts.connect_ms;
        let conn = &mut self.conns[index as usize];
        let spent = scene.millis().wrapping_sub(conn.since);
        if let Some(left) = limit.checked_sub(spent).filter(|left| *left > 0) {
            return self.wheel.set(index, scene.millis(), left);
        }
        // Its completion finds the next back end, or ends it.
        conn.late = true;
        self.ring.cancel(Token { op: Op::Connect, index });
    }

    fn relaying_due(&mut self, scene: &Scene<'_>, index: u32) {
        let now = scene.millis();
        let timeouts = self.config.timeouts;
        let conn = &self.conns[index as usize];
        let past = |since: u32, limit: u32| limit > 0 && now.wrapping_sub(since) >= limit;
        if conn.ways.iter().any(|way| way.blocked.is_some_and(|since| past(since, timeouts.stalled_ms))) {
            return self.end(scene, index, End::Over(Fate::Stalled));
        }
        if past(conn.active, timeouts.idle_ms) {
            return self.end(scene, index, End::Over(Fate::IdleTimeout));
        }
        if conn.ruled.drains.is_some_and(|until| now.wrapping_sub(until) < 1 << 31)
            && !self.rule(scene, index)
        {
            return;
        }
        if now.wrapping_sub(self.conns[index as usize].active) >= TELL_MILLIS {
            self.doze(index);
        }
        let conn = &self.conns[index as usize];
        let half = conn.ways.iter().any(|way| way.shut);
        self.tell_flow(scene, index, if half { Phase::FinWait } else { Phase::Established });
        self.schedule(scene, index);
    }

    /// Lets the reads of a silent connection wait by polls; each read completes by being cancelled.
    fn doze(&mut self, index: u32) {
        for side in Side::BOTH {
            let conn = &mut self.conns[index as usize];
            if conn.is_busy(side.receive()) && !conn.ways[side as usize].dozes {
                conn.way(side).dozes = true;
                self.ring.cancel(Token { op: side.receive(), index });
            }
        }
    }

    /// Sets when a relayed connection is looked at next.
    pub(super) fn schedule(&mut self, scene: &Scene<'_>, index: u32) {
        let now = scene.millis();
        let timeouts = self.config.timeouts;
        let conn = &self.conns[index as usize];
        let left = |since: u32, limit: u32| {
            let spent = now.wrapping_sub(since);
            if limit > 0 { Some(limit.saturating_sub(spent)) } else { None }
        };
        let tell = if now.wrapping_sub(conn.active) < TELL_MILLIS { TELL_MILLIS } else { ALIVE_MILLIS };
        let idle = left(conn.active, timeouts.idle_ms);
        let stalled = conn.ways.iter().filter_map(|way| left(way.blocked?, timeouts.stalled_ms));
        let drained = conn.ruled.drains.map(|until| {
            let left = until.wrapping_sub(now);
            if left < 1 << 31 { left } else { 0 }
        });
        let next = stalled.chain(idle).chain(drained).fold(tell, u32::min);
        self.wheel.set(index, now, next);
    }

    /// Slow readers hold all buffers: the slowest is reset.
    pub(super) fn evict(&mut self, scene: &Scene<'_>) {
        let now = scene.millis();
        if now.wrapping_sub(self.evicted) < EVICT_MILLIS {
            return;
        }
        self.evicted = now;
        let slowness = |index: usize| {
            let conn = &self.conns[index];
            let ways = conn.ways.iter().filter(|way| way.first.is_some() && conn.stage == Stage::Relaying);
            ways.filter_map(|way| way.blocked).map(|since| now.wrapping_sub(since)).max()
        };
        let slowest = (0..self.conns.len()).filter_map(|index| Some((slowness(index)?, index))).max();
        if let Some((millis, index)) = slowest
            && millis >= SLOW_MILLIS
            && let Ok(index) = u32::try_from(index)
        {
            self.end(scene, index, End::Over(Fate::Evicted));
        }
    }
}
