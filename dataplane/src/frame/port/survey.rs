//! Looking at a port before touching it, and then putting the program on it.

use std::path::Path;

use super::link::{self, Link};
use super::redirect::{QUEUES_MAX, Redirect, RedirectError};
use super::{AttachMode, FRAME_OVERHEAD, Port, PortConfig, PortError, PortProblem};
use crate::frame::xsk::{self, Bind, Channels, SocketError};
use crate::frame::{HEADROOM, Umem};
use crate::verdict::Side;

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
    /// The device's index.
    pub(super) fn index(&self) -> u32 {
        self.link.index
    }

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
    pub(super) fn check_abandoned(&self, pin: Option<&Path>) -> Result<(), PortError> {
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
    pub(super) fn attach(self, fail_open: Option<u32>, pin: Option<&Path>) -> Result<Port, PortError> {
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
        // The program in the stack's path sees packets after they were merged, that in the driver before. A device
        // that cannot merge, or does not let itself be asked, needs nothing.
        let merged = !native
            && xsk::merges(&interface).is_ok_and(|on| on)
            && xsk::set_merges(&interface, false).is_ok();
        Ok(Port { interface, link, native, mode, redirect, merged })
    }
}
