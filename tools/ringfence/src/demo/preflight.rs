//! What the machine lacks, before anything is built.

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::error::DemoError;

/// Everything the demo needs of the machine.
pub(crate) fn check() -> Result<(), DemoError> {
    if let Some(missing) = lab::missing() {
        return Err(DemoError::Missing(format!("the demo {missing}")));
    }
    let socket = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None);
    socket.map(drop).map_err(|error| {
        DemoError::Missing(format!(
            "this kernel gives no AF_XDP socket ({error}); use Linux 5.11 or newer built with CONFIG_XDP_SOCKETS=y"
        ))
    })
}
