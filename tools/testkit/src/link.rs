//! Ethernet: addresses, tags, ARP, and frames that are not IP.

use std::net::{IpAddr, Ipv4Addr};

use crate::{ChecksumMode, Content, Packet};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The broadcast address.
pub(crate) const BROADCAST: Mac = [0xff; 6];

/// The Ethernet address that builders give to an IP address: a group address for multicast (RFC 1112 6.4, RFC 2464
/// 7), otherwise `02:04` or `02:06` and the last four bytes.
#[must_use]
pub fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => BROADCAST,
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            if v4.is_multicast() { [1, 0, 0x5e, b & 0x7f, c, d] } else { [2, 4, a, b, c, d] }
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            if v6.is_multicast() { [0x33, 0x33, a, b, c, d] } else { [2, 6, a, b, c, d] }
        }
    }
}

impl Packet {
    /// A frame of any EtherType (or, below 1536, an 802.3 length) with `bytes` after it.
    #[must_use]
    pub fn ether_type(ether_type: u16, bytes: impl AsRef<[u8]>) -> Self {
        Self {
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
            tags: Vec::new(),
            content: Content::Other(ether_type, bytes.as_ref().to_vec()),
            checksum: ChecksumMode::Finished,
            padded: false,
        }
    }

    /// An ARP request: who has `target`, tell `sender`; broadcast.
    #[must_use]
    pub fn arp_request(sender: &str, target: &str) -> Self {
        let sender = v4(sender);
        Self::arp(1, mac_of(sender.into()), sender, [0; 6], v4(target)).destination_mac(BROADCAST)
    }

    /// An ARP reply: `sender` is at its Ethernet address; sent to `target`.
    #[must_use]
    pub fn arp_reply(sender: &str, target: &str) -> Self {
        let (sender, target) = (v4(sender), v4(target));
        Self::arp(2, mac_of(sender.into()), sender, mac_of(target.into()), target)
    }

    /// An ARP message field by field (RFC 826), sent between the two hardware addresses.
    #[must_use]
    pub fn arp(operation: u16, sender_mac: Mac, sender: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> Self {
        let mut bytes = vec![0, 1, 8, 0, 6, 4];
        bytes.extend(operation.to_be_bytes());
        bytes.extend(sender_mac);
        bytes.extend(sender.octets());
        bytes.extend(target_mac);
        bytes.extend(target.octets());
        Self::ether_type(0x0806, bytes).source_mac(sender_mac).destination_mac(target_mac)
    }

    /// Sets the source Ethernet address.
    #[must_use]
    pub fn source_mac(mut self, mac: Mac) -> Self {
        self.source_mac = mac;
        self
    }

    /// Sets the destination Ethernet address.
    #[must_use]
    pub fn destination_mac(mut self, mac: Mac) -> Self {
        self.destination_mac = mac;
        self
    }

    /// Adds an 802.1Q tag inside the tags already there.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// Adds an 802.1ad tag and an 802.1Q tag inside it.
    #[must_use]
    pub fn qinq(self, outer: u16, inner: u16) -> Self {
        self.tag(0x88a8, outer).tag(0x8100, inner)
    }

    /// Adds any tag: its EtherType and its tag control information.
    #[must_use]
    pub fn tag(mut self, ether_type: u16, control: u16) -> Self {
        self.tags.push((ether_type, control));
        self
    }

    /// Pads the frame with zeros to the 60 bytes that Ethernet demands without its check sequence.
    #[must_use]
    pub fn padded(mut self) -> Self {
        self.padded = true;
        self
    }

    pub(crate) fn wrap(&self, ether_type: u16, bytes: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(14 + 4 * self.tags.len() + bytes.len());
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        for (tag, control) in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(ether_type.to_be_bytes());
        frame.extend(bytes);
        if self.padded && frame.len() < 60 {
            frame.resize(60, 0);
        }
        frame
    }
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or_else(|e| panic!("{text:?} is no IPv4 address: {e}"))
}
