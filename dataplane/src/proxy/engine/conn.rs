//! One connection: its two sockets, its two ways, and what policy said of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::address::Address;
use crate::flow::Ruling;
use crate::proxy::uring::{Buffer, Op};
use crate::verdict::{DraftAnswers, Epoch, OnRevoke, RuleId};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The place is free.
    Free,
    /// A trusted peer has yet to say for whom it connects.
    Header,
    /// Policy allowed it; a server has yet to accept it.
    Connecting,
    /// Bytes go both ways.
    Relaying,
    /// It is over; its operations have yet to complete.
    Closing,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// From the client to the server.
    Request = 0,
    /// From the server to the client.
    Response = 1,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Request, Self::Response];

    pub(super) const fn receive(self) -> Op {
        match self {
            Self::Request => Op::FromClient,
            Self::Response => Op::FromServer,
        }
    }

    pub(super) const fn send(self) -> Op {
        match self {
            Self::Request => Op::ToServer,
            Self::Response => Op::ToClient,
        }
    }

    pub(super) const fn readable(self) -> Op {
        match self {
            Self::Request => Op::ClientReadable,
            Self::Response => Op::ServerReadable,
        }
    }

    pub(super) const fn writable(self) -> Op {
        match self {
            Self::Request => Op::ServerWritable,
            Self::Response => Op::ClientWritable,
        }
    }
}

/// Bytes on their way, in a buffer.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) buffer: Buffer,
    pub(super) from: u16,
    pub(super) to: u16,
}

/// A send that completes only if it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Quiet {
    #[default]
    None,
    Queued,
    /// Without a completion by now, all was taken.
    Submitted,
}

/// One direction: at most two chunks, or what is in a pipe, between one socket and the other.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Being sent.
    pub(super) first: Option<Chunk>,
    /// Comes after it.
    pub(super) second: Option<Chunk>,
    /// How `first` is being sent.
    pub(super) quiet: Quiet,
    /// The pipe in use, by number.
    pub(super) pipe: Option<u16>,
    /// Bytes in it.
    pub(super) held: u32,
    /// Since when the receiving socket takes nothing: milliseconds, modulo 2^32.
    pub(super) blocked: Option<u32>,
    /// It moves much, so it goes through pipes where there is one.
    pub(super) bulk: bool,
    /// How often one after the other it moved much, or as bulk little.
    pub(super) streak: u8,
    /// The sender has closed its side.
    pub(super) ended: bool,
    /// The receiver has been told so.
    pub(super) shut: bool,
    /// There are more bytes than were read.
    pub(super) expected: bool,
    /// Silent for some time: it waits by a poll, which costs the kernel a third of what a read costs it.
    pub(super) dozes: bool,
    /// Waits until a buffer is free.
    pub(super) starved: bool,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Reads.
    pub(super) reads: u64,
}

impl Way {
    /// Nothing is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none() && self.held == 0
    }
}

/// What policy said last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ruled {
    pub(super) epoch: Epoch,
    pub(super) rule: Option<RuleId>,
    pub(super) potential: Option<RuleId>,
    pub(super) on_revoke: OnRevoke,
    pub(super) drafts: DraftAnswers,
    /// Denied, and given time until then: milliseconds, modulo 2^32.
    pub(super) drains: Option<u32>,
}

impl Ruled {
    pub(super) fn by(&mut self, epoch: Epoch, ruling: &Ruling, drafts: DraftAnswers) {
        self.epoch = epoch;
        self.rule = Some(ruling.rule());
        self.drafts = drafts;
        self.potential = None;
        match *ruling {
            Ruling::Allow { potential, on_revoke, .. } => {
                (self.potential, self.on_revoke, self.drains) = (potential, on_revoke, None);
            }
            Ruling::Drain { until } => self.drains = self.drains.or(Some(until.as_millis32())),
            Ruling::Keep | Ruling::Cut { .. } => self.drains = None,
        }
    }
}

