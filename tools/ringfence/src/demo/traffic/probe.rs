//! One question put on the network: does this get through?

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use lab::{LabError, Namespace};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use super::pattern;

/// How long a probe that should get through may take: far more than it needs, for slow machines.
pub(crate) const PATIENT: Duration = Duration::from_secs(10);
/// How long silence must last to be believed. The deciding proof is that nothing arrived at the far end.
pub(crate) const BRIEF: Duration = Duration::from_millis(300);

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Everything came back as it was sent.
    Echoed {
        /// Payload sent and received, bytes.
        bytes: usize,
        /// How long it took.
        took: Duration,
        /// The path MTU the sender knew at the end, bytes, if the probe was TCP.
        path_mtu: Option<u32>,
    },
    /// Nothing came back in time.
    Silence,
    /// Something came back that was not what was sent.
    Garbled,
    /// The kernel refused or reported an error.
    Error(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echoed { bytes, .. } => write!(f, "{bytes} bytes there and back"),
            Self::Silence => f.write_str("silence"),
            Self::Garbled => f.write_str("other bytes came back"),
            Self::Error(error) => f.write_str(error),
        }
    }
}

impl Answer {
    fn of(result: io::Result<Self>) -> Self {
        match result {
            Ok(answer) => answer,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Self::Silence
            }
            Err(error) => Self::Error(error.to_string()),
        }
    }

    fn compare(sent: &[u8], received: &[u8], since: Instant) -> Self {
        if sent == received {
            Self::Echoed { bytes: sent.len(), took: since.elapsed(), path_mtu: None }
        } else {
            Self::Garbled
        }
    }
}

/// Connects from `host`, sends `len` bytes while reading them back, and compares.
pub(crate) fn tcp(
    host: &Namespace,
    to: SocketAddr,
    len: usize,
    within: Duration,
) -> Result<Answer, LabError> {
    host.run(|| Answer::of(tcp_echo(to, len, within)))
}

fn tcp_echo(to: SocketAddr, len: usize, within: Duration) -> io::Result<Answer> {
    let since = Instant::now();
    let mut stream = TcpStream::connect_timeout(&to, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let sent = pattern(len, u64::from(stream.local_addr()?.port()));
    let mut received = vec![0; len];
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&sent));
        let reading = stream.read_exact(&mut received);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reading.and(written)
    })?;
    // Part in order: a segment that comes late could be taken for one of the next probe's.
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    let mtu = if to.is_ipv4() { sockopt::ip_mtu(&stream) } else { sockopt::ipv6_mtu(&stream) }?;
    Ok(match Answer::compare(&sent, &received, since) {
        Answer::Echoed { bytes, took, .. } => Answer::Echoed { bytes, took, path_mtu: Some(mtu) },
        other => other,
    })
}

/// Sends one datagram of `len` bytes from an address of `host` and waits for it to come back. Over the MTU it goes
/// in fragments.
pub(crate) fn udp(
    host: &Namespace,
    source: IpAddr,
    to: SocketAddr,
    len: usize,
    within: Duration,
) -> Result<Answer, LabError> {
    host.run(|| Answer::of(udp_echo(source, to, len, within)))
}

fn udp_echo(source: IpAddr, to: SocketAddr, len: usize, within: Duration) -> io::Result<Answer> {
    let since = Instant::now();
    let socket = UdpSocket::bind((source, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(within))?;
    let sent = pattern(len, u64::from(socket.local_addr()?.port()));
    socket.send(&sent)?;
    let mut received = vec![0; len + 1];
    let got = socket.recv(&mut received)?;
    Ok(Answer::compare(&sent, &received[..got], since))
}

/// Sends one ICMP or ICMPv6 echo request with `len` bytes from `host` and waits for the reply.
pub(crate) fn ping(host: &Namespace, to: IpAddr, len: usize, within: Duration) -> Result<Answer, LabError> {
    host.run(|| Answer::of(ping_echo(to, len, within)))
}

fn ping_echo(to: IpAddr, len: usize, within: Duration) -> io::Result<Answer> {
    let since = Instant::now();
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    // The kernel's echo socket: it fills in identifier and checksum and hands up only our replies.
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol))?;
    sockopt::set_socket_timeout(socket.as_fd(), sockopt::Timeout::Recv, Some(within))?;
    let sent = pattern(len, 8);
    let mut message = vec![request, 0, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(&sent);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddr::new(to, 0))?;
    let mut received = vec![0; message.len() + 1];
    let (got, _) = rustix::net::recv(&socket, &mut received[..], RecvFlags::empty())?;
    if received[0] != reply || got < 8 {
        return Ok(Answer::Garbled);
    }
    Ok(Answer::compare(&sent, &received[8..got], since))
}
