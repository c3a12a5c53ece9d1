//! Captures: what passed and was dropped is in the file, packet tools read it, and a replay of it says the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod memory;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use pcap_parser::{Block, OptionCode, PcapBlockOwned, PcapError, create_reader};

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringfence-capture-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ringfence(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

/// A packet of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    interface: u32,
    bytes: Vec<u8>,
    len: usize,
    comment: String,
}

/// Every packet of a pcapng file, and the counts of each interface: dropped, accepted, delivered. Read by a library
/// that did not write it.
fn read(path: &Path) -> (Vec<Read>, Vec<[u64; 3]>) {
    let mut reader = create_reader(1 << 20, std::fs::File::open(path).unwrap()).unwrap();
    let (mut packets, mut counts) = (Vec::new(), Vec::new());
    loop {
        let (used, block) = match reader.next() {
            Ok(found) => found,
            Err(PcapError::Eof) => return (packets, counts),
            Err(PcapError::Incomplete(_)) => {
                reader.refill().unwrap();
                continue;
            }
            Err(error) => panic!("{error:?}"),
        };
        match block {
            PcapBlockOwned::NG(Block::InterfaceDescription(_)) => counts.push([0; 3]),
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let comment =
                    packet.options.iter().find(|option| option.code == OptionCode::Comment).unwrap();
                packets.push(Read {
                    interface: packet.if_id,
                    bytes: packet.data[..packet.caplen as usize].to_vec(),
                    len: packet.origlen as usize,
                    comment: text(&comment.value[..comment.len as usize]),
                });
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(one)) => {
                let number = |code| {
                    let option = one.options.iter().find(|option| option.code == OptionCode(code)).unwrap();
                    u64::from_le_bytes(option.value[..8].try_into().unwrap())
                };
                counts[one.if_id as usize] = [number(5), number(6), number(8)];
            }
            _ => {}
        }
        reader.consume(used);
    }
}

/// What tshark says of each packet, by the names of its fields.
fn tshark(path: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-T", "fields", "-E", "separator=/t"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap_or_else(|error| panic!("tshark must be there: {error}"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// The value of a word of a comment.
fn value<'a>(comment: &'a str, key: &str) -> Option<&'a str> {
    comment.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}
