//! Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 40000 443` and CR LF.

use core::fmt::{self, Write as _};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::{Claim, Malformed, Pair, Preamble, Read, Version};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line, bytes, CR LF included (proxy-protocol.txt 2.1).
pub const MAX: usize = 107;

pub(super) fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    let most = bytes.get(..MAX).unwrap_or(bytes);
    let Some(feed) = most.iter().position(|byte| *byte == b'\n') else {
        return if most.len() == MAX { Err(Malformed::LineEnd) } else { Ok(Read::More(most.len() + 1)) };
    };
    let line = most.get(..feed).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::LineEnd)?;
    let text = line.strip_prefix(SIGNATURE).unwrap_or_default();
    Ok(Read::Done(feed + 1, Preamble { version: Version::V1, claim: claim(text)? }))
}

/// What follows the signature.
fn claim(text: &[u8]) -> Result<Option<Claim>, Malformed> {
    let mut fields = text.split(|byte| *byte == b' ');
    let family = fields.next().unwrap_or_default();
    // "The receiver must ignore anything presented before the CRLF."
    if family == b"UNKNOWN" {
        return Ok(None);
    }
    let mut field = || fields.next().unwrap_or_default();
    let (source, destination) = match family {
        b"TCP4" => (ip::<Ipv4Addr>(field())?, ip::<Ipv4Addr>(field())?),
        b"TCP6" => (ip::<Ipv6Addr>(field())?, ip::<Ipv6Addr>(field())?),
        _ => return Err(Malformed::Family),
    };
    let (from, to) = (port(field())?, port(field())?);
    if fields.next().is_some() {
        return Err(Malformed::Address);
    }
    Ok(Some(Claim::canonical((source, from), (destination, to))))
}

fn ip<T: FromStr + Into<IpAddr>>(field: &[u8]) -> Result<IpAddr, Malformed> {
    let text = core::str::from_utf8(field).map_err(|_| Malformed::Address)?;
    text.parse::<T>().map(Into::into).map_err(|_| Malformed::Address)
}

/// Digits without a sign and without zeros before them; `u16::from_str` would take "+1" and "001".
fn port(field: &[u8]) -> Result<u16, Malformed> {
    if !(1..=5).contains(&field.len()) || (field.len() > 1 && field.first() == Some(&b'0')) {
        return Err(Malformed::Port);
    }
    let number = field
        .iter()
        .try_fold(0u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')));
    number.and_then(|number| u16::try_from(number).ok()).ok_or(Malformed::Port)
}

pub(super) fn write(claim: Option<&Claim>, buffer: &mut [u8]) -> Option<usize> {
    let mut line = Line { buffer, len: 0 };
    let written = match claim.map(|claim| (claim.pair(), claim.source.port(), claim.destination.port())) {
        None => line.write_str("PROXY UNKNOWN\r\n"),
        Some((Pair::V4([from, to]), a, b)) => write!(line, "PROXY TCP4 {from} {to} {a} {b}\r\n"),
        Some((Pair::V6([from, to]), a, b)) => write!(line, "PROXY TCP6 {from} {to} {a} {b}\r\n"),
    };
    written.ok().map(|()| line.len)
}

/// Text in a buffer of fixed size.
struct Line<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.buffer.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
