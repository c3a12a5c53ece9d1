//! Places for socket addresses: those of peers, which the kernel writes, and those to connect to, which it reads.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::io;

use super::mapping::Mapping;

/// One address in the kernel's form, and its length.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cell {
    address: libc::sockaddr_in6,
    length: libc::socklen_t,
}

/// An array of places. An IPv6 address is the longest that is needed.
pub(super) struct Seats {
    memory: Mapping,
    count: usize,
}

const LENGTH_V4: libc::socklen_t = 16;
const LENGTH_V6: libc::socklen_t = 28;
const _: () = {
    assert!(size_of::<libc::sockaddr_in>() == LENGTH_V4 as usize);
    assert!(size_of::<libc::sockaddr_in6>() == LENGTH_V6 as usize);
};

impl Seats {
    /// # Errors
    /// What `mmap(2)` says.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        Ok(Self { memory: Mapping::new(count.max(1) * size_of::<Cell>())?, count: count.max(1) })
    }

    fn cell(&self, seat: usize) -> *mut Cell {
        self.memory.start().cast::<Cell>().wrapping_add(seat % self.count)
    }

    /// Empties a place for the kernel to write to: where the address and its length go.
    pub(super) fn vacate(&mut self, seat: usize) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        let cell = self.cell(seat);
        let length = cell.wrapping_byte_add(core::mem::offset_of!(Cell, length)).cast::<libc::socklen_t>();
        // SAFETY: inside the mapping and aligned (a page is); no operation uses this place, see `Ring::accept`.
        unsafe { length.write(LENGTH_V6) };
        (cell.cast(), length)
    }

    /// The address that the kernel wrote.
    pub(super) fn read(&self, seat: usize) -> Option<SocketAddr> {
        // SAFETY: inside the mapping and aligned; any bytes are a valid `Cell`. No operation uses this place any more:
        // its completion was taken out of the ring before.
        let Cell { address, .. } = unsafe { self.cell(seat).read() };
        if i32::from(address.sin6_family) == libc::AF_INET6 {
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            return Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, address.sin6_scope_id)));
        }
        // SAFETY: as above, and `sockaddr_in` is shorter.
        let address = unsafe { self.cell(seat).cast::<libc::sockaddr_in>().read() };
        let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
        (i32::from(address.sin_family) == libc::AF_INET)
            .then(|| SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(address.sin_port))))
    }

    /// Writes an address for the kernel to read: where it is, and how long.
    pub(super) fn write(
        &mut self,
        seat: usize,
        address: SocketAddr,
    ) -> (*const libc::sockaddr, libc::socklen_t) {
        let cell = self.cell(seat);
        match address {
            SocketAddr::V4(v4) => {
                let form = libc::sockaddr_in {
                    sin_family: family(libc::AF_INET),
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                // SAFETY: inside the mapping, aligned, and long enough for either form.
                unsafe { cell.cast::<libc::sockaddr_in>().write(form) };
                (cell.cast_const().cast(), LENGTH_V4)
            }
            SocketAddr::V6(v6) => {
                let form = libc::sockaddr_in6 {
                    sin6_family: family(libc::AF_INET6),
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: as above.
                unsafe { cell.cast::<libc::sockaddr_in6>().write(form) };
                (cell.cast_const().cast(), LENGTH_V6)
            }
        }
    }

    /// Gives the memory up without unmapping it.
    pub(super) fn leak(self) {
        self.memory.leak();
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "2 or 10")]
const fn family(family: i32) -> libc::sa_family_t {
    family as libc::sa_family_t
}
