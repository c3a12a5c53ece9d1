//! What the machine lacks, before anything is built.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dataplane::flow::FlowTable;
use dataplane::policy::Publisher;
use dataplane::proxy::{Proxy, ProxyConfig, ProxyCounters, ProxyParts, open_listeners};
use dataplane::verdict::WireId;
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

/// Why no proxy can be had here, if so: a container without io_uring, most likely.
pub(crate) fn no_proxy() -> Option<String> {
    let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let mut config = ProxyConfig::new(WireId(0), "trial", nowhere, &[nowhere]);
    config.limits.connections_max = 16;
    let publisher = Publisher::new(1);
    let start = || {
        let listeners = open_listeners(&config).map_err(|error| error.to_string())?;
        let flows = FlowTable::new(1024).map_err(|error| error.to_string())?;
        let parts = ProxyParts {
            worker: 0,
            reader: publisher.reader(0),
            flows: Arc::new(flows),
            counters: Arc::default(),
            records: Arc::default(),
            proxy: Arc::new(ProxyCounters::new(1)),
        };
        Proxy::start(config.clone(), listeners, vec![parts]).map(drop).map_err(|error| error.to_string())
    };
    start().err()
}
