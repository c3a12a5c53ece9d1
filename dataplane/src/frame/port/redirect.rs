//! The XDP program of one port: loaded, attached, and its three maps.
//!
//! `bpf/redirect.bpf.c` says what it does with a frame. The object is committed beside it, so building needs no
//! clang.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::maps::{DevMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, Xdp, XdpMode, loaded_programs};
use aya::sys::SyscallError;
use aya::{Ebpf, EbpfError};

use super::link::Attached;
use crate::object;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/redirect.bpf.o");

/// How long an attachment may take to end; a grace period is some 30 ms.
const DETACHING: Duration = Duration::from_secs(1);

/// The most queues of one port; `QUEUES` of the program.
pub(crate) const QUEUES_MAX: u32 = 256;

/// Why a program could not be put on a port.
#[derive(Debug)]
pub(crate) enum RedirectError {
    /// The process may not load programs.
    NotPermitted,
    /// Another program is on the device.
    Occupied,
    /// The driver runs no XDP programs.
    NoNative,
    /// The driver refuses the program for its peer's MTU or its buffers.
    Mtu,
    /// The driver refuses the program for its queues.
    Queues,
    /// A pin could not be made or removed.
    Pin(io::Error),
    /// Anything else, in the loader's words.
    Failed(String),
}

/// Frames for which no socket was there, since the program was loaded; after a take-over, with those that the
/// program of the process before had counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// Dropped, on a wire that fails closed.
    pub dropped: u64,
    /// Sent out of the other port by the kernel, on a wire that fails open. The device may still have lost them.
    pub forwarded: u64,
}

/// Keeps the program on the device.
#[derive(Debug)]
enum Hold {
    /// As long as this process lives.
    Process(#[expect(dead_code, reason = "dropping it detaches")] FdLink),
    /// Until somebody removes the pin.
    Pin(PinnedLink),
}

/// A program on a port.
pub(crate) struct Redirect {
    /// Owns the program's descriptor.
    ebpf: Ebpf,
    hold: Option<Hold>,
    sockets: XskMap<MapData>,
    peer: DevMap<MapData>,
    fallback: PerCpuArray<MapData, u64>,
    /// What the program that this one replaced had counted; `None` if it replaced none.
    inherited: Option<Fallback>,
}

impl Redirect {
    /// Loads the program; nothing is attached yet.
    ///
    /// # Errors
    /// [`RedirectError`].
    pub(crate) fn load() -> Result<Self, RedirectError> {
        let mut ebpf = object::load(OBJECT).map_err(of_loader)?;
        let sockets = XskMap::try_from(map(&mut ebpf, "sockets")?).map_err(failed)?;
        let peer = DevMap::try_from(map(&mut ebpf, "peer")?).map_err(failed)?;
        let fallback = PerCpuArray::try_from(map(&mut ebpf, "fallback")?).map_err(failed)?;
        let mut redirect = Self { ebpf, hold: None, sockets, peer, fallback, inherited: None };
        redirect.program()?.load().map_err(of_program)?;
        Ok(redirect)
    }

    fn program(&mut self) -> Result<&mut Xdp, RedirectError> {
        let program = self.ebpf.program_mut("redirect").ok_or_else(|| failed("no program in the object"))?;
        program.try_into().map_err(of_program)
    }

    /// Fails open from now on: without a socket, frames go out of device `index`.
    ///
    /// The other port must take redirected frames (`ndo_xdp_xmit`). A veth does when its own peer runs NAPI: with
    /// an XDP program there, or `ethtool -K <peer> gro on` (`veth_xdp_xmit` in `drivers/net/veth.c`). In generic
    /// mode any device does (`generic_xdp_tx` in `net/core/dev.c`).
    pub(crate) fn fail_open(&mut self, index: u32) -> Result<(), RedirectError> {
        self.peer.set(0, index, None, 0).map_err(failed)
    }

