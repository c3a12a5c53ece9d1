//! IPFIX messages (RFC 7011 3): sets of records, bounded in length, numbered.

use jiff::Timestamp;

/// Bytes of a message's header.
const HEADER: usize = 16;
/// Bytes of a set's header.
const SET_HEADER: usize = 4;
/// The version of IPFIX.
const VERSION: u16 = 10;

/// A whole message, to be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Flow records in it.
    pub flows: u32,
}

/// Makes messages of at most so many bytes out of records.
#[derive(Debug)]
pub(super) struct Messages {
    domain: u32,
    limit: usize,
    /// Data records in the messages before this one, of templates' data and options alike (RFC 7011 3.1).
    sequence: u32,
    bytes: Vec<u8>,
    /// Where the open set begins.
    set: Option<(u16, usize)>,
    records: u32,
    flows: u32,
    ready: Vec<Message>,
}

/// What kind of record is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// A template: not counted.
    Template,
    /// Options: counted in the sequence.
    Options,
    /// A flow: counted in the sequence, and as a flow.
    Flow,
}

impl Messages {
    /// Of observation domain `domain`; `limit` holds the longest record with both headers.
    pub(super) fn new(domain: u32, limit: usize) -> Self {
        Self {
            domain,
            limit,
            sequence: 0,
            bytes: Vec::new(),
            set: None,
            records: 0,
            flows: 0,
            ready: Vec::new(),
        }
    }

    /// Forgets what is not finished and numbers from 0: a new transport session. Returns the flow records lost.
    pub(super) fn restart(&mut self) -> u32 {
        self.sequence = 0;
        self.bytes.clear();
        (self.set, self.records) = (None, 0);
        std::mem::take(&mut self.flows)
    }

    /// Appends a record to a set with this id, in a new message if it does not fit into the one at hand.
    pub(super) fn append(&mut self, set: u16, record: &[u8], counted: Counted, now: Timestamp) {
        let same = self.set.is_some_and(|(id, _)| id == set);
        let needed = record.len() + if same { 0 } else { SET_HEADER };
        if !self.bytes.is_empty() && self.bytes.len() + needed > self.limit {
            self.finish(now);
        }
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER, 0);
        }
        if self.set.is_none_or(|(id, _)| id != set) {
            self.close_set();
            self.set = Some((set, self.bytes.len()));
            self.bytes.extend_from_slice(&set.to_be_bytes());
            self.bytes.extend_from_slice(&[0; 2]);
        }
        self.bytes.extend_from_slice(record);
        self.records += u32::from(counted != Counted::Template);
        self.flows += u32::from(counted == Counted::Flow);
    }

    fn close_set(&mut self) {
        if let Some((_, at)) = self.set.take() {
            let length = length(self.bytes.len() - at);
            self.bytes[at + 2..at + 4].copy_from_slice(&length);
        }
    }

    /// Ends the message at hand, if there is one.
    pub(super) fn finish(&mut self, now: Timestamp) {
        self.close_set();
        if self.bytes.is_empty() {
            return;
        }
        let seconds = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
        let mut bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(self.limit));
        let total = length(bytes.len());
        bytes[0..2].copy_from_slice(&VERSION.to_be_bytes());
        bytes[2..4].copy_from_slice(&total);
        bytes[4..8].copy_from_slice(&seconds.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.domain.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(std::mem::take(&mut self.records));
        self.ready.push(Message { bytes, flows: std::mem::take(&mut self.flows) });
    }

    /// The messages that are whole, oldest first.
    pub(super) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.ready)
    }
}

/// A length as two bytes; messages are at most 65,535 long.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}
