//! ARP and neighbour discovery: whoever can answer for an address can take its traffic, so the answer is checked
//! against the inventory like any other source.

use crate::headers::{Arp, Headers, Ip, Neighbour};
use crate::verdict::{DropReason, Side};

use super::identity::UNSPECIFIED_V4;
use super::judge::{Judge, Loss};

/// ICMPv6 types (RFC 4861 4).
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

impl Judge<'_> {
    /// An ARP message passes if its sender owns the address it speaks for; a probe (RFC 5227 1.1: sender address
    /// zero) speaks for its target.
    pub(super) fn arp(&self, headers: &Headers, arp: &Arp) -> Result<(), Loss> {
        let claimed = if arp.sender == UNSPECIFIED_V4 { arp.target } else { arp.sender };
        let honest = arp.sender_mac == headers.source_mac && self.owns(claimed, &arp.sender_mac);
        if honest { Ok(()) } else { Err(Loss::of(DropReason::ArpInvalid)) }
    }

    /// Neighbour discovery: an advertisement passes if its sender owns the target; router advertisements and
    /// redirects only come from the network (RFC 6105 2: a port towards hosts sends none). Then policy decides, as
    /// for any message (the infrastructure tier allows it unless switched off).
    pub(super) fn neighbour(&self, headers: &Headers, ip: &Ip, kind: u8, nd: &Neighbour) -> Result<(), Loss> {
        let honest = match kind {
            ROUTER_ADVERTISEMENT | REDIRECT => self.arrival.side == Side::Outside,
            NEIGHBOUR_ADVERTISEMENT => {
                let mac = nd.link_address.unwrap_or(headers.source_mac);
                nd.target.is_link_local_v6() || (mac == headers.source_mac && self.owns(nd.target, &mac))
            }
            _ => true,
        };
        if honest { self.stateless(ip) } else { Err(Loss::of(DropReason::NdInvalid)) }
    }
}
