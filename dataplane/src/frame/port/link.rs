//! What the kernel knows about a network device: one rtnetlink question, one answer.
//!
//! `RTM_GETLINK` is asked in the calling thread's network namespace. sysfs would say the same, but of the
//! namespace it was mounted in.

use std::io;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) up: bool,
    /// Bytes after the Ethernet header.
    pub(crate) mtu: u32,
    /// Receive and transmit queues the device was made with; the driver may use fewer.
    pub(crate) receive_queues: u32,
    pub(crate) transmit_queues: u32,
    pub(crate) program: Option<Attached>,
}

/// An XDP program that is on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) id: u32,
    /// In the driver, and not in the stack's generic path.
    pub(crate) native: bool,
}

// include/uapi/linux/{netlink,rtnetlink,if_link,if}.h
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_DRV: u8 = 1;
const IFF_UP: u32 = 1;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// `struct nlmsghdr`, and `struct ifinfomsg` after it: 16 bytes each.
const HEADER: usize = 16;

/// Looks a device up by name; `None` if there is none of that name here.
///
/// # Errors
/// What the netlink socket says, or [`io::ErrorKind::InvalidData`] for an answer that makes no sense.
pub(crate) fn find(name: &str) -> io::Result<Option<Link>> {
    // Protocol 0 of this family is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let Some(question) = question(name) else { return Ok(None) };
    send(&socket, &question, SendFlags::empty())?;
    let mut answer = vec![0; 64 << 10];
    let (_, len) = recv(&socket, &mut answer, RecvFlags::empty())?;
    read_answer(answer.get(..len).unwrap_or_default())
}

/// `None` for a name no device can have.
fn question(name: &str) -> Option<Vec<u8>> {
    if name.contains('\0') {
        return None;
    }
    let attribute_len = u16::try_from(4 + name.len() + 1).ok().filter(|&len| (6..=20).contains(&len))?;
    let len = 2 * HEADER + usize::from(attribute_len).next_multiple_of(4);
    let mut message = Vec::with_capacity(len);
    message.extend(u32::try_from(len).ok()?.to_ne_bytes());
    message.extend(RTM_GETLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8 + HEADER]); // sequence, port, and an ifinfomsg that says nothing
    message.extend(attribute_len.to_ne_bytes());
    message.extend(IFLA_IFNAME.to_ne_bytes());
    message.extend(name.as_bytes());
    message.resize(len, 0);
    Some(message)
}

fn read_answer(message: &[u8]) -> io::Result<Option<Link>> {
    let nonsense =
        || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer about a device is cut off");
    let kind = u16_at(message, 4).ok_or_else(nonsense)?;
    match kind {
        RTM_NEWLINK => read_link(message).map(Some).ok_or_else(nonsense),
        NLMSG_ERROR => {
            let code = u32_at(message, HEADER).ok_or_else(nonsense)?.cast_signed();
            let errno = Errno::from_raw_os_error(code.wrapping_neg());
            if errno == Errno::NODEV { Ok(None) } else { Err(errno.into()) }
        }
        _ => Err(nonsense()),
    }
}

fn read_link(message: &[u8]) -> Option<Link> {
    let mut link = Link {
        index: u32_at(message, HEADER + 4)?,
        up: u32_at(message, HEADER + 8)? & IFF_UP != 0,
        mtu: 0,
        receive_queues: 1,
        transmit_queues: 1,
        program: None,
    };
    for (kind, value) in attributes(message.get(2 * HEADER..)?) {
        match kind {
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_NUM_TX_QUEUES => link.transmit_queues = u32_at(value, 0)?,
            IFLA_NUM_RX_QUEUES => link.receive_queues = u32_at(value, 0)?,
            IFLA_XDP => link.program = read_program(value),
            _ => {}
        }
    }
    Some(link)
}

/// The one program that `IFLA_XDP` names when exactly one is attached.
fn read_program(nested: &[u8]) -> Option<Attached> {
    let (mut id, mut native) = (0, false);
    for (kind, value) in attributes(nested) {
        match kind {
            IFLA_XDP_ATTACHED => native = value.first() == Some(&XDP_ATTACHED_DRV),
            IFLA_XDP_PROG_ID => id = u32_at(value, 0)?,
            _ => {}
        }
    }
    (id != 0).then_some(Attached { id, native })
}

/// The attributes of a message, up to the first that does not fit.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_and_others_are_not() {
        let lo = find("lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.program), (1, None));
        assert!(lo.mtu >= 1500 && lo.receive_queues >= 1);
        for name in ["no-such-device", "", "a-name-longer-than-any-device", "lo\0"] {
            assert_eq!(find(name).unwrap_or(None), None, "{name:?}");
        }
    }

    #[test]
    fn an_answer_cut_off_anywhere_is_no_panic() {
        let mut message = vec![0; 2 * HEADER];
        message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        message[HEADER + 4] = 7;
        for (kind, value) in [(IFLA_MTU, 1500_u32), (IFLA_NUM_RX_QUEUES, 4)] {
            message.extend(8_u16.to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend(value.to_ne_bytes());
        }
        let xdp: Vec<u8> = [5, 0, 2, 0, 1, 0, 0, 0, 8, 0, 4, 0, 42, 0, 0, 0].into();
        message.extend(20_u16.to_ne_bytes());
        message.extend(IFLA_XDP.to_ne_bytes());
        message.extend(xdp);
        let whole = read_answer(&message).unwrap().unwrap();
        assert_eq!((whole.index, whole.mtu, whole.receive_queues), (7, 1500, 4));
        assert_eq!(whole.program, Some(Attached { id: 42, native: true }));
        for len in 0..message.len() {
            let _ = read_answer(&message[..len]);
        }
    }
}
