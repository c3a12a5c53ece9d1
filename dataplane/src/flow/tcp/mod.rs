//! TCP as seen from between the ends: one connection, one segment at a time, as a function over values.
//!
//! What passes is what Linux conntrack 6.18 lets pass with `nf_conntrack_tcp_loose=0` and a ruleset that drops
//! invalid packets, with these differences, each stricter:
//! - A RST in answer to a SYN must acknowledge it (RFC 9293 3.10.7.3); conntrack believes one from anybody.
//! - Data beyond the receiver's window is dropped and teaches nothing; conntrack may move its window along.
//! - A SYN on a connection that is over is never waved through: it is a new connection, and policy decides it.
//!
//! A RST inside the window but not at the expected number passes and changes nothing, because its receiver sends a
//! challenge ACK, and that answer must be able to arrive (RFC 5961 3.2). Two of NPF's published expectations are
//! not followed, as in conntrack: an acknowledgement of data not yet seen is dropped (the data may have taken
//! another path, but then so may a forgery), and a segment that begins exactly at the right edge of the window
//! passes (its receiver drops it and answers). A third one, a FIN without ACK, is dropped by its flags.

mod phase;
mod window;

use phase::{Kind, Next};
use window::{Fit, Handshake};

pub use phase::Phase;
pub use window::Peer;

use super::key::Orientation;
use crate::headers::{Tcp, flags};
use crate::verdict::DropReason;

/// How connections may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// With a SYN.
    #[default]
    Strict,
    /// Also in the middle, with an ACK. Window scaling is unknown then, so such connections are not held to their
    /// windows. Only for the declared grace after a start without the previous flow table.
    Loose,
}

/// What to do with a segment that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It belongs to the connection.
    Pass,
    /// It passes, but says nothing certain about the connection, which therefore lives no longer for it.
    Ignored,
    /// It is the SYN of a new connection on the ports of one that is over: decide it anew. Nothing has changed.
    Reopen,
}

/// A segment that was let through although it did not fit, kept until its answer tells who was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The initiator sent a SYN into a connection that is not over.
    Syn {
        /// What a SYN-ACK in answer to it acknowledges.
        end: u32,
        /// Its window.
        window: u16,
        /// The window scale it offers.
        scale: Option<u8>,
    },
    /// The responder answered a SYN with an ACK (a challenge, or it holds an older connection).
    Ack {
        /// One past its data.
        end: u32,
        /// What it acknowledges, and so the sequence number of the RST it provokes.
        acknowledgement: u32,
    },
}

/// The state of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where it stands.
    pub phase: Phase,
    /// Which end opened it.
    pub initiator: Orientation,
    /// The two sides, by [`Orientation::index`].
    pub peers: [Peer; 2],
    /// The responder has answered.
    pub replied: bool,
    /// The handshake was completed by the side that began it: not a guess of an off-path sender.
    pub assured: bool,
    /// Both sides sent SYN.
    pub simultaneous: bool,
    /// Picked up in the middle: windows are not enforced.
    pub liberal: bool,
    /// See [`Note`].
    pub note: Option<Note>,
}

/// Whether a segment is a SYN and nothing else: the only kind that may open or reopen in [`Mode::Strict`].
#[must_use]
pub fn is_opening(tcp: &Tcp) -> bool {
    Kind::of(tcp.flags) == Ok(Kind::Syn)
}

/// Whether a segment only carries data or acknowledges it: most segments there are.
#[inline(always)]
#[must_use]
pub const fn is_plain(tcp: &Tcp) -> bool {
    tcp.flags & (flags::SYN | flags::FIN | flags::RST | flags::ACK) == flags::ACK
}

/// Takes a segment that [`is_plain`] on an established connection about which nothing is in doubt: both sides have
/// acknowledged, the handshake was seen whole, and there is no [`Note`]. Does to the two sides what
/// [`Connection::step`] does, and nothing else of the connection changes.
///
/// # Errors
/// As [`Connection::step`]; the two sides may be half updated then, so work on copies.
#[inline(always)]
pub(super) fn step_plain(sender: &mut Peer, receiver: &mut Peer, tcp: &Tcp) -> Result<Step, DropReason> {
    let fit = window::advance(sender, receiver, tcp, Handshake { syn_sent: false, syn_received: false })?;
    Ok(if fit == Fit::Inside { Step::Pass } else { Step::Ignored })
}

