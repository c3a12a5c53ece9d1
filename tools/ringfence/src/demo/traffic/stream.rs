//! A UDP stream of numbered datagrams at a steady pace, counted at both ends and both ways.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::{LabError, Namespace};

/// How long the last datagram may take to arrive and come back.
const TAIL: Duration = Duration::from_millis(300);

/// What was counted, once the stream has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Datagrams that the sender's kernel took.
    pub(crate) sent: u64,
    /// Different numbers that the sender got back from the echo server.
    pub(crate) returned: u64,
    /// Datagrams that came back more than once or out of bounds.
    pub(crate) strange: u64,
}

/// A stream under way.
#[derive(Debug)]
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<(u64, u64)>,
}

impl Stream {
    /// Sends from `host` to the echo service at `to`, one datagram every `pace`.
    pub(crate) fn start(
        host: &Namespace,
        to: SocketAddr,
        pace: Duration,
    ) -> Result<io::Result<Self>, LabError> {
        let socket = host.run(|| {
            let any: IpAddr =
                if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(TAIL))?;
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
            Ok((socket.try_clone()?, socket))
        })?;
        Ok(socket.map(|(sending, receiving)| {
            let stop = Arc::new(AtomicBool::new(false));
            let (one, other) = (Arc::clone(&stop), Arc::clone(&stop));
            Self {
                stop,
                sender: thread::spawn(move || send(&sending, pace, &one)),
                receiver: thread::spawn(move || receive(&receiving, &other)),
            }
        }))
    }

    /// Ends the sending.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Ends the stream, waits for what is on its way, and counts.
    pub(crate) fn finish(self) -> Count {
        self.stop();
        let sent = self.sender.join().unwrap_or_default();
        let (returned, strange) = self.receiver.join().unwrap_or_default();
        Count { sent, returned, strange }
    }
}

fn send(socket: &UdpSocket, pace: Duration, stop: &AtomicBool) -> u64 {
    let mut next = Instant::now();
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        let mut payload = [0; 64];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        if socket.send(&payload).is_ok() {
            number += 1;
        }
        next += pace;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    number
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> (u64, u64) {
    let mut seen: Vec<bool> = Vec::new();
    let mut strange = 0;
    let mut payload = [0; 65];
    loop {
        match socket.recv(&mut payload) {
            Ok(64) => {
                let number = u64::from_be_bytes(payload[..8].try_into().unwrap_or_default());
                let index = usize::try_from(number).unwrap_or(usize::MAX);
                // A minute at one datagram in 10 µs: more than the demo ever sends.
                if index >= 6_000_000 {
                    strange += 1;
                    continue;
                }
                if seen.len() <= index {
                    seen.resize(index + 1, false);
                }
                strange += u64::from(std::mem::replace(&mut seen[index], true));
            }
            Ok(_) => strange += 1,
            // The time-out is the tail: nothing has come for so long after the sender stopped.
            Err(_) if stop.load(Ordering::SeqCst) => break,
            Err(_) => {}
        }
    }
    (seen.iter().map(|seen| u64::from(*seen)).sum(), strange)
}
