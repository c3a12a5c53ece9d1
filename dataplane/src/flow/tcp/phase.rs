//! Where a connection stands, and how segments move it on.

use super::super::timeouts;
use crate::headers::flags;
use crate::verdict::DropReason;

/// The phases of a connection as seen from between its ends: Linux conntrack's states
/// (`net/netfilter/nf_conntrack_proto_tcp.c`), so that both can be compared packet by packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// The initiator sent SYN.
    SynSent = 1,
    /// Both sent SYN: simultaneous open (RFC 9293 3.5).
    SynCrossed = 2,
    /// SYN was answered by SYN-ACK.
    SynReceived = 3,
    /// The handshake is complete.
    Established = 4,
    /// One side sent FIN.
    FinWait = 5,
    /// That FIN was acknowledged.
    CloseWait = 6,
    /// Both sides sent FIN.
    LastAck = 7,
    /// Both FINs are acknowledged.
    TimeWait = 8,
    /// Reset.
    Closed = 9,
}

impl Phase {
    pub(in super::super) const fn from_bits(bits: u32) -> Self {
        match bits {
            1 => Self::SynSent,
            2 => Self::SynCrossed,
            3 => Self::SynReceived,
            4 => Self::Established,
            5 => Self::FinWait,
            6 => Self::CloseWait,
            7 => Self::LastAck,
            8 => Self::TimeWait,
            _ => Self::Closed,
        }
    }

    /// The handshake is not complete.
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, Self::SynSent | Self::SynCrossed | Self::SynReceived)
    }

    /// At least one side has begun to close.
    #[must_use]
    pub const fn is_closing(self) -> bool {
        matches!(self, Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Closed)
    }

    /// The connection is over: only a new SYN has a meaning.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Closed)
    }

    /// How long the connection may stay silent in this phase, milliseconds.
    #[must_use]
    pub const fn timeout_millis(self) -> u32 {
        match self {
            Self::SynSent | Self::SynCrossed => timeouts::TCP_SYN_SENT,
            Self::SynReceived => timeouts::TCP_SYN_RECEIVED,
            Self::Established => timeouts::TCP_ESTABLISHED,
            Self::FinWait | Self::CloseWait => timeouts::TCP_CLOSING,
            Self::LastAck => timeouts::TCP_LAST_ACK,
            Self::TimeWait => timeouts::TCP_TIME_WAIT,
            Self::Closed => timeouts::TCP_CLOSED,
        }
    }
}

/// What a segment is for, by its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
}

impl Kind {
    /// Only what stacks send: SYN alone or with ACK, RST alone or with ACK, ACK alone or with FIN. A FIN without
    /// ACK is refused because every segment after the first SYN carries ACK (RFC 9293 3.10.7.4, fifth check).
    pub(super) const fn of(bits: u8) -> Result<Self, DropReason> {
        const SYN_ACK: u8 = flags::SYN | flags::ACK;
        const FIN_ACK: u8 = flags::FIN | flags::ACK;
        const RST_ACK: u8 = flags::RST | flags::ACK;
        match bits & (flags::FIN | flags::SYN | flags::RST | flags::ACK) {
            flags::SYN => Ok(Self::Syn),
            SYN_ACK => Ok(Self::SynAck),
            FIN_ACK => Ok(Self::Fin),
            flags::ACK => Ok(Self::Ack),
            flags::RST | RST_ACK => Ok(Self::Rst),
            _ => Err(DropReason::TcpFlags),
        }
    }
}

/// What a segment of some kind means in some phase, windows aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// If it is in the window, the connection is in this phase afterwards.
    To(Phase),
    /// It may be valid in the eyes of its receiver, who will answer; let it pass and learn from the answer.
    Ignore,
    /// It begins a new connection on the ports of one that is over.
    Reopen,
    /// It has no place here.
    Refuse(DropReason),
}

/// The transitions. `original` is the initiator's direction.
pub(super) const fn next(phase: Phase, original: bool, kind: Kind) -> Next {
    use Phase::{
        CloseWait, Closed, Established, FinWait, LastAck, SynCrossed, SynReceived, SynSent, TimeWait,
    };
    match (kind, phase) {
        (Kind::Syn, TimeWait | Closed) => Next::Reopen,
        (Kind::Syn, SynSent) if original => Next::To(SynSent),
        (Kind::Syn, SynSent | SynCrossed) => Next::To(SynCrossed),
        // The initiator may have restarted: its peer knows (RFC 5961 4).
        (Kind::Syn, _) if original => Next::Ignore,
        (Kind::Syn, _) => Next::Refuse(DropReason::TcpChallenge),

        (Kind::SynAck, SynCrossed) => Next::To(SynReceived),
        (Kind::SynAck, SynSent) if !original => Next::To(SynReceived),
        (Kind::SynAck, SynReceived) if original => Next::To(SynReceived),
        (Kind::SynAck, _) if original => Next::Refuse(DropReason::TcpState),
        (Kind::SynAck, _) => Next::Ignore,

        (Kind::Fin, SynSent | SynCrossed) => Next::Refuse(DropReason::TcpState),
        (Kind::Fin, SynReceived | Established) => Next::To(FinWait),
        (Kind::Fin, FinWait | CloseWait | LastAck) => Next::To(LastAck),

        // A half-open peer answers a SYN with an ACK that provokes a RST (RFC 9293 3.5.1).
        (Kind::Ack, SynSent | SynCrossed) if !original => Next::Ignore,
        (Kind::Ack, SynSent | SynCrossed) => Next::Refuse(DropReason::TcpState),
        (Kind::Ack, SynReceived) if !original => Next::To(SynReceived),
        (Kind::Ack, SynReceived | Established) => Next::To(Established),
        (Kind::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        (Kind::Ack, LastAck) => Next::To(TimeWait),
        (Kind::Fin | Kind::Ack, TimeWait) => Next::To(TimeWait),
        (Kind::Fin | Kind::Ack, Closed) | (Kind::Rst, _) => Next::To(Closed),
    }
}
