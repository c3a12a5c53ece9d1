//! Which back end gets a connection.

use core::net::SocketAddr;

use crate::proxy::config::{Balance, ProxyConfig};
use crate::proxy::control::BackendHealth;

/// The back ends as one worker sees them.
pub(super) struct Backends {
    addresses: Box<[SocketAddr]>,
    /// Connections of this worker to each.
    live: Box<[u32]>,
    balance: Balance,
    health: BackendHealth,
    /// Whose turn it is.
    next: usize,
}

impl Backends {
    pub(super) fn new(config: &ProxyConfig, health: BackendHealth) -> Self {
        let addresses: Box<[_]> = config.backends.iter().map(|backend| backend.address).collect();
        Self { live: vec![0; addresses.len()].into(), addresses, balance: config.balance, health, next: 0 }
    }

    pub(super) fn address(&self, number: u8) -> Option<SocketAddr> {
        self.addresses.get(usize::from(number)).copied()
    }

    /// Chooses a healthy one that is not among `tried`, a bit each.
    pub(super) fn choose(&mut self, tried: u64) -> Option<u8> {
        let count = self.addresses.len();
        let usable = self.health.bits() & !tried;
        let in_turn = (0..count).map(|step| (self.next + step) % count);
        let mut usable = in_turn.filter(|number| usable & (1 << number) != 0);
        let chosen = match self.balance {
            Balance::RoundRobin => usable.next(),
            Balance::LeastConnections => usable.min_by_key(|number| self.live[*number]),
        }?;
        self.next = (chosen + 1) % count;
        u8::try_from(chosen).ok()
    }

    /// One more connection leads to `number`; returns how many do.
    pub(super) fn enter(&mut self, number: u8) -> u32 {
        let live = &mut self.live[usize::from(number)];
        *live += 1;
        *live
    }

    /// One less.
    pub(super) fn leave(&mut self, number: u8) -> u32 {
        let live = &mut self.live[usize::from(number)];
        *live = live.saturating_sub(1);
        *live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::WireId;

    fn backends(count: u16, balance: Balance) -> Backends {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let all: Vec<_> = (1..=count).map(address).collect();
        let mut config = ProxyConfig::new(WireId(0), "p", address(9), &all);
        config.balance = balance;
        Backends::new(&config, BackendHealth::all())
    }

    #[test]
    fn a_choice_is_fair_among_the_healthy() {
        let mut robin = backends(3, Balance::RoundRobin);
        let chosen: Vec<_> = (0..6).map(|_| robin.choose(0).unwrap()).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
        robin.health.set(1, false);
        let chosen: Vec<_> = (0..4).map(|_| robin.choose(0).unwrap()).collect();
        assert_eq!(chosen, [0, 2, 0, 2]);
        assert_eq!(robin.choose(0b001), Some(2), "one was tried");
        assert_eq!(robin.choose(0b101), None, "the rest is sick or was tried");

        let mut least = backends(3, Balance::LeastConnections);
        for number in [0, 0, 1, 1, 2] {
            least.enter(number);
        }
        assert_eq!(least.choose(0), Some(2), "it has one, the others two");
        assert_eq!([least.enter(2), least.enter(2), least.leave(0)], [2, 3, 1]);
        assert_eq!(least.choose(0), Some(0), "it has one now");
        assert_eq!(least.choose(1), Some(1), "the next best, if that was tried");
    }
}
