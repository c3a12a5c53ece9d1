//! The program that refuses denied clients before there is a connection: loaded, attached, and its three maps.
//!
//! `bpf/refuse.bpf.c` says what it does. A SYN that it refuses costs the kernel a lookup and a reset, and this process
//! a record; one that is accepted first costs both ends a socket each. It needs `CAP_BPF` and `CAP_NET_ADMIN`; without
//! them every client is accepted before it is refused.

use core::error::Error;
use std::fs::File;
use std::io;

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use aya::programs::SkLookup;

use crate::address::Address;
use crate::object;
use crate::verdict::Epoch;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/refuse.bpf.o");

/// Where the calling thread's sockets are.
const NAMESPACE: &str = "/proc/thread-self/ns/net";
const INET: u32 = 2;
const INET6: u32 = 10;
/// `struct client` of the program, in words.
const CLIENT: usize = 11;
/// `struct refusal`.
const REFUSAL: usize = CLIENT + 1;

/// Whoever wants to connect from one address to one port of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) port: u16,
}

impl Client {
    fn words(&self, epoch: Epoch) -> [u32; CLIENT] {
        let mut words = [0; CLIENT];
        let family = if self.source.is_v4() { INET } else { INET6 };
        put(&mut words[..4], self.source);
        put(&mut words[4..8], self.destination);
        words[8..].copy_from_slice(&[family, self.port.into(), epoch.0]);
        words
    }

    fn of(words: &[u32; REFUSAL]) -> Option<Self> {
        let v4 = words[8] == INET;
        let (source, destination) = (get(&words[..4], v4), get(&words[4..8], v4));
        Some(Self { source, destination, port: u16::try_from(words[9]).ok()? })
    }
}

/// An address as the kernel keeps it: words whose bytes are in the order of the wire.
fn put(words: &mut [u32], address: Address) {
    if let Some(v4) = address.as_v4() {
        words[0] = v4.to_be();
        return;
    }
    for (word, bytes) in words.iter_mut().zip(address.bits().to_be_bytes().as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
}

fn get(words: &[u32], v4: bool) -> Address {
    if v4 {
        return Address::v4(words[0].to_ne_bytes());
    }
    let mut bytes = [0; 16];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_ne_bytes();
    }
    Address::v6(bytes)
}

/// The program at work in the calling thread's network namespace, until dropped.
pub(super) struct Early {
    epoch: Array<MapData, u32>,
    denied: HashMap<MapData, [u32; CLIENT], u32>,
    refused: RingBuf<MapData>,
    /// Owns the program and its attachment.
    _program: Ebpf,
}

impl Early {
    /// Loads and attaches it. It refuses nobody yet.
    ///
    /// # Errors
    /// What is missing: privileges by their names, anything else in the loader's words.
    pub(super) fn start() -> Result<Self, String> {
        let mut ebpf = object::load(OBJECT).map_err(|error| said(&error))?;
        let mut map = |name: &str| -> Result<Map, String> {
            ebpf.take_map(name).ok_or_else(|| format!("the object lacks the map {name}"))
        };
        let epoch = Array::try_from(map("epoch")?).map_err(|error| said(&error))?;
        let denied = HashMap::try_from(map("denied")?).map_err(|error| said(&error))?;
        let refused = RingBuf::try_from(map("refused")?).map_err(|error| said(&error))?;
        let program = ebpf.program_mut("refuse").ok_or("the object lacks its program")?;
        let program: &mut SkLookup = program.try_into().map_err(|error| said(&error))?;
        program.load().map_err(|error| said(&error))?;
        let namespace = File::open(NAMESPACE).map_err(|error| format!("{NAMESPACE}: {error}"))?;
        program.attach(namespace).map_err(|error| said(&error))?;
        Ok(Self { epoch, denied, refused, _program: ebpf })
    }

    /// Refuses what was denied under `epoch` from now on; with epoch 0 nothing. A program that was running on another
    /// processor may still refuse one client by what was in force before.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn enforce(&mut self, epoch: Epoch) -> Result<(), String> {
        self.epoch.set(0, epoch.0, 0).map_err(|error| error.to_string())
    }

    /// Policy denies `client` under `epoch`, as it has just said of a connection from `source_port`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn deny(&mut self, client: &Client, source_port: u16, epoch: Epoch) -> Result<(), String> {
        self.denied.insert(client.words(epoch), u32::from(source_port), 0).map_err(|error| error.to_string())
    }

    /// The oldest refusal that was not taken yet: who, and from which port.
    pub(super) fn next(&mut self) -> Option<(Client, u16)> {
        let item = self.refused.next()?;
        let mut words = [0; REFUSAL];
        for (word, bytes) in words.iter_mut().zip(item.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        let source_port = u16::try_from(words[CLIENT]).unwrap_or(0);
        Client::of(&words).map(|client| (client, source_port))
    }
}

/// An error with all that caused it.
fn said(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return "it needs CAP_BPF and CAP_NET_ADMIN".into();
        }
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;
    use std::net::TcpListener;

    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

    use super::*;

    #[test]
    fn addresses_are_words_in_the_order_of_the_wire() {
        let cases = [
            ("10.1.2.3", [u32::from_ne_bytes([10, 1, 2, 3]), 0, 0, 0]),
            (
                "2001:db8::7",
                [u32::from_ne_bytes([0x20, 1, 0xd, 0xb8]), 0, 0, u32::from_ne_bytes([0, 0, 0, 7])],
            ),
        ];
        for (text, expected) in cases {
            let ip: core::net::IpAddr = text.parse().unwrap();
            let address = Address::from(ip);
            let client = Client { source: address, destination: address, port: 5432 };
            let words = client.words(Epoch(9));
            assert_eq!((&words[..4], &words[4..8]), (&expected[..], &expected[..]), "{text}");
            let mut refusal = [0; REFUSAL];
            refusal[..CLIENT].copy_from_slice(&words);
            assert_eq!(Client::of(&refusal), Some(client), "{text}");
        }
    }

    /// Without room to tell of them, clients are let through to whoever listens, and of those that were refused not one
    /// is lost. Segments of the connection that was denied first are never refused.
    #[test]
    fn what_cannot_be_told_is_not_refused() {
        if lab::skip_unprivileged() {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let connect = |port: u16| {
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &SocketAddr::from(([127, 0, 0, 9], port)))?;
            rustix::net::connect(&socket, &to)
        };
        let (source, destination) = (Address::v4([127, 0, 0, 9]), Address::v4([127, 0, 0, 1]));
        let client = Client { source, destination, port: to.port() };
        let mut early = Early::start().unwrap();
        let (first, epoch) = (20_001, Epoch(7));
        early.deny(&client, first, epoch).unwrap();
        assert_eq!(connect(0), Ok(()), "nothing is enforced yet");
        early.enforce(epoch).unwrap();
        assert_eq!(connect(0), Err(Errno::CONNREFUSED));
        assert_eq!(connect(first), Ok(()), "the connection that was denied first");
        assert_eq!(early.next().map(|(client, _)| client), Some(client));
        assert!(early.next().is_none());
        let mut refused = 0;
        while connect(0) == Err(Errno::CONNREFUSED) {
            refused += 1;
            assert!(refused < 1 << 15, "there is always room");
        }
        assert!(refused > 10_000, "{refused}");
        let told = core::iter::from_fn(|| early.next()).filter(|(told, _)| *told == client).count();
        assert_eq!(told, refused);
        assert_eq!(connect(0), Err(Errno::CONNREFUSED), "there is room again");
        early.enforce(Epoch(8)).unwrap();
        assert_eq!(connect(0), Ok(()), "another policy");
    }
}
