//! A question the demo puts on the network: may this host speak to that one?

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lab::LabError;

use super::topology::{Family, Host, Network};
use super::traffic::echo::UDP_PORT;
use super::traffic::probe::{self, Answer};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Postgres,
    Https,
    Telemetry,
    Ping,
}

/// Who speaks to whom, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) from: Host,
    pub(crate) to: Host,
    pub(crate) service: Service,
    pub(crate) family: Family,
    /// Payload, bytes.
    pub(crate) size: usize,
    /// The host whose address is the source, if not `from`; it must be on an interface of `from`.
    claims: Option<Host>,
}

impl Question {
    /// A question with a payload that suits the service.
    pub(crate) fn new(from: Host, to: Host, service: Service, family: Family) -> Self {
        let size = match service {
            Service::Postgres | Service::Https => 64 * 1024,
            Service::Telemetry => 1200,
            Service::Ping => 56,
        };
        Self { from, to, service, family, size, claims: None }
    }

    /// The same with another payload, bytes.
    pub(crate) fn sized(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// The same from the address of `host`. Only for [`Service::Telemetry`].
    pub(crate) fn claiming(self, host: Host) -> Self {
        Self { claims: Some(host), ..self }
    }

    /// The address it comes from.
    pub(crate) fn source(&self) -> IpAddr {
        self.claims.unwrap_or(self.from).ip(self.family)
    }

    /// The address it goes to.
    pub(crate) fn destination(&self) -> IpAddr {
        self.to.ip(self.family)
    }

    /// The service as the policy language writes it: `tcp/5432`, `icmpv6/128`.
    pub(crate) fn service(&self) -> String {
        match (self.service, self.family) {
            (Service::Postgres, _) => "tcp/5432".into(),
            (Service::Https, _) => "tcp/443".into(),
            (Service::Telemetry, _) => format!("udp/{UDP_PORT}"),
            (Service::Ping, Family::V4) => "icmp/8".into(),
            (Service::Ping, Family::V6) => "icmpv6/128".into(),
        }
    }

    /// Puts it on the network.
    pub(crate) fn ask(&self, network: &Network, within: Duration) -> Result<Answer, LabError> {
        let host = network.of(self.from);
        let at = |port| self.to.at(self.family, port);
        match self.service {
            Service::Postgres => probe::tcp(host, at(5432), self.size, within),
            Service::Https => probe::tcp(host, at(443), self.size, within),
            Service::Telemetry => probe::udp(host, self.source(), at(UDP_PORT), self.size, within),
            Service::Ping => probe::ping(host, self.destination(), self.size, within),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self.claims.map_or(String::new(), |host| format!(" as {}", host.name));
        write!(f, "{}{claims} -> {} {} {}", self.from.name, self.to.name, self.service(), self.family.name())
    }
}
