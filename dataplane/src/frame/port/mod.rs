//! A port: one side of a wire, where frames come in and go out.
//!
//! Today both happen on one network device. Nothing above this module relies on that: a worker holds a receiving
//! and a transmitting end per queue, and they may come to sit on different devices.
//!
//! What a veth does (`drivers/net/veth.c`), because containers and laboratories are made of them:
//! - A native program turns segmentation offload off at the other end, so that frames arrive cut to the MTU, but
//!   not checksum offload: a local sender's checksums are still unfinished.
//! - A frame arrives on the queue that the sender's stack chose, or the CPU it ran on if it was redirected: the two
//!   directions of a flow may well use different queues.
//! - A queue takes 256 frames at a time (`VETH_RING_SIZE`); longer bursts lose some.
//! - AF_XDP transmits without any program on the device: copy mode makes an skb of each frame and hands it to the
//!   driver (`xsk_generic_xmit` in `net/xdp/xsk.c`). The frame's chunk comes back when the receiver has let go of
//!   that skb.

mod error;
mod link;
mod redirect;
mod survey;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Umem;
use super::xsk::{self, Bind, Receiver, Transmitter};
use crate::verdict::Side;
pub use error::{PortError, PortProblem};
use link::Link;
pub use redirect::Fallback;
use redirect::Redirect;
pub(crate) use survey::{Survey, survey};
pub use xsk::{BusyPoll, SocketError};

/// Ethernet header and two VLAN tags: what a frame has besides its MTU.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4;

/// Where the program runs and who copies, as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// The best that the device can: zero copy, else native copy, else generic.
    #[default]
    Auto,
    /// The driver puts frames straight into the chunks.
    ZeroCopy,
    /// The driver runs the program; the kernel copies each frame once.
    NativeCopy,
    /// The stack runs the program, after it has made an skb: works on any device, slowest. Merging of received
    /// packets (GRO) is turned off while the port is open, because merged ones do not fit a chunk. For the same
    /// reason the other end of a virtual device must not leave segmentation to it (`ethtool -K <end> tso off gso
    /// off`): the socket drops such packets, counted in `SocketCounts::receive_dropped`.
    Generic,
}

impl AttachMode {
    /// Every mode with its name in configuration files.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("zero-copy", Self::ZeroCopy),
        ("native-copy", Self::NativeCopy),
        ("generic", Self::Generic),
    ];
}

/// Where the program runs and who copies, as it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortMode {
    /// No copy.
    ZeroCopy,
    /// In the driver, one copy in the kernel each way.
    NativeCopy,
    /// In the stack's generic path.
    Generic,
}

impl PortMode {
    /// `zero-copy`, `native-copy` or `generic`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::NativeCopy => "native-copy",
            Self::Generic => "generic",
        }
    }
}

/// One port of a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Name of the network device, in the network namespace of the thread that opens the wire.
    pub interface: String,
    /// How to attach.
    pub mode: AttachMode,
}

/// A port with its program on it, ready to open queues.
pub(crate) struct Port {
    interface: String,
    link: Link,
    native: bool,
    mode: AttachMode,
    redirect: Redirect,
    /// Merging of received packets was turned off here, and is to be turned on again.
    merged: bool,
}

/// Attaches both ports of a wire; `open`: each falls back to the other. If the second fails, the first is
/// left as it was.
///
/// # Errors
/// [`PortError`].
pub(crate) fn attach_both(
    inside: Survey,
    outside: Survey,
    open: bool,
    pins: &[Option<PathBuf>; 2],
) -> Result<(Port, Port), PortError> {
    inside.check_abandoned(pins[0].as_deref())?;
    outside.check_abandoned(pins[1].as_deref())?;
    let peer = outside.index();
    let back = inside.index();
    let inside = inside.attach(open.then_some(peer), pins[0].as_deref())?;
    match outside.attach(open.then_some(back), pins[1].as_deref()) {
        Ok(outside) => Ok((inside, outside)),
        Err(error) => {
            inside.abandon();
            Err(error)
        }
    }
}

