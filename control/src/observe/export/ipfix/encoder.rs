//! From events to messages. Does no input or output, and knows no clock.

use jiff::Timestamp;

use super::element::{Element, OWN, OwnElement, REVERSE, Space, VARIABLE, iana};
use super::message::{Counted, Message, Messages};
use super::put::put_text;
use super::shape::{Shape, put};
use crate::observe::export::told::Event;

/// The set of templates (RFC 7011 3.3.2).
const TEMPLATES: u16 = 2;
/// The set of options templates.
const OPTIONS_TEMPLATES: u16 = 3;
/// The template of what the elements of ringfence's own are (RFC 5610).
const TYPES: u16 = 300;
/// The template of the exporter's statistics (RFC 7011 4).
const STATISTICS: u16 = 301;
/// Set in an element's number if its enterprise follows.
const ENTERPRISE: u16 = 0x8000;

/// What the exporter tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Messages sent.
    pub messages: u64,
    /// Flow records sent.
    pub flows: u64,
    /// Bytes sent.
    pub octets: u64,
    /// Flow records that there were and that were not sent.
    pub not_sent: u64,
}

/// Encodes events for one collector.
#[derive(Debug)]
pub struct Encoder {
    enterprise: u32,
    messages: Messages,
    shapes: Vec<(Shape, Vec<Element>)>,
    record: Vec<u8>,
}

impl Encoder {
    /// For observation domain `domain`, with ringfence's own elements under `enterprise`, in messages of at most
    /// `limit` bytes, at least [`super::MESSAGE_BYTES_MIN`].
    #[must_use]
    pub fn new(domain: u32, enterprise: u32, limit: usize) -> Self {
        Self {
            enterprise,
            messages: Messages::new(domain, limit),
            shapes: Shape::all().map(|shape| (shape, shape.fields())).collect(),
            record: Vec::new(),
        }
    }

    /// A new transport session: numbers from 0. Returns how many flow records of an unfinished message are lost.
    pub fn restart(&mut self) -> u32 {
        self.messages.restart()
    }

    /// Appends an event; the messages that are whole by that come out of [`Encoder::take`].
    pub fn flow(&mut self, event: &Event<'_>, now: Timestamp) {
        let shape = Shape::of(event);
        let Some((_, fields)) = self.shapes.iter().find(|(known, _)| *known == shape) else { return };
        self.record.clear();
        for field in fields {
            put(*field, event, &mut self.record);
        }
        self.messages.append(shape.id(), &self.record, Counted::Flow, now);
    }

    /// Appends every template, and what the elements of ringfence's own are.
    pub fn describe(&mut self, now: Timestamp) {
        for (shape, fields) in &self.shapes {
            self.record.clear();
            put_head(&mut self.record, shape.id(), fields.len());
            put_fields(&mut self.record, fields, self.enterprise);
            self.messages.append(TEMPLATES, &self.record, Counted::Template, now);
        }
        for (id, scopes, fields) in [(TYPES, 2, &types()[..]), (STATISTICS, 1, &statistics())] {
            self.record.clear();
            put_head(&mut self.record, id, fields.len());
            self.record.extend_from_slice(&u16::to_be_bytes(scopes));
            put_fields(&mut self.record, fields, self.enterprise);
            self.messages.append(OPTIONS_TEMPLATES, &self.record, Counted::Template, now);
        }
        for own in OWN {
            self.record.clear();
            put_type(&mut self.record, own, self.enterprise);
            self.messages.append(TYPES, &self.record, Counted::Options, now);
        }
    }

    /// Appends the exporter's statistics.
    pub fn tell(&mut self, statistics: &Statistics, now: Timestamp) {
        self.record.clear();
        self.record.extend_from_slice(&std::process::id().to_be_bytes());
        for count in [statistics.messages, statistics.flows, statistics.octets, statistics.not_sent] {
            self.record.extend_from_slice(&count.to_be_bytes());
        }
        self.messages.append(STATISTICS, &self.record, Counted::Options, now);
    }

    /// Ends the message at hand and takes all that are whole, oldest first.
    pub fn finish(&mut self, now: Timestamp) -> Vec<Message> {
        self.messages.finish(now);
        self.messages.take()
    }

    /// Takes the messages that are whole, oldest first.
    pub fn take(&mut self) -> Vec<Message> {
        self.messages.take()
    }
}

fn put_head(into: &mut Vec<u8>, id: u16, fields: usize) {
    into.extend_from_slice(&id.to_be_bytes());
    into.extend_from_slice(&u16::try_from(fields).unwrap_or(u16::MAX).to_be_bytes());
}

fn put_fields(into: &mut Vec<u8>, fields: &[Element], enterprise: u32) {
    for field in fields {
        let of = match field.space {
            Space::Iana => None,
            Space::Reverse => Some(REVERSE),
            Space::Own => Some(enterprise),
        };
        let id = field.id | if of.is_some() { ENTERPRISE } else { 0 };
        into.extend_from_slice(&id.to_be_bytes());
        into.extend_from_slice(&field.length.to_be_bytes());
        if let Some(of) = of {
            into.extend_from_slice(&of.to_be_bytes());
        }
    }
}

/// Enterprise and element, then type, semantics, units, name, description.
fn types() -> [Element; 7] {
    [
        iana(346, 4),
        iana(303, 2),
        iana(339, 1),
        iana(344, 1),
        iana(345, 2),
        iana(341, VARIABLE),
        iana(340, VARIABLE),
    ]
}

fn put_type(into: &mut Vec<u8>, own: &OwnElement, enterprise: u32) {
    into.extend_from_slice(&enterprise.to_be_bytes());
    into.extend_from_slice(&own.id.to_be_bytes());
    // The default semantics, and no unit.
    into.extend_from_slice(&[own.kind as u8, 0, 0, 0]);
    put_text(own.name, 254, into);
    put_text(own.about, 254, into);
}

/// The exporting process, then messages, flow records, octets, and flow records that were not sent.
fn statistics() -> [Element; 5] {
    [iana(144, 4), iana(41, 8), iana(42, 8), iana(40, 8), iana(166, 8)]
}