impl Connection {
    /// Opens a connection with the first segment seen of it, sent by `sender`, who counts as its initiator; see
    /// [`Connection::opened_by`].
    ///
    /// # Errors
    /// [`DropReason::TcpFlags`] for flags that no stack sends; [`DropReason::TcpNoFlow`] for a segment that opens
    /// nothing: anything but a SYN, or in [`Mode::Loose`] anything but a SYN or an ACK.
    pub fn open(tcp: &Tcp, sender: Orientation, mode: Mode) -> Result<Self, DropReason> {
        let mut connection = Self {
            phase: Phase::SynSent,
            initiator: sender,
            peers: [Peer::default(); 2],
            replied: false,
            assured: false,
            simultaneous: false,
            liberal: false,
            note: None,
        };
        let opener = &mut connection.peers[sender.index()];
        match (Kind::of(tcp.flags)?, mode) {
            (Kind::Syn, _) => *opener = Peer::from_syn(tcp),
            (Kind::Ack, Mode::Loose) => {
                *opener = Peer::from_middle(tcp, 0);
                connection.phase = Phase::Established;
                connection.liberal = true;
            }
            _ => return Err(DropReason::TcpNoFlow),
        }
        Ok(connection)
    }

    /// The same connection, just opened, when policy says that `initiator` must have opened it: in the middle of a
    /// connection the first segment seen may as well be a reply.
    #[must_use]
    pub fn opened_by(self, initiator: Orientation) -> Self {
        Self { initiator, replied: self.initiator != initiator, ..self }
    }

    /// Takes the next segment, sent in direction `from`.
    ///
    /// # Errors
    /// The reason to drop it; the connection is unchanged then.
    pub fn step(&mut self, from: Orientation, tcp: &Tcp) -> Result<Step, DropReason> {
        let kind = Kind::of(tcp.flags)?;
        let original = from == self.initiator;
        let mut new = *self;
        let next = match phase::next(self.phase, original, kind) {
            Next::Refuse(reason) => return Err(reason),
            Next::Reopen => return Ok(Step::Reopen),
            Next::Ignore => match new.answers_noted_syn(from, kind, tcp) {
                true => Phase::SynReceived,
                false => {
                    self.note_ignored(kind, original, tcp);
                    return Ok(Step::Ignored);
                }
            },
            Next::To(phase) => phase,
        };
        if self.is_challenge_to_noted_syn(next, original, kind) {
            self.note = None;
            return Ok(Step::Ignored);
        }
        let reset = if kind == Kind::Rst { self.judge_reset(from, tcp)? } else { Reset::Check(next) };
        let phase = match reset {
            Reset::Believe => Phase::Closed,
            Reset::Check(phase) => {
                if new.fit(from, tcp)? == Fit::Stale && !new.liberal {
                    return Ok(Step::Ignored);
                }
                new.refined(phase, from, kind)
            }
        };
        new.settle(phase, from);
        *self = new;
        Ok(Step::Pass)
    }

    fn fit(&mut self, from: Orientation, tcp: &Tcp) -> Result<Fit, DropReason> {
        let handshake = Handshake {
            syn_sent: self.phase == Phase::SynSent,
            syn_received: self.phase == Phase::SynReceived,
        };
        let [first, second] = &mut self.peers;
        let (sender, receiver) = match from {
            Orientation::FromFirst => (first, second),
            Orientation::FromSecond => (second, first),
        };
        match window::advance(sender, receiver, tcp, handshake) {
            Err(_) if self.liberal => Ok(Fit::Stale),
            fit => fit,
        }
    }

    /// The phase table does not know simultaneous open.
    fn refined(&mut self, phase: Phase, from: Orientation, kind: Kind) -> Phase {
        if phase == Phase::SynCrossed {
            self.simultaneous = true;
        }
        let completes = self.simultaneous && kind == Kind::Ack && from != self.initiator;
        if phase == Phase::SynReceived && completes { Phase::Established } else { phase }
    }

