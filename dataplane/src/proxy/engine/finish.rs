//! The end of a connection: why, what its two ends see, and when its place is free again.
//!
//! A socket that an operation still waits on would stay open in the kernel, so the operations are cancelled first, and
//! the sockets closed when the last has completed.

use super::admit::take;
use super::conn::{Conn, Side, Stage};
use super::{Core, Scene};
use crate::proxy::config::OnDeny;
use crate::proxy::counters::{Fate, Refusal};
use crate::proxy::uring::{Op, Token};
use crate::records::Ending;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is not relayed.
    Refused(Refusal),
    /// It was relayed.
    Over(Fate),
    /// The proxy stops.
    Stopped,
}

impl Core {
    /// Ends a connection. Does nothing to one that is over.
    pub(super) fn end(&mut self, scene: &Scene<'_>, index: u32, end: End) {
        let conn = &mut self.conns[index as usize];
        let relaying = conn.stage == Stage::Relaying;
        if matches!(conn.stage, Stage::Free | Stage::Closing) {
            return;
        }
        let end = match end {
            End::Stopped if relaying => End::Over(Fate::Stopped),
            End::Stopped => End::Refused(Refusal::Stopped),
            end => end,
        };
        conn.stage = Stage::Closing;
        conn.reset = match end {
            End::Refused(Refusal::Policy) => [self.config.on_deny == OnDeny::Reset, true],
            End::Refused(Refusal::ClientGone) | End::Over(Fate::Finished | Fate::IdleTimeout) => [false; 2],
            _ => [true; 2],
        };
        match end {
            End::Refused(refusal) => self.count_refusal(refusal),
            End::Over(fate) => {
                self.proxy.ended(fate).add(1);
                self.proxy.live.set(self.proxy.live.get().saturating_sub(1));
                let number = self.conns[index as usize].backend;
                if let Some(backend) = self.proxy.backend(usize::from(number)) {
                    backend.live.set(u64::from(self.backends.leave(number)));
                }
            }
            End::Stopped => {}
        }
        self.end_flow(scene, index, ending_of(end));
        self.wheel.clear(index);
        let conn = &mut self.conns[index as usize];
        if conn.counted {
            self.sources.leave(conn.source.0);
        }
        // Sends are over with the next system call anyway.
        for op in conn.operations().filter(|op| !matches!(op, Op::ToClient | Op::ToServer)) {
            self.ring.cancel(Token { op, index });
        }
        self.settle(index);
    }

    /// Resets both ends of a relayed connection.
    pub(super) fn reset_both(&mut self, scene: &Scene<'_>, index: u32, fate: Fate) {
        self.end(scene, index, End::Over(fate));
    }

    /// Frees the place of a connection that is over, once no operation is under way.
    pub(super) fn settle(&mut self, index: u32) {
        let conn = &mut self.conns[index as usize];
        if conn.stage != Stage::Closing || !conn.is_idle() {
            return;
        }
        let [client, server] = conn.reset;
        let sockets = [take(&mut conn.client, client), take(&mut conn.server, server)];
        for socket in sockets.into_iter().flatten() {
            self.ring.close(socket);
        }
        for side in Side::BOTH {
            let way = conn.way(side);
            if way.starved {
                self.starved.retain(|one| one >> 1 != index);
            }
            for chunk in [way.first.take(), way.second.take()].into_iter().flatten() {
                self.ring.release(chunk.buffer);
            }
            if let Some(pipe) = way.pipe.take() {
                self.pipes.give_back(pipe, way.held);
            }
        }
        *conn = Conn::free();
        self.free.push(index);
    }
}

/// The word of flow records for it.
const fn ending_of(end: End) -> Ending {
    match end {
        End::Over(Fate::Finished) => Ending::Finished,
        End::Over(Fate::IdleTimeout) => Ending::TimedOut,
        End::Over(Fate::Revoked) | End::Refused(Refusal::Revoked) => Ending::Cut,
        _ => Ending::Reset,
    }
}
