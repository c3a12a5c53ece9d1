//! From an allowed connection to two that are joined: connect to the server, and to the next back end if that fails.

use std::os::fd::AsFd;

use super::admit::take;
use super::conn::{Chunk, Side, Stage};
use super::sockets;
use super::{Core, Scene};
use crate::flow::tcp::Phase;
use crate::proxy::config::ListenMode;
use crate::proxy::counters::{Fate, Refusal};
use crate::proxy::preamble::{self, Claim};
use crate::proxy::uring::Op;

impl Core {
    /// Connects to the server that was chosen.
    pub(super) fn connect(&mut self, scene: &Scene<'_>, index: u32) {
        let conn = &self.conns[index as usize];
        let explicit = self.config.mode == ListenMode::Explicit;
        let to = match self.backends.address(conn.backend) {
            Some(backend) if explicit => backend,
            _ => sockets::address_of(conn.wanted),
        };
        let from = self.config.keep_source.then_some(conn.source.0);
        let Ok(server) = sockets::open(to, from) else {
            return self.refuse(scene, index, Refusal::Resources);
        };
        let token = self.begin(index, Op::Connect);
        self.ring.connect(server.as_fd(), to, token);
        let now = scene.millis();
        let conn = &mut self.conns[index as usize];
        (conn.server, conn.stage, conn.since, conn.late) = (Some(server), Stage::Connecting, now, false);
        if self.config.timeouts.connect_ms > 0 {
            self.wheel.set(index, now, self.config.timeouts.connect_ms);
        }
    }

    /// The server has accepted, or not.
    pub(super) fn connected(&mut self, scene: &Scene<'_>, index: u32, result: i32) {
        let explicit = self.config.mode == ListenMode::Explicit;
        let conn = &mut self.conns[index as usize];
        let number = conn.backend;
        let backend = self.proxy.backend(usize::from(number)).filter(|_| explicit);
        if result < 0 {
            if let Some(backend) = backend {
                backend.failed.add(1);
            }
            if let Some(server) = take(&mut conn.server, false) {
                self.ring.close(server);
            }
            if explicit {
                return self.judge(scene, index);
            }
            let late = conn.late;
            let refusal = if late { Refusal::ConnectTimeout } else { Refusal::ConnectFailed };
            return self.refuse(scene, index, refusal);
        }
        if let Some(backend) = backend {
            backend.connected.add(1);
            backend.live.set(u64::from(self.backends.enter(number)));
        }
        let conn = &mut self.conns[index as usize];
        (conn.stage, conn.active) = (Stage::Relaying, scene.millis());
        self.proxy.opened.add(1);
        self.proxy.pending.set(self.proxy.pending.get().saturating_sub(1));
        self.proxy.live.add(1);
        self.tell_flow(scene, index, Phase::Established);
        self.schedule(scene, index);
        if self.config.preamble.is_some() && !self.introduce(index) {
            return self.reset_both(scene, index, Fate::Evicted);
        }
        for side in Side::BOTH {
            self.pump(scene, index, side);
        }
    }

    /// Puts a PROXY header in front of what goes to the server.
    fn introduce(&mut self, index: u32) -> bool {
        let Some(version) = self.config.preamble else { return true };
        let Some(buffer) = self.ring.take() else { return false };
        let conn = &mut self.conns[index as usize];
        let mut destination = sockets::address_of(conn.wanted);
        if destination.ip().is_unspecified() {
            let own = conn.client.as_ref().and_then(sockets::local);
            destination = own.unwrap_or(destination);
        }
        let claim = Claim { source: sockets::address_of(conn.source), destination };
        let mut bytes = [0; preamble::WRITE_MAX];
        let length = preamble::write(version, Some(&claim), &mut bytes).unwrap_or(0);
        self.ring.write(&buffer, &bytes[..length.min(bytes.len())]);
        let header = Chunk { buffer, from: 0, to: u16::try_from(length).unwrap_or(0) };
        let way = conn.way(Side::Request);
        way.second = way.first.take();
        way.first = Some(header);
        true
    }
}