    /// Records an accepted segment.
    fn settle(&mut self, phase: Phase, from: Orientation) {
        let handshake_done = matches!(self.phase, Phase::SynReceived | Phase::Established);
        self.assured |= self.replied && handshake_done && phase == Phase::Established;
        self.replied |= from != self.initiator;
        self.phase = phase;
        self.note = None;
    }

    /// Whether this SYN-ACK answers a SYN that was let through before: then the ends agree and we are the ones out
    /// of step. If so, the connection is set back to that SYN.
    fn answers_noted_syn(&mut self, from: Orientation, kind: Kind, tcp: &Tcp) -> bool {
        let Some(Note::Syn { end, window, scale }) = self.note else { return false };
        if kind != Kind::SynAck || from == self.initiator || tcp.acknowledgement != end {
            return false;
        }
        let opener = Peer {
            end,
            max_end: end,
            max_window: u32::from(window).max(1),
            offered: scale,
            scale: scale.unwrap_or(0),
            ..Peer::default()
        };
        self.peers[self.initiator.index()] = opener;
        self.peers[self.initiator.reverse().index()] = Peer::default();
        self.phase = Phase::SynSent;
        self.liberal = false;
        true
    }

    fn note_ignored(&mut self, kind: Kind, original: bool, tcp: &Tcp) {
        let end = window::segment_end(tcp);
        self.note = match kind {
            Kind::Syn if original => Some(Note::Syn {
                end,
                window: tcp.window,
                scale: tcp.window_scale.map(|scale| scale.min(14)),
            }),
            Kind::Ack if !original => Some(Note::Ack { end, acknowledgement: tcp.acknowledgement }),
            _ => None,
        };
    }

    /// In `LastAck` any ACK looks like the one for the last FIN; after a SYN was let through it is the challenge
    /// that RFC 5961 4.2 makes the other side send.
    fn is_challenge_to_noted_syn(&self, next: Phase, original: bool, kind: Kind) -> bool {
        self.phase == Phase::LastAck
            && next == Phase::TimeWait
            && kind == Kind::Ack
            && !original
            && matches!(self.note, Some(Note::Syn { .. }))
    }

    fn judge_reset(&self, from: Orientation, tcp: &Tcp) -> Result<Reset, DropReason> {
        let (sender, receiver) = (&self.peers[from.index()], &self.peers[from.reverse().index()]);
        let original = from == self.initiator;
        // The numbers may be of a connection that already follows this one on the same ports, and there is little
        // left to protect.
        if self.phase.is_closing() {
            return Ok(Reset::Believe);
        }
        let answers_note = match self.note {
            Some(Note::Syn { end, .. }) => self.replied && !original && tcp.acknowledgement == end,
            Some(Note::Ack { acknowledgement, .. }) => original && tcp.sequence == acknowledgement,
            None => false,
        };
        if answers_note {
            return Ok(Reset::Believe);
        }
        if matches!(self.phase, Phase::SynSent | Phase::SynCrossed) && !self.liberal {
            let acks_syn = tcp.flags & flags::ACK != 0 && tcp.acknowledgement == receiver.end;
            let own = original && tcp.sequence == sender.end;
            return if acks_syn || own { Ok(Reset::Believe) } else { Err(DropReason::TcpChallenge) };
        }
        if !receiver.acked || matches!(self.note, Some(Note::Syn { .. })) {
            return Ok(Reset::Check(Phase::Closed));
        }
        let established = self.assured && self.phase == Phase::Established;
        if tcp.sequence == 0 && !established {
            return Ok(Reset::Check(Phase::Closed));
        }
        if window::before(tcp.sequence, receiver.max_ack) {
            return Err(DropReason::TcpChallenge);
        }
        let exact = tcp.sequence == receiver.max_ack || tcp.sequence == sender.end;
        Ok(Reset::Check(if !established || exact { Phase::Closed } else { self.phase }))
    }
}

/// What to make of a RST.
enum Reset {
    /// It ends the connection.
    Believe,
    /// It leads to this phase if it is in the window.
    Check(Phase),
}

#[cfg(test)]
mod tests;