impl Port {
    /// Opens `queue` for a worker: its chunks, its two ends, and from now on its frames.
    ///
    /// # Errors
    /// [`PortError`].
    pub(crate) fn open_queue(
        &mut self,
        umem: &mut Umem,
        side: Side,
        queue: u32,
        sizes: &QueueSizes,
    ) -> Result<(Receiver, Transmitter), PortError> {
        let bind = match self.mode {
            AttachMode::Auto if self.native => Bind::Any,
            AttachMode::ZeroCopy => Bind::ZeroCopy,
            _ => Bind::Copy,
        };
        let &QueueSizes { ring, reserve, busy_poll } = sizes;
        let plan = xsk::Plan { interface: self.link.index, queue, side, bind, ring, reserve, busy_poll };
        let (receiver, transmitter) =
            xsk::open(umem, &plan).map_err(|error| self.refuse(PortProblem::Socket { queue, error }))?;
        if let Some(socket) = receiver.socket() {
            let result = self.redirect.set_socket(queue, socket.as_fd());
            result.map_err(|error| self.refuse(PortProblem::of(error, None, None)))?;
        }
        Ok((receiver, transmitter))
    }

    fn refuse(&self, problem: PortProblem) -> PortError {
        PortError { interface: self.interface.clone(), problem }
    }

    /// Name of the device.
    pub(crate) fn interface(&self) -> &str {
        &self.interface
    }

    /// Bytes after the Ethernet header, when the port was opened.
    pub(crate) fn mtu(&self) -> u32 {
        self.link.mtu
    }

    /// The longest frame the port can send, bytes: its MTU with two VLAN tags.
    pub(crate) fn longest_frame(&self) -> usize {
        (self.link.mtu + FRAME_OVERHEAD) as usize
    }

    /// The mode, given what the kernel chose for its sockets.
    pub(crate) fn mode(&self, zero_copy: bool) -> PortMode {
        match (self.native, zero_copy) {
            (true, true) => PortMode::ZeroCopy,
            (true, false) => PortMode::NativeCopy,
            (false, _) => PortMode::Generic,
        }
    }

    /// Frames for which no socket was there.
    pub(crate) fn fallback(&self) -> io::Result<Fallback> {
        self.redirect.fallback()
    }

    /// Leaves the device as it was found: without a program, or with the one that was taken over, which then falls
    /// back as if the process had died again.
    pub(crate) fn abandon(mut self) {
        self.restore();
        if !self.redirect.took_over() {
            // The error that led here is the one to report; a pin that stays is found at the next start.
            let _ = self.redirect.detach();
        }
    }

    /// Turns on again what was turned off. In another network namespace, or when the device is gone, it cannot be;
    /// then the device merges nothing until somebody says otherwise, which costs speed only.
    fn restore(&mut self) {
        if core::mem::take(&mut self.merged) {
            let _ = xsk::set_merges(&self.interface, true);
        }
    }

    /// Takes the program off the device.
    ///
    /// # Errors
    /// [`PortProblem::Pin`] when its pin cannot be removed; the program then stays, with its fallback.
    pub(crate) fn detach(mut self) -> Result<(), PortError> {
        self.restore();
        self.redirect.detach().map_err(|error| self.refuse(PortProblem::Pin(error)))
    }
}

/// How large a queue is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueSizes {
    pub(crate) ring: u32,
    pub(crate) reserve: usize,
    pub(crate) busy_poll: Option<BusyPoll>,
}

/// Lets this process pin as much memory as the kernel allows it: kernels before 5.11 account BPF maps, and all
/// account chunks, against `RLIMIT_MEMLOCK`. Where the limit stays too low, the step that hits it says so.
pub(crate) fn raise_memory_limit() {
    let unlimited = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let maximum = getrlimit(Resource::Memlock).maximum;
        let _ = setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_off_in_generic_mode_while_the_port_is_open() {
        if lab::skip_unprivileged() {
            return;
        }
        let namespace = lab::Namespace::create(&format!("rf-frame-{}-gro", std::process::id())).unwrap();
        namespace.ip("link add v0 type veth peer name v1").unwrap();
        namespace.ip("link set v0 up").unwrap();
        let open = |mode| {
            let survey = survey(&PortConfig { interface: "v0".into(), mode }, 2048).unwrap();
            survey.attach(None, None).unwrap()
        };
        let merges = || xsk::merges("v0").unwrap();
        let check = || {
            for on in [true, false] {
                xsk::set_merges("v0", on).unwrap();
                assert_eq!(merges(), on);
                let port = open(AttachMode::Generic);
                assert!(!merges(), "{on} before");
                port.detach().unwrap();
                assert_eq!(merges(), on, "restored");
            }
            xsk::set_merges("v0", true).unwrap();
            let port = open(AttachMode::NativeCopy);
            assert!(merges(), "the driver's program comes before merging");
            port.detach().unwrap();
        };
        namespace.run(check).unwrap();
    }
}
