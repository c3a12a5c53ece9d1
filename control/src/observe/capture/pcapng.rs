//! Writing pcapng (draft-ietf-opsawg-pcapng): one section, an interface for each side of each wire, packets with what
//! became of them as a comment, and counts of what was lost.

/// Block types and options by their numbers in the format.
mod number {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const PACKET: u32 = 6;
    pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const APPLICATION: u16 = 4;
    pub(super) const NAME: u16 = 2;
    pub(super) const DESCRIPTION: u16 = 3;
    pub(super) const RESOLUTION: u16 = 9;
    pub(super) const FLAGS: u16 = 2;
    pub(super) const DROP_COUNT: u16 = 4;
    pub(super) const START: u16 = 2;
    pub(super) const END: u16 = 3;
    pub(super) const DROPPED: u16 = 5;
    pub(super) const ACCEPTED: u16 = 6;
    pub(super) const DELIVERED: u16 = 8;
}

/// `epb_flags`: received.
const INBOUND: u32 = 1;
/// `if_tsresol`: timestamps are nanoseconds.
const NANOSECONDS: u8 = 9;
/// Longest comment, bytes; labels may be longer.
const COMMENT_MAX: usize = 4096;

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The number of its interface, in the order in which they were written.
    pub interface: u32,
    /// When, nanoseconds since 1970.
    pub at: u64,
    /// How long it was, bytes.
    pub len: usize,
    /// What was kept of it.
    pub bytes: &'a [u8],
    /// What became of it.
    pub comment: &'a str,
    /// Packets of this interface that were lost since the last one.
    pub lost: u64,
}

/// Counts of one interface.
#[derive(Clone, Copy, Debug)]
pub struct Statistics<'a> {
    /// The number of the interface.
    pub interface: u32,
    /// Since when, nanoseconds since 1970.
    pub from: u64,
    /// Until when.
    pub to: u64,
    /// Packets that the filter wanted.
    pub accepted: u64,
    /// Of them, those that were lost for want of room.
    pub lost: u64,
    /// Of them, those that are in the file.
    pub delivered: u64,
    /// What else is to be said.
    pub comment: &'a str,
}

/// Appends the head of the section.
pub fn section(out: &mut Vec<u8>, application: &str, comment: &str) {
    block(out, number::SECTION, |out| {
        out.extend(number::BYTE_ORDER.to_le_bytes());
        out.extend(1u16.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        // The length of the section is not known.
        out.extend(u64::MAX.to_le_bytes());
        option(out, number::APPLICATION, application.as_bytes());
        text(out, number::COMMENT, comment);
        end_of_options(out);
    });
}

/// Appends an interface; the first has number 0.
pub fn interface(out: &mut Vec<u8>, name: &str, description: &str, snap_len: u32) {
    block(out, number::INTERFACE, |out| {
        out.extend(number::ETHERNET.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(snap_len.to_le_bytes());
        text(out, number::NAME, name);
        text(out, number::DESCRIPTION, description);
        option(out, number::RESOLUTION, &[NANOSECONDS]);
        end_of_options(out);
    });
}

/// Appends a packet.
pub fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    block(out, number::PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        time(out, packet.at);
        out.extend(number(packet.bytes.len()).to_le_bytes());
        out.extend(number(packet.len).to_le_bytes());
        padded(out, packet.bytes);
        text(out, number::COMMENT, packet.comment);
        option(out, number::FLAGS, &INBOUND.to_le_bytes());
        if packet.lost > 0 {
            option(out, number::DROP_COUNT, &packet.lost.to_le_bytes());
        }
        end_of_options(out);
    });
}

/// Appends the counts of an interface.
pub fn statistics(out: &mut Vec<u8>, one: &Statistics<'_>) {
    block(out, number::STATISTICS, |out| {
        out.extend(one.interface.to_le_bytes());
        time(out, one.to);
        for (code, at) in [(number::START, one.from), (number::END, one.to)] {
            let mut value = Vec::with_capacity(8);
            time(&mut value, at);
            option(out, code, &value);
        }
        option(out, number::DROPPED, &one.lost.to_le_bytes());
        option(out, number::ACCEPTED, &one.accepted.to_le_bytes());
        option(out, number::DELIVERED, &one.delivered.to_le_bytes());
        if !one.comment.is_empty() {
            text(out, number::COMMENT, one.comment);
        }
        end_of_options(out);
    });
}

/// A block around `body`: its length stands at both ends.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(len);
    out[start + 4..start + 8].copy_from_slice(&len);
}

/// The upper half of a time comes first, in either byte order.
fn time(out: &mut Vec<u8>, at: u64) {
    let [a, b, c, d, e, f, g, h] = at.to_le_bytes();
    out.extend([e, f, g, h, a, b, c, d]);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.extend(core::iter::repeat_n(0, bytes.len().next_multiple_of(4) - bytes.len()));
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    padded(out, value);
}

/// An option of text, cut at a character if it is too long.
fn text(out: &mut Vec<u8>, code: u16, value: &str) {
    option(out, code, value.get(..value.floor_char_boundary(COMMENT_MAX)).unwrap_or_default().as_bytes());
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_whole_words_and_tell_their_length_twice() {
        let mut out = Vec::new();
        section(&mut out, "ringfence", "a comment, ü");
        interface(&mut out, "eth1", "wire a, inside", 64);
        for len in 0..9 {
            let comment = "x".repeat(len);
            let one = Packet {
                interface: 0,
                at: 1 << 40,
                len: 100,
                bytes: &[7; 9][..len],
                comment: &comment,
                lost: len as u64,
            };
            packet(&mut out, &one);
        }
        let counts =
            Statistics { interface: 0, from: 1, to: 2, accepted: 9, lost: 1, delivered: 8, comment: "" };
        statistics(&mut out, &counts);
        let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < out.len() {
            let len = word(at + 4) as usize;
            assert!(len.is_multiple_of(4) && word(at + len - 4) as usize == len, "block at {at}");
            kinds.push(word(at));
            at += len;
        }
        assert_eq!(kinds.len(), 12);
        assert_eq!((kinds[0], kinds[1], kinds[11]), (number::SECTION, 1, 5));
        assert_eq!(word(out.len() - 4), word(at - 4));
    }

    #[test]
    fn a_comment_that_is_too_long_is_cut_at_a_character() {
        let mut out = Vec::new();
        text(&mut out, 1, &"ü".repeat(5000));
        assert_eq!(u16::from_le_bytes([out[2], out[3]]), 4096);
        assert!(core::str::from_utf8(&out[4..]).is_ok());
    }
}