    /// Attaches to device `index`, in the driver or in the generic path, by a `bpf_link`: an attachment that the
    /// kernel itself ends when its last holder is gone, unless it is pinned.
    ///
    /// With a `pin`, the attachment outlives the process, and so does its fallback. If the pin of an earlier
    /// process is what holds the `attached` program now, that attachment is taken over: its program is replaced in
    /// one step (`bpf_link_update`), and no frame passes by.
    ///
    /// # Errors
    /// [`RedirectError`].
    pub(crate) fn attach(
        &mut self,
        index: u32,
        native: bool,
        pin: Option<&Path>,
        attached: Option<Attached>,
    ) -> Result<(), RedirectError> {
        let link = match (pin, attached) {
            (Some(pin), Some(attached)) => inherit(pin, attached, native)?,
            (None, Some(_)) => return Err(RedirectError::Occupied),
            (Some(pin), None) => remove_stale(pin)?,
            (None, None) => None,
        };
        let took_over = link.is_some();
        // Held across the replacement, which frees the old program and what only that holds.
        let old = attached.filter(|_| took_over).and_then(|old| fallback_of(old.id));
        let program = self.program()?;
        let id = match link {
            Some(link) => program.attach_to_link(link.try_into().map_err(failed)?).map_err(of_program),
            None => attach_to(program, index, native, attached.is_some()),
        };
        let link = program.take_link(id?).map_err(of_program)?;
        // The loader falls back to netlink on EINVAL; such an attachment would survive a crash unseen.
        let link = FdLink::try_from(link)
            .map_err(|_| failed("the kernel cannot attach by bpf_link (Linux 5.9 or later is needed)"))?;
        if took_over {
            // Read after the replacement, when the old program counts no more.
            self.inherited = Some(old.and_then(|map| sum(&map).ok()).unwrap_or_default());
        }
        self.hold = Some(match pin {
            None => Hold::Process(link),
            Some(path) if took_over => Hold::Pin(PinnedLink::from_pin(path).map_err(failed)?),
            Some(path) => Hold::Pin(pin_to(link, path).map_err(RedirectError::Pin)?),
        });
        Ok(())
    }

    /// Frames of `queue` go to this socket from now on.
    ///
    /// # Errors
    /// [`RedirectError`].
    pub(crate) fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), RedirectError> {
        self.sockets.set(queue, socket.as_raw_fd(), 0).map_err(failed)
    }

    /// The fallback counts, summed over the CPUs.
    ///
    /// # Errors
    /// What the kernel says about the map.
    pub(crate) fn fallback(&self) -> io::Result<Fallback> {
        let own = sum(&self.fallback).map_err(io::Error::other)?;
        let before = self.inherited.unwrap_or_default();
        Ok(Fallback { dropped: own.dropped + before.dropped, forwarded: own.forwarded + before.forwarded })
    }

    /// Whether the attachment was there before this process.
    pub(crate) fn took_over(&self) -> bool {
        self.inherited.is_some()
    }

    /// Takes the program off the device, and the pin away.
    ///
    /// # Errors
    /// When the pin cannot be removed; the program is then still on the device.
    pub(crate) fn detach(&mut self) -> io::Result<()> {
        match self.hold.take() {
            Some(Hold::Pin(pinned)) => pinned.unpin().map(drop),
            _ => Ok(()),
        }
    }
}

/// The link under `pin`, if it is what holds the program on the device, in the mode that is wanted.
fn inherit(pin: &Path, attached: Attached, native: bool) -> Result<Option<FdLink>, RedirectError> {
    let Ok(pinned) = PinnedLink::from_pin(pin) else { return Err(RedirectError::Occupied) };
    let link = FdLink::from(pinned);
    if !link.info().is_ok_and(|info| info.program_id() == attached.id) {
        return Err(RedirectError::Occupied);
    }
    if attached.native == native {
        return Ok(Some(link));
    }
    // A link cannot change its mode, so the old attachment ends here.
    remove_stale(pin)
}

