//! Frames that tell a sender that policy refused its packet: a TCP reset, or an ICMP error.
//!
//! The wire has no address of its own, so the answer speaks for the host that the packet was sent to, as a reset in
//! its name must anyway. The link header is the packet's own with the two addresses exchanged, tags kept.
//!
//! Nobody is told when an answer would be wrong or would harm: for a TCP reset (RFC 9293 3.10.7.1), an ICMP error or
//! redirect, a packet to or from a group, a broadcast or nobody, and a fragment that is not the first (RFC 1122
//! 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4 e). Router discovery and neighbour discovery never come here.

use arrayvec::ArrayVec;

use super::checksum::pseudo_sum;
use crate::address::Address;
use crate::headers::sum;
use crate::headers::{Icmp, IcmpBody, Ip, Tcp, Transport, flags, protocol};

/// The longest link header: two addresses, two tags, an EtherType.
const LINK_MAX: usize = 22;
/// The most bytes of an ICMP error, IP header included: what every host must take (RFC 1812 4.3.2.3).
const ICMP_MAX: usize = 576;
/// The same for ICMPv6: the smallest MTU (RFC 4443 2.4 c).
const ICMPV6_MAX: usize = 1280;
/// The longest answer, bytes.
pub const ANSWER_MAX: usize = LINK_MAX + ICMPV6_MAX;
/// What hosts begin with (IANA's default for TTL).
const HOP_LIMIT: u8 = 64;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const ICMP_LEN: usize = 8;

/// An answer's bytes.
pub type Answer = ArrayVec<u8, ANSWER_MAX>;

/// Whether the sender of this packet may be told that it was refused. `frame` is the frame that `ip` was read from.
#[must_use]
pub fn may_answer(frame: &[u8], ip: &Ip) -> bool {
    let group = frame.first().is_none_or(|first| first & 1 == 1);
    if group || !is_one_host(ip.source) || !is_one_host(ip.destination) {
        return false;
    }
    match ip.transport {
        Transport::Later => false,
        Transport::Tcp(tcp) => tcp.flags & flags::RST == 0,
        Transport::Icmp(icmp) => !is_error(ip.protocol, &icmp),
        _ => true,
    }
}

/// Neither a group, nor a broadcast or reserved address, nor no address at all.
fn is_one_host(address: Address) -> bool {
    match address.as_v4() {
        // 0.0.0.0/8 is "this network", 240.0.0.0/4 is reserved and holds the limited broadcast (RFC 6890).
        Some(bits) => bits >> 24 != 0 && bits >> 28 < 0xe,
        None => !address.is_multicast() && !address.is_unspecified_v6(),
    }
}

/// Errors and redirects: no ICMP message may answer them.
fn is_error(protocol_number: u8, icmp: &Icmp) -> bool {
    const REDIRECT: u8 = 5;
    const REDIRECT_V6: u8 = 137;
    let redirect = match protocol_number {
        protocol::ICMP => icmp.kind == REDIRECT,
        // Types below 128 are errors, known or not (RFC 4443 2.1).
        _ => icmp.kind < 128 || icmp.kind == REDIRECT_V6,
    };
    redirect || matches!(icmp.body, IcmpBody::Error(_))
}

/// The frame that tells the sender: a reset for TCP, otherwise "administratively prohibited". `None` if the frame is
/// not what `ip` says.
#[must_use]
pub fn to_sender(frame: &[u8], ip: &Ip) -> Option<Answer> {
    let mut answer = link(frame, ip, true)?;
    match ip.transport {
        Transport::Tcp(tcp) => {
            reset(&mut answer, ip.destination, ip.source, Reset::in_answer(&tcp));
        }
        _ => unreachable(&mut answer, frame, ip)?,
    }
    Some(answer)
}

/// The frame that tells the other end of a TCP connection, in the name of the sender of a segment that goes no
/// further. `None` for what is not TCP.
#[must_use]
pub fn to_far_end(frame: &[u8], ip: &Ip) -> Option<Answer> {
    let Transport::Tcp(tcp) = ip.transport else { return None };
    let mut answer = link(frame, ip, false)?;
    reset(&mut answer, ip.source, ip.destination, Reset::onward(&tcp));
    Some(answer)
}

/// The link header of the frame, its addresses exchanged for an answer.
fn link(frame: &[u8], ip: &Ip, exchanged: bool) -> Option<Answer> {
    let header = frame.get(..usize::from(ip.network_offset))?;
    let (addresses, rest) = header.split_first_chunk::<12>()?;
    let (to, from) = addresses.split_at(6);
    let mut answer = Answer::new();
    let parts = if exchanged { [from, to, rest] } else { [to, from, rest] };
    for part in parts {
        answer.try_extend_from_slice(part).ok()?;
    }
    Some(answer)
}

