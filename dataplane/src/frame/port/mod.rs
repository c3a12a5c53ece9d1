//! A port: one side of a wire, where frames come in and go out.
//!
//! Today both happen on one network device. Nothing above this module relies on that: a worker holds a receiving
//! and a transmitting end per queue, and they may come to sit on different devices.

mod error;
mod link;
mod redirect;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::xsk::{self, Bind, Channels, Receiver, Transmitter};
use super::{HEADROOM, Umem};
use crate::verdict::Side;
pub use error::{PortError, PortProblem};
use link::Link;
pub use redirect::Fallback;
use redirect::{QUEUES_MAX, Redirect, RedirectError};
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
    /// The stack runs the program, after it has made an skb: works on any device, slowest. The stack may hand over
    /// packets larger than the MTU here (GRO on the device, or segmentation offload at a virtual device's other
    /// end); they do not fit a chunk and the socket drops them, counted as `dropped`.
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
}

/// What is known of a port before anything is changed on it.
#[derive(Debug)]
pub(crate) struct Survey {
    interface: String,
    mode: AttachMode,
    link: Link,
    channels: Channels,
}

/// Looks a port up and checks what can be checked without touching it.
///
/// # Errors
/// [`PortError`]: missing, down, or an MTU whose frames do not fit a chunk of `chunk_size`.
pub(crate) fn survey(config: &PortConfig, chunk_size: u32) -> Result<Survey, PortError> {
    let interface = config.interface.clone();
    let refuse = |problem| PortError { interface: config.interface.clone(), problem };
    let link = link::find(&interface).map_err(|error| refuse(PortProblem::Query(error)))?;
    let link = link.ok_or_else(|| refuse(PortProblem::Missing))?;
    if !link.up {
        return Err(refuse(PortProblem::Down));
    }
    let largest = mtu_max(chunk_size);
    if link.mtu > largest {
        return Err(refuse(PortProblem::MtuTooLarge { mtu: link.mtu, largest }));
    }
    // A driver that cannot say how many queues it uses, uses those it was made with.
    let (receive, transmit) = (link.receive_queues, link.transmit_queues);
    let channels = xsk::channels(&interface).unwrap_or(Channels { receive, transmit, separate: false });
    Ok(Survey { interface, mode: config.mode, link, channels })
}

/// The largest MTU whose frames, with two VLAN tags, fit a chunk.
pub(crate) const fn mtu_max(chunk_size: u32) -> u32 {
    chunk_size - HEADROOM - FRAME_OVERHEAD
}

impl Survey {
    /// Bytes after the Ethernet header.
    pub(crate) fn mtu(&self) -> u32 {
        self.link.mtu
    }

    /// How many queues can both receive and transmit.
    pub(crate) fn queues(&self) -> u32 {
        self.channels.receive.min(self.channels.transmit).clamp(1, QUEUES_MAX)
    }

    /// Refuses a port that receives on queues beyond `served`, whose frames nobody would take, or that has fewer
    /// transmit queues, on which copy-mode TX would quietly send nothing (`__dev_direct_xmit`).
    ///
    /// # Errors
    /// [`PortProblem::Queues`].
    pub(crate) fn check_queues(&self, served: u32) -> Result<(), PortError> {
        let Channels { receive, transmit, separate } = self.channels;
        if receive == served && transmit >= served {
            return Ok(());
        }
        let problem = PortProblem::Queues { receive, transmit, served, separate };
        Err(PortError { interface: self.interface.clone(), problem })
    }

    /// Refuses a port with a pinned program whose process still lives: taking it over would cut that process off.
    /// What tells a living process from a dead one is that its socket holds queue 0.
    ///
    /// # Errors
    /// [`PortProblem::Socket`] with [`SocketError::Busy`].
    fn check_abandoned(&self, pin: Option<&Path>) -> Result<(), PortError> {
        if self.link.program.is_none() || pin.is_none() {
            return Ok(());
        }
        let refuse = |problem| PortError { interface: self.interface.clone(), problem };
        let mut probe = Umem::anonymous(64, 4096).map_err(|error| refuse(PortProblem::Query(error)))?;
        let plan = xsk::Plan {
            interface: self.link.index,
            queue: 0,
            side: Side::Inside,
            bind: Bind::Copy,
            ring: 64,
            reserve: 0,
            busy_poll: None,
        };
        match xsk::open(&mut probe, &plan) {
            Err(error @ SocketError::Busy) => Err(refuse(PortProblem::Socket { queue: 0, error })),
            // What else may be wrong, the real sockets will say.
            _ => Ok(()),
        }
    }

    /// Loads the program and attaches it: from here on no frame of the port reaches the host's stack, and until
    /// queues are opened the fallback rule applies: drop, or forward to device `fail_open`.
    ///
    /// # Errors
    /// [`PortError`].
    fn attach(self, fail_open: Option<u32>, pin: Option<&Path>) -> Result<Port, PortError> {
        let interface = self.interface.clone();
        self.try_attach(fail_open, pin).map_err(|(error, attached)| PortError {
            interface,
            problem: PortProblem::of(error, attached, pin),
        })
    }

    fn try_attach(
        self,
        fail_open: Option<u32>,
        pin: Option<&Path>,
    ) -> Result<Port, (RedirectError, Option<u32>)> {
        let Self { interface, mode, link, .. } = self;
        let attached = link.program;
        let context = |error| (error, attached.map(|program| program.id));
        let mut redirect = Redirect::load().map_err(context)?;
        if let Some(peer) = fail_open {
            redirect.fail_open(peer).map_err(context)?;
        }
        // Where there is something to take over, any mode means the mode it has.
        let native = match (mode, attached) {
            (AttachMode::Auto, Some(attached)) => attached.native,
            (mode, _) => mode != AttachMode::Generic,
        };
        let result = redirect.attach(link.index, native, pin, attached);
        let native = match result {
            Ok(()) => native,
            Err(RedirectError::NoNative) if mode == AttachMode::Auto && attached.is_none() => {
                redirect.attach(link.index, false, pin, attached).map_err(context)?;
                false
            }
            Err(error) => return Err(context(error)),
        };
        Ok(Port { interface, link, native, mode, redirect })
    }
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
    let peer = outside.link.index;
    let back = inside.link.index;
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
        if !self.redirect.took_over() {
            // The error that led here is the one to report; a pin that stays is found at the next start.
            let _ = self.redirect.detach();
        }
    }

    /// Takes the program off the device.
    ///
    /// # Errors
    /// [`PortProblem::Pin`] when its pin cannot be removed; the program then stays, with its fallback.
    pub(crate) fn detach(mut self) -> Result<(), PortError> {
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
