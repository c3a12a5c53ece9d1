//! Whether servers behind proxies accept connections: one task each, on the control thread.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::proxies::Checked;
use crate::config::Health;

/// Checks all of them until the set is dropped.
pub(super) fn watch(servers: Vec<Checked>) -> JoinSet<()> {
    servers.into_iter().map(check).collect()
}

async fn check(server: Checked) {
    let mut course = Course::new(server.how);
    loop {
        let connected = timeout(server.how.timeout, TcpStream::connect(server.server.address)).await;
        let fault = match connected {
            Ok(Ok(_closed_now)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it did not accept within {} ms", server.how.timeout.as_millis())),
        };
        if let Some(healthy) = course.see(fault.is_none()) {
            server.health.set(server.number, healthy);
            let (proxy, address) = (&server.proxy, server.server.address);
            match fault {
                None => tracing::info!(%proxy, server = %address, "the server is healthy"),
                Some(fault) => {
                    tracing::warn!(%proxy, server = %address, %fault, "the server is unhealthy: it gets no connections");
                }
            }
        }
        sleep(about(server.how.interval)).await;
    }
}

/// A duration a tenth longer or shorter, at random: servers are not checked by all hosts at once.
fn about(interval: Duration) -> Duration {
    // Each state of the standard library's hasher has other keys.
    let random = RandomState::new().hash_one(0);
    interval.mul_f64(0.9 + 0.2 * f64::from(u16::try_from(random & 0xffff).unwrap_or(0)) / f64::from(u16::MAX))
}

/// What the checks of one server have shown.
struct Course {
    how: Health,
    /// `None` before the first check.
    healthy: Option<bool>,
    /// Checks in a row that say otherwise.
    contrary: u32,
    /// It has been healthy before: until then, one success is enough.
    known: bool,
}

impl Course {
    const fn new(how: Health) -> Self {
        Self { how, healthy: None, contrary: 0, known: false }
    }

    /// Takes the outcome of a check; returns what the server is from now on, if that changed.
    fn see(&mut self, success: bool) -> Option<bool> {
        let first = success && !self.known;
        self.known |= success;
        let Some(healthy) = self.healthy.filter(|healthy| *healthy || !first) else {
            (self.healthy, self.contrary) = (Some(success), 0);
            return Some(success);
        };
        if healthy == success {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let needed = if success { self.how.rise } else { self.how.fall };
        if self.contrary < needed {
            return None;
        }
        self.contrary = 0;
        self.healthy = Some(success);
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_changes_after_so_many_checks_in_a_row() {
        let how = Health { interval: Duration::ZERO, timeout: Duration::ZERO, rise: 2, fall: 3 };
        // Outcomes, and what is told after each: + healthy, - unhealthy, . nothing new.
        for (outcomes, told) in [
            ("+", "+"),
            ("-", "-"),
            ("+---", "+..-"),
            ("+--+---", "+.....-"),
            ("-++", "-+."),
            ("--+---+-++", "-.+..-...+"),
            ("+---++---", "+..-.+..-"),
        ] {
            let mut course = Course::new(how);
            let seen: String = outcomes
                .chars()
                .map(|outcome| match course.see(outcome == '+') {
                    Some(true) => '+',
                    Some(false) => '-',
                    None => '.',
                })
                .collect();
            assert_eq!(seen, told, "{outcomes}");
        }
    }

    #[test]
    fn intervals_vary_by_a_tenth() {
        let all: Vec<u128> = (0..100).map(|_| about(Duration::from_secs(10)).as_millis()).collect();
        assert!(all.iter().all(|ms| (9_000..=11_000).contains(ms)), "{all:?}");
        assert!(all.iter().any(|ms| *ms != all[0]), "they are all alike");
    }
}
