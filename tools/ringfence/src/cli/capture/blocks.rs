//! The blocks of a pcapng file as it grows, as the daemon writes it: little-endian, one section.

use std::io;

use jiff::Timestamp;

/// Longest block that is believed, bytes.
const BLOCK_MAX: usize = 1 << 20;

/// Cuts a stream of bytes into blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    rest: Vec<u8>,
}

impl Blocks {
    /// Takes more bytes, and hands on each block that is whole.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(len) = word(&self.rest, at + 4) {
            let len = len as usize;
            if !(12..=BLOCK_MAX).contains(&len) || !len.is_multiple_of(4) {
                return Err(io::Error::other("the daemon's capture makes no sense"));
            }
            let Some(block) = self.rest.get(at..at + len) else { break };
            each(block)?;
            at += len;
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// Whether the stream stopped inside a block.
    pub(super) fn is_inside(&self) -> bool {
        !self.rest.is_empty()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// An upper and a lower half.
fn time(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(word(bytes, at)?) << 32 | u64::from(word(bytes, at + 4)?))
}

/// The value of an option, of those that begin at `at`.
fn option(bytes: &[u8], mut at: usize, wanted: u16) -> Option<&[u8]> {
    loop {
        let [code, len] = [0, 2].map(|half| {
            let two = bytes.get(at + half..at + half + 2)?;
            two.try_into().ok().map(u16::from_le_bytes)
        });
        let (code, len) = (code?, usize::from(len?));
        match code {
            0 => return None,
            code if code == wanted => return bytes.get(at + 4..at + 4 + len),
            _ => at += 4 + len.next_multiple_of(4),
        }
    }
}

fn number(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// What was seen of a capture.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Names of the interfaces.
    interfaces: Vec<String>,
    /// The last counts of each: accepted, lost.
    counts: Vec<Option<(u64, u64)>>,
    /// Packets.
    pub(super) packets: u64,
    /// Packets that the filter wanted.
    pub(super) accepted: u64,
    /// Of them, those that were lost.
    pub(super) lost: u64,
}

impl Seen {
    /// Takes a block; a packet's line for people.
    pub(super) fn take(&mut self, block: &[u8]) -> Option<String> {
        match word(block, 0)? {
            1 => {
                let name = option(block, 16, 2).map(|name| String::from_utf8_lossy(name).into_owned());
                self.interfaces.push(name.unwrap_or_default());
                self.counts.push(None);
            }
            5 => {
                let counts = (number(option(block, 20, 6)), number(option(block, 20, 5)));
                if let Some(known) = self.counts.get_mut(word(block, 8)? as usize) {
                    *known = Some(counts);
                }
                let sum = |of: fn(&(u64, u64)) -> u64| self.counts.iter().flatten().map(of).sum();
                (self.accepted, self.lost) = (sum(|counts| counts.0), sum(|counts| counts.1));
            }
            6 => {
                self.packets += 1;
                return self.line(block);
            }
            _ => {}
        }
        None
    }

    /// Whether each interface has told its counts.
    pub(super) fn is_counted(&self) -> bool {
        !self.counts.is_empty() && self.counts.iter().all(Option::is_some)
    }

    fn line(&self, block: &[u8]) -> Option<String> {
        let interface = self.interfaces.get(word(block, 8)? as usize)?;
        let nanos = i128::from(time(block, 12)?);
        let at = Timestamp::from_nanosecond(nanos).ok()?;
        let (kept, len) = (word(block, 20)? as usize, word(block, 24)?);
        let comment = option(block, 28 + kept.next_multiple_of(4), 1)?;
        Some(format!("{at:.6} {interface} {len} B {}", String::from_utf8_lossy(comment)))
    }
}

#[cfg(test)]
mod tests {
    use control::observe::capture::pcapng::{self, Packet, Statistics};

    use super::*;

    fn file() -> Vec<u8> {
        let mut out = Vec::new();
        pcapng::section(&mut out, "test", "");
        pcapng::interface(&mut out, "eth1", "", 4096);
        let packet = Packet {
            interface: 0,
            at: 1_500_000_000_000_000_000,
            len: 61,
            bytes: &[1; 61],
            comment: "verdict=drop",
            lost: 0,
        };
        pcapng::packet(&mut out, &packet);
        let counts =
            Statistics { interface: 0, from: 0, to: 1, accepted: 9, lost: 8, delivered: 1, comment: "" };
        pcapng::statistics(&mut out, &counts);
        out
    }

    #[test]
    fn a_file_is_understood_however_it_is_cut() {
        let file = file();
        for size in [1, 3, 7, 64, file.len()] {
            let (mut blocks, mut seen, mut lines) = (Blocks::default(), Seen::default(), Vec::new());
            for piece in file.chunks(size) {
                let each = |block: &[u8]| {
                    lines.extend(seen.take(block));
                    Ok(())
                };
                blocks.feed(piece, each).unwrap();
            }
            assert_eq!(lines, ["2017-07-14T02:40:00.000000Z eth1 61 B verdict=drop"], "{size}");
            assert_eq!((seen.packets, seen.accepted, seen.lost), (1, 9, 8), "{size}");
            assert!(seen.is_counted() && !blocks.is_inside(), "{size}");
        }
    }

    #[test]
    fn what_is_cut_off_or_makes_no_sense_is_noticed() {
        let file = file();
        let mut blocks = Blocks::default();
        blocks.feed(&file[..file.len() - 1], |_| Ok(())).unwrap();
        assert!(blocks.is_inside());
        for nonsense in [[0; 12], [0xff; 12], [1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(Blocks::default().feed(&nonsense, |_| Ok(())).is_err());
        }
    }
}
