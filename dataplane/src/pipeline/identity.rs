//! Who may send from here: identity comes from addresses, so a source address must be tied to a place.

use crate::address::{Address, Mac};
use crate::headers::Ip;
use crate::policy::Behind;
use crate::verdict::{DropReason, Side};

use super::SourceCheck;
use super::judge::{Judge, Loss};

impl Judge<'_> {
    /// Checks that `source`, sent in a frame from `mac`, may come in on this side of this wire.
    ///
    /// From the inside: a workload behind this wire (or one that names no wire), from one of its own MAC addresses
    /// where they are told. From the outside: anything but a workload behind this wire.
    pub(super) fn owns(&self, source: Address, mac: &Mac) -> bool {
        let table = &self.snapshot.table;
        let endpoint = table.resolve(source);
        let binding = table.binding(endpoint);
        match (self.arrival.side, endpoint.owner()) {
            (Side::Inside, Some(_)) => binding.admits(self.arrival.wire, *mac),
            (Side::Inside, None) => self.source_check == SourceCheck::Known,
            (Side::Outside, _) => binding.behind != Behind::Wire(self.arrival.wire),
        }
    }

    /// The source check of an IP packet. The unspecified address (DHCPv4, duplicate address detection) and IPv6
    /// link-local addresses belong to nobody in the inventory: they pass here, and policy sees an unmanaged
    /// endpoint.
    pub(super) fn check_source(&self, mac: &Mac, ip: &Ip) -> Result<(), Loss> {
        let nobody =
            ip.source == UNSPECIFIED_V4 || ip.source.is_unspecified_v6() || ip.source.is_link_local_v6();
        if nobody || self.owns(ip.source, mac) { Ok(()) } else { Err(Loss::of(DropReason::SpoofedSource)) }
    }
}

pub(super) const UNSPECIFIED_V4: Address = Address::v4([0; 4]);
