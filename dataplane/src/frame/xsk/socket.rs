//! One AF_XDP socket on one queue of one device.

use core::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING,
    XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpStatistics, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, sockopt};

use super::ends::{Kick, Receiver, Transmitter};
use super::options;
use super::rings::{Consumer, Producer};
use crate::frame::Umem;
use crate::verdict::Side;

/// How long a bind waits for a socket of a process that has just died to let go of the queue: the kernel frees its
/// pool in a work queue, after the process is gone (`xp_put_pool`, `xp_release_deferred`).
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Send buffer, bytes. In copy mode each frame in flight is charged to it as an skb (about twice its bytes); a
/// full one makes kicks answer EAGAIN although the ring has frames.
const SEND_BUFFER: usize = 16 << 20;

/// Which data path to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// Zero copy if the driver can, else copy: the kernel chooses (`xp_assign_dev`).
    Any,
    /// Zero copy or an error.
    ZeroCopy,
    /// Copy, whatever the driver can.
    Copy,
}

/// Busy polling: the worker drives the driver itself and never sleeps; lowest latency, one core fully used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long one system call may poll, microseconds (`SO_BUSY_POLL`).
    pub micros: u32,
    /// The most frames one poll takes (`SO_BUSY_POLL_BUDGET`).
    pub budget: u32,
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) interface: u32,
    pub(crate) queue: u32,
    pub(crate) side: Side,
    pub(crate) bind: Bind,
    /// Entries in each of the four rings; a power of two.
    pub(crate) ring: u32,
    /// Chunks that refilling leaves free.
    pub(crate) reserve: usize,
    pub(crate) busy_poll: Option<BusyPoll>,
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// The kernel has no AF_XDP.
    NoSupport,
    /// The process may not open AF_XDP sockets.
    NotPermitted,
    /// The memory could not be pinned.
    MemoryLimit,
    /// Another process's socket holds the queue.
    Busy,
    /// The driver has no zero copy.
    NoZeroCopy,
    /// A step failed with an error number.
    Failed {
        /// What was tried.
        step: &'static str,
        /// The error number (`errno(3)`).
        errno: i32,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSupport => {
                f.write_str("this kernel has no AF_XDP: it needs CONFIG_XDP_SOCKETS (Linux 5.4 or later)")
            }
            Self::NotPermitted => f.write_str(
                "AF_XDP sockets need CAP_NET_RAW: run as root, or give the service that capability",
            ),
            Self::MemoryLimit => f.write_str(
                "frame memory cannot be pinned within RLIMIT_MEMLOCK: raise it (LimitMEMLOCK=infinity in a systemd \
                 unit) or use fewer frames",
            ),
            Self::Busy => f.write_str(
                "another process holds this queue with an AF_XDP socket: stop it first (`ss --xdp -p` shows it)",
            ),
            Self::NoZeroCopy => f.write_str("the driver has no zero copy: use mode auto or native-copy"),
            Self::Failed { step, errno } => write!(f, "{step}: {}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl core::error::Error for SocketError {}

/// An open, bound socket. Its rings are in the [`Receiver`] and [`Transmitter`] made with it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    zero_copy: bool,
    busy_poll: bool,
}

/// Opens a socket, registers the whole `umem` with it, fills its fill ring and binds it.
///
/// Each socket registers the mapping for itself instead of sharing one registration (`XDP_SHARED_UMEM`): sharing
/// would force every port into the first one's mode (`xp_assign_dev_shared`). A chunk's address is the same in all
/// registrations, so a frame received on one port is sent on another without a copy in user space. The price is
/// that the pages are pinned and accounted once per socket. The fill ring is filled before the bind, because some
/// zero-copy drivers do not look again until something is received.
///
/// # Errors
/// [`SocketError`].
pub(crate) fn open(umem: &mut Umem, plan: &Plan) -> Result<(Receiver, Transmitter), SocketError> {
    let flags = SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, flags, None).map_err(|errno| {
        match errno {
            Errno::AFNOSUPPORT => SocketError::NoSupport,
            Errno::PERM | Errno::ACCESS => SocketError::NotPermitted,
            errno => failed("socket(AF_XDP)")(errno),
        }
    })?;
    register(&fd, umem)?;
    let (fill, rx, tx, completion) = map_rings(fd.as_fd(), plan.ring)?;

    // Both are allowed to fail: without them kicks are needed more often, and kicks are repeated anyway.
    let _ = sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER);
    let _ = options::set_tx_budget(fd.as_fd(), plan.ring);
    if let Some(BusyPoll { micros, budget }) = plan.busy_poll {
        options::set_busy_poll(fd.as_fd(), micros, budget).map_err(|error| {
            failed("SO_PREFER_BUSY_POLL")(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
        })?;
    }

    // The halves exist before the bind so that the fill ring is ready; until then they speak of no socket.
    let mut receiver = Receiver::new(plan.side, fill, rx, None);
    receiver.refill(umem, plan.reserve);
    bind_patiently(&fd, plan)?;
    let options = sockopt::xdp_options(&fd).map_err(failed("XDP_OPTIONS"))?;
    let zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
    let socket = Arc::new(Socket { fd, zero_copy, busy_poll: plan.busy_poll.is_some() });
    receiver.attach(Arc::clone(&socket));
    Ok((receiver, Transmitter::new(plan.side, tx, completion, Some(socket))))
}

