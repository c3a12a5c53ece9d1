//! Sockets that the service manager opened for this process (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Them, in its order. Duplicates, so that who owns a number needs no proof; the manager's own numbers stay open as
/// long as the process.
pub(super) fn sockets() -> Vec<OwnedFd> {
    let numbers: Vec<RawFd> = match sd_notify::listen_fds() {
        Ok(numbers) => numbers.collect(),
        Err(error) => {
            tracing::warn!(%error, "the service manager's sockets cannot be used");
            return Vec::new();
        }
    };
    if numbers.is_empty() {
        return Vec::new();
    }
    numbers
        .into_iter()
        .filter_map(|number| {
            let own = duplicate(number);
            if let Err(error) = &own {
                tracing::warn!(%error, number, "a socket of the service manager cannot be used");
            }
            own.ok()
        })
        .collect()
}

fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::duplicate;

    #[test]
    fn a_number_is_duplicated() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = TcpListener::from(duplicate(listener.as_raw_fd()).unwrap());
        assert_eq!(again.local_addr().unwrap(), listener.local_addr().unwrap());
        // No process may have so many open.
        assert!(duplicate(i32::MAX).is_err());
    }
}
