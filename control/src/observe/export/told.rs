//! One flow event on its way out: what the control thread knows at once, and what the exporter adds to it.
//!
//! The control thread only copies and clones handles ([`Told`]); addresses are given names and labels on the
//! exporter's thread ([`Event`]), by the inventory in force at that moment.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::address::Address;
use dataplane::flow::FlowKey;
use dataplane::headers::protocol;
use dataplane::policy::Snapshot;
use dataplane::records::{FlowEvent, Occasion};
use jiff::Timestamp;

use crate::observe::live::Ends;
use crate::observe::names::{Names, Who};
use crate::policy::valid::{Labels, ValidPolicy};

/// The kinds of event, by the words of the configuration.
pub const OCCASIONS: &[&str] = &["opened", "redecided", "updated", "ended", "denied"];

/// The word for an occasion: one of [`OCCASIONS`].
#[must_use]
pub const fn occasion_name(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Opened => "opened",
        Occasion::Redecided => "redecided",
        Occasion::Updated => "updated",
        Occasion::Ended(_) => "ended",
        Occasion::Denied => "denied",
    }
}

/// An event with its times on the wall's clock and the names of its rules.
#[derive(Clone, Debug)]
pub struct Told {
    /// As the worker told it.
    pub event: FlowEvent,
    /// When it happened.
    pub at: Timestamp,
    /// When the flow was opened, or asked for.
    pub first_seen: Timestamp,
    /// When its last packet passed, or was denied.
    pub last_seen: Timestamp,
    /// The rule or default that decided.
    pub rule: Arc<str>,
    /// Its tier; empty if the table is long gone.
    pub tier: Arc<str>,
    /// The rule or default that a gate in mode `observe` would have denied it with.
    pub potential: Option<Arc<str>>,
    /// The hash of the policy that decided, hexadecimal; empty if it is long gone.
    pub policy_hash: Arc<str>,
}

/// What gives addresses and wires their names: an inventory in force, and the names of the wires.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The names of networks.
    pub names: Arc<Names>,
    /// The table that resolves addresses.
    pub snapshot: Arc<Snapshot>,
    /// The policy it was compiled from.
    pub policy: Arc<ValidPolicy>,
}

/// One end of a flow.
#[derive(Debug)]
pub struct End<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Its port, for protocols that have them.
    pub port: Option<u16>,
    /// What it is called.
    pub who: Who,
    /// The labels of that.
    pub labels: Option<&'a Labels>,
}

/// An event in words: what exporters write down.
#[derive(Debug)]
pub struct Event<'a> {
    /// What the control thread knew.
    pub told: &'a Told,
    /// The wire's name.
    pub wire: &'a str,
    /// Who opened the flow, or tried to.
    pub source: End<'a>,
    /// To whom.
    pub destination: End<'a>,
    /// What was asked for: `protocol << 16 | port`, or type and code.
    pub service: u32,
    /// Frames from source to destination, and back; of updates and ends what passed since the flow was told last, so that
    /// they add up to all there were.
    pub packets: [u64; 2],
    /// Bytes of those frames, Ethernet headers included.
    pub bytes: [u64; 2],
}

impl<'a> Event<'a> {
    /// `told` in the words of `scene`; without one, addresses have no names.
    #[must_use]
    pub fn new(told: &'a Told, scene: Option<&'a Scene>, wires: &'a [String]) -> Self {
        let event = &told.event;
        let ends = Ends::of_key(&event.key, event.initiator);
        let end = |address: Address, port| End {
            address: address.to_ip(),
            port,
            who: scene.map_or(Who::Unknown, |now| now.names.who(address, &now.snapshot.table, &now.policy)),
            labels: scene.and_then(|now| now.names.labels(address, &now.snapshot.table, &now.policy)),
        };
        let [forward, back] = match event.initiator.index() {
            0 => [0, 1],
            _ => [1, 0],
        };
        Self {
            told,
            wire: wires.get(usize::from(event.key.wire.0)).map_or("", String::as_str),
            source: end(ends.source, ends.ports[0]),
            destination: end(ends.destination, ends.ports[1]),
            service: ends.service,
            packets: [event.packets[forward], event.packets[back]],
            bytes: [event.bytes[forward], event.bytes[back]],
        }
    }

    /// Which flow.
    #[must_use]
    pub const fn key(&self) -> &FlowKey {
        &self.told.event.key
    }

    /// ICMP type and code, `type << 8 | code`.
    #[must_use]
    pub fn icmp(&self) -> Option<u16> {
        let icmp = matches!(self.key().protocol, protocol::ICMP | protocol::ICMPV6);
        u16::try_from(self.service & 0xffff).ok().filter(|_| icmp)
    }
}
