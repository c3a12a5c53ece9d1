//! The Ethernet header and its VLAN tags (IEEE 802.3, 802.1Q).

use super::{Headers, Mac, Network, bytes};
use crate::verdict::DropReason;

/// EtherTypes that the packet path reads into (IANA).
pub(super) mod ether_type {
    pub(in crate::headers) const IPV4: u16 = 0x0800;
    pub(in crate::headers) const ARP: u16 = 0x0806;
    pub(in crate::headers) const IPV6: u16 = 0x86dd;
    const VLAN: u16 = 0x8100;
    const SERVICE_VLAN: u16 = 0x88a8;
    /// What switches used for an outer tag before 802.1ad.
    const OLD_SERVICE_VLAN: u16 = 0x9100;

    pub(in crate::headers) const fn is_tag(value: u16) -> bool {
        matches!(value, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN)
    }
}

/// The most tags: one service and one customer tag.
const MAX_TAGS: usize = 2;

/// What the link says.
pub(super) struct Link {
    pub(super) destination_mac: Mac,
    pub(super) source_mac: Mac,
    pub(super) vlan: Option<u16>,
    /// Of the payload, after the tags; below 1536 it is the length of an 802.3 frame.
    pub(super) ether_type: u16,
    /// Where the payload begins.
    pub(super) end: usize,
}

impl Link {
    #[inline(always)]
    pub(super) fn carries(&self, network: Network) -> Headers {
        let Self { destination_mac, source_mac, vlan, .. } = *self;
        Headers { destination_mac, source_mac, vlan, network }
    }
}

/// Reads the addresses, up to two tags, and the EtherType.
///
/// An 802.3 frame is not looked into: IP inside LLC/SNAP (RFC 1042) is for the policy an 802.3 frame like any other,
/// so it cannot carry IP past the policy unless the policy names its length.
#[inline(always)]
pub(super) fn parse(frame: &[u8]) -> Result<Link, DropReason> {
    let header: &[u8; 14] = frame.first_chunk().ok_or(DropReason::Truncated)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    let ether_type = u16::from_be_bytes([t0, t1]);
    let (vlan, ether_type, end) =
        if ether_type::is_tag(ether_type) { tags(frame)? } else { (None, ether_type, header.len()) };
    Ok(Link {
        destination_mac: [d0, d1, d2, d3, d4, d5],
        source_mac: [s0, s1, s2, s3, s4, s5],
        vlan,
        ether_type,
        end,
    })
}

/// The outermost VLAN id, the EtherType after the tags, and where they end.
#[inline(never)]
fn tags(frame: &[u8]) -> Result<(Option<u16>, u16, usize), DropReason> {
    let mut outermost = None;
    let mut end = 14;
    for _ in 0..MAX_TAGS {
        let [c0, c1, t0, t1] = bytes(frame, end).ok_or(DropReason::Truncated)?;
        let ether_type = u16::from_be_bytes([t0, t1]);
        outermost = outermost.or(Some(u16::from_be_bytes([c0, c1]) & 0x0fff));
        end += 4;
        if !ether_type::is_tag(ether_type) {
            return Ok((outermost, ether_type, end));
        }
    }
    Err(DropReason::VlanDepth)
}
