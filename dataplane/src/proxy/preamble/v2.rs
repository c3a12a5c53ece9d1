//! Version 2: a signature of twelve bytes, version and command, family and transport, length, addresses, TLVs.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Claim, Malformed, Pair, Preamble, Read, Version, crc};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses.
const FIXED: usize = 16;
/// The longest header that is read, bytes. The format allows 65,551; a client certificate in a TLV takes some
/// 2,000, and everything else that is known less than 600.
pub const MAX: usize = 4096;

/// The high four bits of byte 12.
const VERSION: u8 = 0x20;
const LOCAL: u8 = VERSION;
const PROXY: u8 = VERSION | 1;
/// Byte 13: family, then transport.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Bytes of two Unix socket paths.
const UNIX: usize = 216;
/// The TLV that holds a CRC32c of the whole header, computed with zeros in its place.
const TLV_CHECKSUM: u8 = 0x03;

pub(super) fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        // What is here already may be enough to refuse it.
        if let Some(command) = bytes.get(SIGNATURE.len()) {
            is_proxy(*command)?;
        }
        return Ok(Read::More(FIXED));
    };
    let proxy = is_proxy(fixed[12])?;
    let whole = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if whole > MAX {
        return Err(Malformed::TooLong);
    }
    // A header that cannot be right is refused before the rest of it comes.
    let addresses = if proxy { addresses(fixed[13])? } else { 0 };
    if whole < FIXED + addresses {
        return Err(Malformed::TooShort);
    }
    let Some(header) = bytes.get(..whole) else { return Ok(Read::More(whole)) };
    let claim = if proxy {
        check_tlvs(header, FIXED + addresses)?;
        claim(fixed[13], header)
    } else {
        // "The receiver must discard the protocol block including the family which is ignored."
        None
    };
    Ok(Read::Done(whole, Preamble { version: Version::V2, claim }))
}

fn is_proxy(command: u8) -> Result<bool, Malformed> {
    match command {
        PROXY => Ok(true),
        LOCAL => Ok(false),
        _ => Err(Malformed::Command),
    }
}

/// The length of the addresses of a family: transports (low four bits) are unspecified, stream and datagram.
fn addresses(family: u8) -> Result<usize, Malformed> {
    match (family >> 4, family & 15) {
        (0, 0..=2) => Ok(0),
        (1, 0..=2) => Ok(12),
        (2, 0..=2) => Ok(36),
        (3, 0..=2) => Ok(UNIX),
        _ => Err(Malformed::Transport),
    }
}

fn claim(family: u8, header: &[u8]) -> Option<Claim> {
    let mut rest = header.get(FIXED..)?;
    match family {
        TCP4 => {
            let [from, to] =
                [take(&mut rest)?, take(&mut rest)?].map(|ip: [u8; 4]| Ipv4Addr::from(ip).into());
            ports(from, to, rest)
        }
        TCP6 => {
            let [from, to] =
                [take(&mut rest)?, take(&mut rest)?].map(|ip: [u8; 16]| Ipv6Addr::from(ip).into());
            ports(from, to, rest)
        }
        _ => None,
    }
}

fn ports(from: IpAddr, to: IpAddr, mut rest: &[u8]) -> Option<Claim> {
    let [a, b] = [take(&mut rest)?, take(&mut rest)?].map(u16::from_be_bytes);
    Some(Claim::canonical((from, a), (to, b)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// Walks the TLVs from `first` to the end of the header: at most one step for every three bytes of it.
fn check_tlvs(header: &[u8], first: usize) -> Result<(), Malformed> {
    let mut at = first;
    let mut checksum = None;
    while at < header.len() {
        let [kind, high, low] = header.get(at..).and_then(<[u8]>::first_chunk).ok_or(Malformed::Tlv)?;
        let begin = at + 3;
        let end = begin + usize::from(u16::from_be_bytes([*high, *low]));
        let value = header.get(begin..end).ok_or(Malformed::Tlv)?;
        if *kind == TLV_CHECKSUM {
            let said = value.try_into().map_err(|_| Malformed::Tlv)?;
            if checksum.replace((begin, u32::from_be_bytes(said))).is_some() {
                return Err(Malformed::Tlv);
            }
        }
        at = end;
    }
    match checksum {
        Some((place, said)) if crc::with_zeros(header, place) != said => Err(Malformed::Checksum),
        _ => Ok(()),
    }
}

pub(super) fn write(claim: Option<&Claim>, buffer: &mut [u8]) -> Option<usize> {
    let mut bytes = Bytes { buffer, len: 0 };
    bytes.put(SIGNATURE)?;
    let Some(claim) = claim else {
        bytes.put(&[LOCAL, 0, 0, 0])?;
        return Some(bytes.len);
    };
    match claim.pair() {
        Pair::V4(ends) => {
            bytes.put(&[PROXY, TCP4, 0, 12])?;
            ends.iter().try_for_each(|ip| bytes.put(&ip.octets()))?;
        }
        Pair::V6(ends) => {
            bytes.put(&[PROXY, TCP6, 0, 36])?;
            ends.iter().try_for_each(|ip| bytes.put(&ip.octets()))?;
        }
    }
    bytes.put(&claim.source.port().to_be_bytes())?;
    bytes.put(&claim.destination.port().to_be_bytes())?;
    Some(bytes.len)
}

/// Bytes in a buffer of fixed size.
struct Bytes<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Bytes<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.buffer.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}