/// An address and a port.
pub(super) type End = (Address, u16);

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stage: Stage,
    /// A bit for each [`Op`] under way.
    busy: u16,
    pub(super) client: Option<OwnedFd>,
    pub(super) server: Option<OwnedFd>,
    pub(super) ways: [Way; 2],
    /// Who the client is to policy.
    pub(super) source: End,
    /// Whom it reaches, to policy.
    pub(super) destination: End,
    /// Where the client wanted to, on a transparent listener; what it connected to, on an explicit one.
    pub(super) wanted: End,
    /// Back ends that were tried, a bit each, and the last of them.
    pub(super) tried: u64,
    pub(super) backend: u8,
    pub(super) ruled: Ruled,
    /// Of its entry in the flow table.
    pub(super) generation: Option<u32>,
    /// Counts for its source.
    pub(super) counted: bool,
    /// Bytes when the flow table was told of them last.
    pub(super) told: u64,
    /// Milliseconds, modulo 2^32: when it was accepted, when its stage began, when a byte moved last.
    pub(super) opened: u32,
    pub(super) since: u32,
    pub(super) active: u32,
    /// The time to connect is over.
    pub(super) late: bool,
    /// Its sockets do not block.
    pub(super) nonblocking: bool,
    /// Closing resets the client, the server.
    pub(super) reset: [bool; 2],
}

impl Conn {
    pub(super) const fn free() -> Self {
        const WAY: Way = Way {
            first: None,
            second: None,
            quiet: Quiet::None,
            pipe: None,
            held: 0,
            blocked: None,
            bulk: false,
            streak: 0,
            ended: false,
            shut: false,
            expected: false,
            dozes: false,
            starved: false,
            bytes: 0,
            reads: 0,
        };
        const NOBODY: End = (Address::v4([0; 4]), 0);
        Self {
            stage: Stage::Free,
            busy: 0,
            client: None,
            server: None,
            ways: [WAY, WAY],
            source: NOBODY,
            destination: NOBODY,
            wanted: NOBODY,
            tried: 0,
            backend: 0,
            ruled: Ruled {
                epoch: Epoch(0),
                rule: None,
                potential: None,
                on_revoke: OnRevoke::Cut,
                drafts: DraftAnswers::from_bits(0),
                drains: None,
            },
            generation: None,
            counted: false,
            told: 0,
            opened: 0,
            since: 0,
            active: 0,
            late: false,
            nonblocking: false,
            reset: [false; 2],
        }
    }

    pub(super) const fn is_busy(&self, op: Op) -> bool {
        self.busy & (1 << op as u16) != 0
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.busy == 0
    }

    pub(super) const fn begins(&mut self, op: Op) {
        self.busy |= 1 << op as u16;
    }

    pub(super) const fn ends(&mut self, op: Op) {
        self.busy &= !(1 << op as u16);
    }

    /// The operations under way.
    pub(super) fn operations(&self) -> impl Iterator<Item = Op> + use<> {
        let busy = self.busy;
        Op::ALL.into_iter().filter(move |op| busy & (1 << *op as u16) != 0)
    }

    pub(super) const fn way(&mut self, side: Side) -> &mut Way {
        &mut self.ways[side as usize]
    }

    /// The socket that this way reads.
    pub(super) fn sender(&self, side: Side) -> Option<BorrowedFd<'_>> {
        match side {
            Side::Request => self.client.as_ref().map(AsFd::as_fd),
            Side::Response => self.server.as_ref().map(AsFd::as_fd),
        }
    }

    /// The socket that this way writes.
    pub(super) fn receiver(&self, side: Side) -> Option<BorrowedFd<'_>> {
        match side {
            Side::Request => self.server.as_ref().map(AsFd::as_fd),
            Side::Response => self.client.as_ref().map(AsFd::as_fd),
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.ways[0].bytes + self.ways[1].bytes
    }
}