fn failed(step: &'static str) -> impl Fn(Errno) -> SocketError {
    move |errno| SocketError::Failed { step, errno: errno.raw_os_error() }
}

fn register(fd: &OwnedFd, umem: &Umem) -> Result<(), SocketError> {
    let (base, len) = umem.range();
    let registration = XdpUmemReg {
        addr: base.addr().get() as u64,
        len: len as u64,
        chunk_size: umem.chunk_size(),
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(fd, registration).map_err(|errno| match errno {
        Errno::NOBUFS | Errno::NOMEM => SocketError::MemoryLimit,
        errno => failed("XDP_UMEM_REG")(errno),
    })
}

type Rings =
    (Producer<u64>, Consumer<rustix::net::xdp::XdpDesc>, Producer<rustix::net::xdp::XdpDesc>, Consumer<u64>);

fn map_rings(fd: BorrowedFd<'_>, size: u32) -> Result<Rings, SocketError> {
    sockopt::set_xdp_umem_fill_ring_size(fd, size).map_err(failed("XDP_UMEM_FILL_RING"))?;
    sockopt::set_xdp_umem_completion_ring_size(fd, size).map_err(failed("XDP_UMEM_COMPLETION_RING"))?;
    sockopt::set_xdp_rx_ring_size(fd, size).map_err(failed("XDP_RX_RING"))?;
    sockopt::set_xdp_tx_ring_size(fd, size).map_err(failed("XDP_TX_RING"))?;
    let offsets = sockopt::xdp_mmap_offsets(fd).map_err(failed("XDP_MMAP_OFFSETS"))?;
    let mapped =
        |error: io::Error| failed("mapping a ring")(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    Ok((
        Producer::of_socket(fd, XDP_UMEM_PGOFF_FILL_RING, size, offsets.fr).map_err(mapped)?,
        Consumer::of_socket(fd, XDP_PGOFF_RX_RING, size, offsets.rx).map_err(mapped)?,
        Producer::of_socket(fd, XDP_PGOFF_TX_RING, size, offsets.tx).map_err(mapped)?,
        Consumer::of_socket(fd, XDP_UMEM_PGOFF_COMPLETION_RING, size, offsets.cr).map_err(mapped)?,
    ))
}

/// Binds, waiting a moment for a dead process's socket to let go.
fn bind_patiently(fd: &OwnedFd, plan: &Plan) -> Result<(), SocketError> {
    let mode = match plan.bind {
        Bind::Any => SocketAddrXdpFlags::empty(),
        Bind::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
        Bind::Copy => SocketAddrXdpFlags::XDP_COPY,
    };
    let flags = mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    let address = SocketAddrXdp::new(flags, plan.interface, plan.queue);
    let give_up = Instant::now() + BUSY_PATIENCE;
    loop {
        match bind(fd, &address) {
            Ok(()) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < give_up => std::thread::sleep(BUSY_PAUSE),
            Err(Errno::BUSY) => return Err(SocketError::Busy),
            Err(Errno::OPNOTSUPP) if plan.bind == Bind::ZeroCopy => return Err(SocketError::NoZeroCopy),
            Err(errno) => return Err(failed("bind")(errno)),
        }
    }
}

impl Socket {
    /// Whether the kernel chose zero copy.
    pub(crate) fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Whether this thread polls the driver.
    pub(crate) fn busy_poll(&self) -> bool {
        self.busy_poll
    }

    /// What the kernel counted for this socket.
    ///
    /// # Errors
    /// What `getsockopt(2)` says.
    pub(crate) fn statistics(&self) -> io::Result<XdpStatistics> {
        Ok(sockopt::xdp_statistics(&self.fd)?)
    }

    /// Whether the device was removed (`xsk_notifier` leaves ENETDOWN on the socket). True once: asking clears it.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(sockopt::socket_error(&self.fd), Ok(Err(Errno::NETDOWN)))
    }

    /// `sendto` with nothing to send: `xsk_sendmsg` in `net/xdp/xsk.c`.
    pub(super) fn drive_transmit(&self) -> Kick {
        match send(&self.fd, &[], SendFlags::DONTWAIT) {
            Ok(_) => Kick::Done,
            Err(Errno::BUSY) if !self.zero_copy => Kick::Dropped,
            Err(Errno::NETDOWN) => Kick::Down,
            Err(Errno::NXIO) => Kick::Gone,
            // EAGAIN, ENOBUFS and ENOMEM; anything else is also no reason to stop trying, as tries are bounded.
            Err(_) => Kick::Again,
        }
    }

    /// `recvfrom` with no room to receive: `xsk_recvmsg` wakes or polls the driver. An answer would tell nothing
    /// that the rings do not.
    pub(super) fn drive_receive(&self) {
        let _ = recv(&self.fd, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
