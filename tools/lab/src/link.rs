//! veth cables between namespaces.

use std::fmt::Write as _;

use crate::{LabError, Namespace, ip};

/// One end of a cable.
#[derive(Clone, Debug)]
pub struct End<'a> {
    namespace: &'a Namespace,
    name: &'a str,
    queues: u16,
    mtu: u16,
    mac: Option<[u8; 6]>,
}

impl<'a> End<'a> {
    /// An end called `name` in `namespace`: one queue, 1500 bytes, an address of the kernel's choice.
    #[must_use]
    pub fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name, queues: 1, mtu: 1500, mac: None }
    }

    /// With so many receive and transmit queues.
    #[must_use]
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues;
        self
    }

    /// With this MTU, bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self
    }

    /// With this Ethernet address.
    #[must_use]
    pub fn mac(mut self, mac: [u8; 6]) -> Self {
        self.mac = Some(mac);
        self
    }

    fn options(&self) -> String {
        let mut text = format!(
            "name {} netns {} mtu {} numrxqueues {queues} numtxqueues {queues}",
            self.name,
            self.namespace.name(),
            self.mtu,
            queues = self.queues
        );
        if let Some([a, b, c, d, e, f]) = self.mac {
            // Writing to a string cannot fail.
            let _ = write!(text, " address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        }
        text
    }
}

/// Lays a cable between two ends and brings both up. It goes when either namespace goes.
///
/// # Errors
/// If `ip` refuses.
pub fn veth(one: &End<'_>, other: &End<'_>) -> Result<(), LabError> {
    let line = format!("link add {} type veth peer {}", one.options(), other.options());
    ip::run(&line.split_whitespace().collect::<Vec<_>>())?;
    for end in [one, other] {
        end.namespace.ip(&format!("link set dev {} up", end.name))?;
    }
    Ok(())
}
