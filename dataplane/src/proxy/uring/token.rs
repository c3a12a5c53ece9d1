//! What an operation is known by when it completes.

/// Kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::proxy) enum Op {
    /// Nobody waits for it.
    Ignored = 0,
    Wake,
    Accept,
    Connect,
    Header,
    FromClient,
    FromServer,
    ToClient,
    ToServer,
    ClientReadable,
    ServerReadable,
    ClientWritable,
    ServerWritable,
}

impl Op {
    pub(in crate::proxy) const ALL: [Self; 13] = [
        Self::Ignored,
        Self::Wake,
        Self::Accept,
        Self::Connect,
        Self::Header,
        Self::FromClient,
        Self::FromServer,
        Self::ToClient,
        Self::ToServer,
        Self::ClientReadable,
        Self::ServerReadable,
        Self::ClientWritable,
        Self::ServerWritable,
    ];
}

/// An operation: its kind, and the connection, listener or seat it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Token {
    pub(in crate::proxy) op: Op,
    pub(in crate::proxy) index: u32,
}

impl Token {
    pub(super) const IGNORED: Self = Self { op: Op::Ignored, index: 0 };

    pub(super) const fn to_bits(self) -> u64 {
        (self.op as u64) << 32 | self.index as u64
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        let op = Op::ALL.get((bits >> 32) as usize).copied().unwrap_or(Op::Ignored);
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let index = bits as u32;
        Self { op, index }
    }
}