/// Attaches anew, if need be `after` another attachment whose pin was removed a moment ago: the kernel ends that one only
/// after a grace period of the pin's inode (`bpf_free_inode` in `kernel/bpf/inode.c`).
fn attach_to(program: &mut Xdp, index: u32, native: bool, after: bool) -> Result<XdpLinkId, RedirectError> {
    let mode = || if native { XdpMode::Driver } else { XdpMode::Skb };
    let patience = Instant::now() + if after { DETACHING } else { Duration::ZERO };
    loop {
        match program.attach_to_if_index(index, mode()).map_err(of_program) {
            Err(RedirectError::Occupied) if Instant::now() < patience => sleep(Duration::from_millis(2)),
            attached => return attached,
        }
    }
}

/// Pins a link, and makes the folder for it.
fn pin_to(link: FdLink, path: &Path) -> io::Result<PinnedLink> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    link.pin(path).map_err(io::Error::other)
}

fn sum(map: &PerCpuArray<MapData, u64>) -> Result<Fallback, MapError> {
    let sum = |key: u32| map.get(&key, 0).map(|values| values.iter().sum());
    Ok(Fallback { dropped: sum(0)?, forwarded: sum(1)? })
}

/// Where a loaded program of this kind counts.
fn fallback_of(program: u32) -> Option<PerCpuArray<MapData, u64>> {
    let info = loaded_programs().flatten().find(|info| info.id() == program)?;
    let maps = info.map_ids().ok().flatten()?;
    let mut maps = maps.into_iter().filter_map(|id| MapData::from_id(id).ok());
    let fallback = maps.find(|map| map.info().is_ok_and(|info| info.name() == b"fallback"))?;
    PerCpuArray::try_from(Map::PerCpuArray(fallback)).ok()
}

/// Removes the pin of a device that is no more, or of an attachment that is not wanted.
fn remove_stale(pin: &Path) -> Result<Option<FdLink>, RedirectError> {
    match std::fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RedirectError::Pin(error)),
        _ => Ok(None),
    }
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Map, RedirectError> {
    ebpf.take_map(name).ok_or_else(|| failed(format_args!("no map {name} in the object")))
}

fn failed(error: impl ToString) -> RedirectError {
    RedirectError::Failed(error.to_string())
}

fn of_loader(error: EbpfError) -> RedirectError {
    match &error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) if denied(io_error) => {
            RedirectError::NotPermitted
        }
        _ => failed(error),
    }
}

fn of_program(error: ProgramError) -> RedirectError {
    match &error {
        ProgramError::LoadError { io_error, .. } if denied(io_error) => RedirectError::NotPermitted,
        ProgramError::SyscallError(SyscallError { io_error, .. }) => match io_error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => RedirectError::NotPermitted,
            Some(libc::EBUSY | libc::EEXIST) => RedirectError::Occupied,
            Some(libc::EOPNOTSUPP) => RedirectError::NoNative,
            // What veth answers: veth_xdp_set in drivers/net/veth.c.
            Some(libc::ERANGE) => RedirectError::Mtu,
            Some(libc::ENOSPC) => RedirectError::Queues,
            _ => failed(error),
        },
        _ => failed(error),
    }
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_object_has_the_program_and_the_maps() {
        let object = aya_obj::Object::parse(OBJECT).unwrap();
        let programs: Vec<&str> = object.programs.keys().map(String::as_str).collect();
        assert_eq!(programs, ["redirect"]);
        let mut maps: Vec<(&str, u32)> =
            object.maps.iter().map(|(name, map)| (name.as_str(), map.max_entries())).collect();
        maps.sort_unstable();
        assert_eq!(maps, [("fallback", 2), ("peer", 1), ("sockets", QUEUES_MAX)]);
        assert_eq!(object.license.to_str(), Ok("Dual MIT/GPL"));
    }
}
