//! Clients that are refused before there is a connection: the kernel is told whom policy denies, and what it then
//! refuses is decided, counted and recorded here, as if it had been accepted.
//!
//! What is told holds under the policy in force only. Before the worker reports a newer one, the kernel refuses
//! nobody, and what it has refused until then is accounted for under the policy that was asked.

use std::sync::Arc;

use super::conn::Conn;
use super::{Core, Scene, sockets};
use crate::clock::Now;
use crate::policy::Snapshot;
use crate::proxy::config::{ListenMode, OnDeny, ProxyConfig};
use crate::proxy::counters::Refusal;
use crate::proxy::early::{Client, Early};
use crate::verdict::Epoch;

/// Refusals accounted for per turn; each takes about a microsecond.
const REFUSALS_MAX: usize = 1024;
/// How often they are looked for while there are some, and while there are none, milliseconds. The program has room
/// for some 18,000; beyond that, clients are accepted before they are refused.
const SOON: u32 = 20;
const LATER: u32 = 250;

/// What the kernel does for this worker.
pub(super) struct Refusing {
    /// `None`: nothing.
    kernel: Option<Early>,
    /// By what it refuses, while it refuses anybody.
    by: Option<Arc<Snapshot>>,
    /// How soon refusals are looked for again, milliseconds.
    again: u32,
}

impl Refusing {
    /// Starts it, if the listeners are of the kind for which it may: a transparent one must not be passed by, and an
    /// orderly close needs a connection. Also says why not, if it should but cannot.
    pub(super) fn start(config: &ProxyConfig) -> (Self, Option<String>) {
        let wanted = config.early && config.mode == ListenMode::Explicit && config.on_deny == OnDeny::Reset;
        let (kernel, why) = match wanted.then(Early::start) {
            Some(Ok(kernel)) => (Some(kernel), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        (Self { kernel, by: None, again: LATER }, why)
    }

    pub(super) const fn is_on(&self) -> bool {
        self.kernel.is_some()
    }

    /// How soon there may be refusals to account for, milliseconds.
    pub(super) fn patience(&self) -> Option<u32> {
        self.by.is_some().then_some(self.again)
    }
}

impl Core {
    /// Tells the kernel of a client that policy has denied, unless the answer depends on more than it sees: on what a
    /// trusted peer says, or on the back end whose turn it is.
    pub(super) fn deny_early(&mut self, scene: &Scene<'_>, index: u32) {
        let conn = &self.conns[index as usize];
        let (Some(kernel), Some(snapshot)) = (&mut self.refusing.kernel, scene.snapshot) else { return };
        let told = self.config.trusts(conn.source.0);
        let by_turn = conn.destination != conn.wanted
            && self.config.policy_destination.is_none()
            && self.config.backends.len() > 1;
        let own = sockets::address_of(conn.wanted);
        let own = match &conn.client {
            Some(client) if own.ip().is_unspecified() => sockets::local(client),
            Some(_) => Some(own),
            None => None,
        };
        let Some(own) = own.filter(|_| !told && !by_turn) else { return };
        let (destination, port) = sockets::end_of(own);
        let client = Client { source: conn.source.0, destination, port };
        let mut done = kernel.deny(&client, conn.source.1, snapshot.epoch);
        if self.refusing.by.is_none() {
            done = done.and_then(|()| kernel.enforce(snapshot.epoch));
            self.refusing.by = Some(Arc::clone(snapshot));
        }
        if done.is_err() {
            // It still accounts for what it has refused, and refuses nobody from now on.
            self.leave_policy();
            self.refusing.kernel = None;
        }
    }

    /// Has the kernel refuse nobody by the policy that was in force until now, and accounts for whom it has refused.
    pub(super) fn leave_policy(&mut self) {
        let Some(by) = self.refusing.by.take() else { return };
        if self.refusing.kernel.as_mut().is_some_and(|kernel| kernel.enforce(Epoch(0)).is_err()) {
            self.refusing.kernel = None;
            return;
        }
        let scene = Scene { snapshot: Some(&by), now: Now::read() };
        while self.account_next(&scene) {}
    }

    /// Refuses nobody early any more: the listeners may be a successor's, and this worker reads no newer policy.
    pub(super) fn stop_refusing(&mut self) {
        self.leave_policy();
        self.refusing.kernel = None;
    }

    /// Accounts for some of whom the kernel has refused; whether there may be more.
    pub(super) fn account_early(&mut self, scene: &Scene<'_>) -> bool {
        if self.refusing.by.is_none() {
            return false;
        }
        let count = (0..REFUSALS_MAX).take_while(|_| self.account_next(scene)).count();
        self.refusing.again = if count > 0 { SOON } else { LATER };
        count == REFUSALS_MAX
    }

    fn account_next(&mut self, scene: &Scene<'_>) -> bool {
        let refusal = self.refusing.kernel.as_mut().and_then(Early::next);
        if let Some((client, source_port)) = refusal {
            self.account(scene, &client, source_port);
        }
        refusal.is_some()
    }

    /// Decides, counts and records a connection that never was.
    fn account(&mut self, scene: &Scene<'_>, client: &Client, source_port: u16) {
        let Some(snapshot) = scene.snapshot else { return };
        let asked = (client.destination, client.port);
        let is_own = |own: &&core::net::SocketAddr| {
            own.port() == asked.1 && (own.ip().is_unspecified() || sockets::end_of(**own) == asked)
        };
        let wanted = self.listening.iter().find(is_own).map_or(asked, |own| sockets::end_of(*own));
        let destination = self.asked_of(snapshot, wanted, self.backends.address(0));
        // A place behind those that connections have.
        let index = self.config.limits.connections_max;
        let now = scene.millis();
        let conn = &mut self.conns[index as usize];
        *conn = Conn::free();
        (conn.source, conn.wanted, conn.destination) = ((client.source, source_port), wanted, destination);
        (conn.opened, conn.since, conn.active) = (now, now, now);
        self.proxy.early.add(1);
        let refusal = match self.decide(scene, snapshot, index) {
            Err(refusal) => refusal,
            // The program was about to refuse it when this policy came into force, which allows it.
            Ok(()) => {
                self.forget_flow(scene, index);
                Refusal::Policy
            }
        };
        self.proxy.refused(refusal).add(1);
    }
}