/// The fields of a reset that differ.
struct Reset {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

impl Reset {
    /// RFC 9293 3.10.7.1: it takes its sequence number from the segment's acknowledgement; without one it is 0 and
    /// the reset acknowledges all of the segment.
    fn in_answer(tcp: &Tcp) -> Self {
        let controls = u32::from(tcp.flags & flags::SYN != 0) + u32::from(tcp.flags & flags::FIN != 0);
        let end = tcp.sequence.wrapping_add(u32::from(tcp.payload)).wrapping_add(controls);
        let acks = tcp.flags & flags::ACK != 0;
        Self {
            source_port: tcp.ports.destination,
            destination_port: tcp.ports.source,
            sequence: if acks { tcp.acknowledgement } else { 0 },
            acknowledgement: if acks { 0 } else { end },
            flags: if acks { flags::RST } else { flags::RST | flags::ACK },
        }
    }

    /// In place of the segment: at its own sequence number, which is the next one that the other end expects unless
    /// something was lost. If it was, the other end challenges the reset (RFC 5961 3.2), and the answer to that is
    /// exact.
    fn onward(tcp: &Tcp) -> Self {
        Self {
            source_port: tcp.ports.source,
            destination_port: tcp.ports.destination,
            sequence: tcp.sequence,
            acknowledgement: tcp.acknowledgement,
            flags: flags::RST | (tcp.flags & flags::ACK),
        }
    }
}

fn reset(answer: &mut Answer, source: Address, destination: Address, reset: Reset) {
    let mut segment = [0; TCP_LEN];
    let fields: [&[u8]; 6] = [
        &reset.source_port.to_be_bytes(),
        &reset.destination_port.to_be_bytes(),
        &reset.sequence.to_be_bytes(),
        &reset.acknowledgement.to_be_bytes(),
        // Five words of header.
        &[5 << 4, reset.flags],
        &[0; 6],
    ];
    fill(&mut segment, &fields);
    let pseudo = pseudo_sum(source, destination, protocol::TCP, TCP_LEN);
    let checksum = !sum::fold(sum::add(u64::from(pseudo), &segment));
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    network(answer, source, destination, protocol::TCP, TCP_LEN);
    push(answer, &segment);
}

/// Type 3 code 13 (RFC 1812 5.2.7.1) or ICMPv6 type 1 code 1 (RFC 4443 3.1), quoting as much of the packet as fits.
fn unreachable(answer: &mut Answer, frame: &[u8], ip: &Ip) -> Option<()> {
    let packet = frame.get(usize::from(ip.network_offset)..usize::from(ip.end))?;
    let v4 = ip.source.is_v4();
    let room = if v4 { ICMP_MAX - IPV4_LEN - ICMP_LEN } else { ICMPV6_MAX - IPV6_LEN - ICMP_LEN };
    let quoted = &packet[..packet.len().min(room)];
    let len = ICMP_LEN + quoted.len();
    let (kind, code, protocol_number) = if v4 { (3, 13, protocol::ICMP) } else { (1, 1, protocol::ICMPV6) };
    let mut header = [kind, code, 0, 0, 0, 0, 0, 0];
    let seed = match v4 {
        true => 0,
        false => u64::from(pseudo_sum(ip.source, ip.destination, protocol_number, len)),
    };
    let checksum = !sum::fold(sum::add(sum::add(seed, &header), quoted));
    header[2..4].copy_from_slice(&checksum.to_be_bytes());
    network(answer, ip.destination, ip.source, protocol_number, len);
    push(answer, &header);
    push(answer, quoted);
    Some(())
}

/// The IP header, for `len` bytes of `protocol_number`.
fn network(answer: &mut Answer, source: Address, destination: Address, protocol_number: u8, len: usize) {
    let (from, to) = (source.bits().to_be_bytes(), destination.bits().to_be_bytes());
    if !source.is_v4() {
        let mut header = [0; IPV6_LEN];
        let fields: [&[u8]; 5] =
            [&[6 << 4, 0, 0, 0], &length(len), &[protocol_number, HOP_LIMIT], &from, &to];
        fill(&mut header, &fields);
        return push(answer, &header);
    }
    let mut header = [0; IPV4_LEN];
    // Version 4 and five words; "don't fragment", so that the identification may be 0 (RFC 6864 4.1).
    let fields: [&[u8]; 6] = [
        &[4 << 4 | 5, 0],
        &length(IPV4_LEN + len),
        &[0, 0, 0x40, 0],
        &[HOP_LIMIT, protocol_number, 0, 0],
        &from[12..],
        &to[12..],
    ];
    fill(&mut header, &fields);
    let checksum = !sum::fold(sum::add(0, &header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    push(answer, &header);
}

/// Lengths here are at most [`ANSWER_MAX`].
fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// Writes `fields` one after the other.
fn fill(mut place: &mut [u8], fields: &[&[u8]]) {
    for field in fields {
        let Some((own, rest)) = place.split_at_mut_checked(field.len()) else { return };
        own.copy_from_slice(field);
        place = rest;
    }
}

/// The capacity is that of the longest answer, so this always fits.
fn push(answer: &mut Answer, bytes: &[u8]) {
    let fits = answer.try_extend_from_slice(bytes).is_ok();
    debug_assert!(fits, "an answer longer than {ANSWER_MAX} bytes");
}

#[cfg(test)]
mod tests;
