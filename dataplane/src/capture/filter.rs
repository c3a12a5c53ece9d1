//! Which frames are copied.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Fate, Sight};
use crate::address::Address;
use crate::clock::Now;
use crate::headers::{Ip, Transport};
use crate::verdict::{DropReason, Epoch, RuleId, Side, WireId};

/// Frames by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fates {
    /// Dropped ones.
    #[default]
    Dropped,
    /// Forwarded ones.
    Forwarded,
    /// All.
    Any,
}

/// A set of addresses, one of which a frame must have at either end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Sorted.
    addresses: Box<[Address]>,
    /// Bits and mask.
    prefixes: Box<[(u128, u128)]>,
}

impl Ends {
    /// Single addresses, and prefixes as bits and mask ([`Address::bits`]).
    #[must_use]
    pub fn new(mut addresses: Vec<Address>, prefixes: Vec<(u128, u128)>) -> Self {
        addresses.sort_unstable();
        addresses.dedup();
        Self { addresses: addresses.into(), prefixes: prefixes.into() }
    }

    fn hold(&self, address: Address) -> bool {
        self.addresses.binary_search(&address).is_ok()
            || self.prefixes.iter().any(|(bits, mask)| address.bits() & mask == *bits)
    }
}

/// A rule, by the id that it has under one epoch.
const RULE_KNOWN: u64 = 1 << 63;

/// What a capture asks for; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By what became of them.
    pub fates: Fates,
    /// A bit for each [`DropReason`] that counts, by its place in [`DropReason::ALL`]; 0: all, and forwarded frames.
    pub reasons: u64,
    /// On this wire.
    pub wire: Option<WireId>,
    /// That came in on this side.
    pub side: Option<Side>,
    /// Each must hold one of both ends.
    pub ends: Vec<Ends>,
    /// Of this IP protocol.
    pub protocol: Option<u8>,
    /// From or to this port.
    pub port: Option<u16>,
    /// The most bytes that are copied of a frame.
    pub snap_len: usize,
    /// The most copies a second, all workers together; 0: any number.
    pub rate: u32,
}

impl Filter {
    /// The bit of a reason in [`Filter::reasons`].
    #[must_use]
    pub const fn reason_bit(reason: DropReason) -> u64 {
        1 << reason as u32
    }
}

/// A filter at work: shared by all workers of one capture.
#[derive(Debug, Default)]
pub struct Sieve {
    pub(super) filter: Filter,
    /// See [`Sieve::name_rule`].
    rule: AtomicU64,
    /// The second at hand, and the copies in it: 32 bits each.
    spent: AtomicU64,
}

impl Sieve {
    /// Of what matches `filter`.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Only what the rule or default `rule` of the policy of `epoch` decided. What other policies decided matches,
    /// whatever rule: the caller knows rules by name and must tell. To be called again after each publish.
    pub fn name_rule(&self, epoch: Epoch, rule: RuleId) {
        // Epochs are below 2^31.
        let word = RULE_KNOWN | u64::from(epoch.0) << 32 | u64::from(rule.0);
        self.rule.store(word, Ordering::Relaxed);
    }

    pub(super) fn admits(&self, sight: &Sight<'_>) -> bool {
        let wanted = &self.filter;
        let fate = match sight.fate {
            Fate::Forwarded => wanted.fates != Fates::Dropped && wanted.reasons == 0,
            Fate::Dropped(reason) => {
                wanted.fates != Fates::Forwarded
                    && (wanted.reasons == 0 || wanted.reasons & Filter::reason_bit(reason) != 0)
            }
        };
        fate && wanted.wire.is_none_or(|wire| wire == sight.wire)
            && wanted.side.is_none_or(|side| side == sight.side)
            && self.admits_rule(sight)
            && self.admits_headers(sight.ip)
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the fields apart")]
    fn admits_rule(&self, sight: &Sight<'_>) -> bool {
        let word = self.rule.load(Ordering::Relaxed);
        if word == 0 {
            return true;
        }
        let Some(rule) = sight.rule else { return false };
        (word & !RULE_KNOWN) >> 32 != u64::from(sight.epoch.0) || rule.0 == word as u32
    }

    fn admits_headers(&self, ip: Option<&Ip>) -> bool {
        let wanted = &self.filter;
        let Some(ip) = ip else {
            return wanted.ends.is_empty() && wanted.protocol.is_none() && wanted.port.is_none();
        };
        wanted.protocol.is_none_or(|protocol| protocol == ip.protocol)
            && wanted.port.is_none_or(|port| has_port(ip, port))
            && wanted.ends.iter().all(|ends| ends.hold(ip.source) || ends.hold(ip.destination))
    }

    /// Takes one copy out of what the second of `now` allows. Under contention one copy may be refused too many.
    #[expect(clippy::cast_possible_truncation, reason = "seconds of the clock wrap after 136 years")]
    pub(super) fn is_within_rate(&self, now: Now) -> bool {
        if self.filter.rate == 0 {
            return true;
        }
        let second = (now.as_nanos() / 1_000_000_000) as u32;
        let mut word = self.spent.load(Ordering::Relaxed);
        for _ in 0..8 {
            let spent = if (word >> 32) as u32 == second { word as u32 } else { 0 };
            if spent >= self.filter.rate {
                return false;
            }
            let next = u64::from(second) << 32 | u64::from(spent + 1);
            match self.spent.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}

fn has_port(ip: &Ip, port: u16) -> bool {
    let ports = match ip.transport {
        Transport::Tcp(tcp) => tcp.ports,
        Transport::Udp(ports) | Transport::Sctp(ports) => ports,
        Transport::Icmp(_) | Transport::Other | Transport::Later => return false,
    };
    ports.source == port || ports.destination == port
}
