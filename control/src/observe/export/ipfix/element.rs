//! The information elements that are exported: IANA's, their reverse (RFC 5103), and ringfence's own.

/// Which registry an element is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// IANA's, `https://www.iana.org/assignments/ipfix`.
    Iana,
    /// The same, of the direction back to the initiator.
    Reverse,
    /// ringfence's own.
    Own,
}

/// The private enterprise number of reverse elements (RFC 5103 6.1).
pub(super) const REVERSE: u32 = 29305;
/// The length that stands for a variable one (RFC 7011 3.2).
pub(super) const VARIABLE: u16 = u16::MAX;

/// One field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) space: Space,
    pub(super) id: u16,
    pub(super) length: u16,
}

/// An element of IANA's.
pub(super) const fn iana(id: u16, length: u16) -> Element {
    Element { space: Space::Iana, id, length }
}

/// Its reverse.
pub(super) const fn reverse(id: u16, length: u16) -> Element {
    Element { space: Space::Reverse, id, length }
}

/// How a collector is to read an element (RFC 5610 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes.
    OctetArray = 0,
    /// A number of four bytes.
    Unsigned32 = 3,
    /// UTF-8.
    String = 13,
}

/// An element of ringfence's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnElement {
    /// Its number under the configured enterprise.
    pub id: u16,
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it says, at most 254 bytes.
    pub about: &'static str,
    /// The most bytes it has; longer texts are cut and end with `…`.
    pub bytes: u8,
}

const fn text(id: u16, name: &'static str, bytes: u8, about: &'static str) -> OwnElement {
    OwnElement { id, name, kind: Kind::String, about, bytes }
}

/// Bytes of a policy hash.
pub(super) const HASH_BYTES: u8 = 32;

/// ringfence's own elements, in the order in which records carry them.
pub const OWN: &[OwnElement] = &[
    text(1, "ringfenceOccasion", 16, "What happened: opened, redecided, updated, ended or denied"),
    text(2, "ringfenceVerdict", 8, "What policy said: allow, deny or reject"),
    text(3, "ringfenceGate", 8, "The gate that decided: egress or ingress; - if that is not known"),
    text(4, "ringfenceRule", 127, "The rule or named default that decided"),
    text(5, "ringfenceTier", 63, "The tier of that rule; default for the named defaults"),
    text(
        6,
        "ringfencePotentialRule",
        127,
        "The rule that would have denied the flow, were its gate enforced; - if none",
    ),
    text(7, "ringfenceSourceName", 63, "The workload or network that opened the flow; - if unknown"),
    text(8, "ringfenceSourceLabels", 191, "The labels of the source, as key=value,key=value"),
    text(9, "ringfenceDestinationName", 63, "The workload or network that was spoken to; - if unknown"),
    text(10, "ringfenceDestinationLabels", 191, "The labels of the destination, as key=value,key=value"),
    text(11, "ringfenceWire", 63, "The wire that the flow crossed"),
    text(12, "ringfenceEnding", 16, "How the flow ended: finished, reset, timed-out, evicted or cut"),
    OwnElement {
        id: 13,
        name: "ringfenceEpoch",
        kind: Kind::Unsigned32,
        about: "The number of the published policy table that decided",
        bytes: 4,
    },
    OwnElement {
        id: 14,
        name: "ringfencePolicyHash",
        kind: Kind::OctetArray,
        about: "BLAKE3 of the policy that decided; zero if it is not known any more",
        bytes: HASH_BYTES,
    },
];

impl OwnElement {
    /// As a field of a template.
    pub(super) const fn field(&self) -> Element {
        let length = match self.kind {
            Kind::String => VARIABLE,
            Kind::OctetArray | Kind::Unsigned32 => self.bytes as u16,
        };
        Element { space: Space::Own, id: self.id, length }
    }
}
