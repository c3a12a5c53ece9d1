//! How a wire is: for `ringfence status` and metrics.

use rustix::net::xdp::XdpStatistics;

use super::control::PortState;
use crate::frame::port::{Fallback, PortMode};
use crate::verdict::WireId;

/// A wire now.
#[derive(Clone, Debug)]
pub struct WireStatus {
    /// Its index.
    pub id: WireId,
    /// Its name.
    pub name: String,
    /// The port towards the workloads.
    pub inside: PortStatus,
    /// The port towards the network.
    pub outside: PortStatus,
    /// One per queue pair.
    pub workers: Vec<WorkerStatus>,
}

/// A port now.
#[derive(Clone, Debug)]
pub struct PortStatus {
    /// Its device.
    pub interface: String,
    /// Where the program runs and who copies.
    pub mode: PortMode,
    /// Whether it can send; as of the last try to.
    pub state: PortState,
    /// Queues served.
    pub queues: u32,
    /// Bytes after the Ethernet header, when it was opened.
    pub mtu: u32,
    /// What the kernel counted for its sockets.
    pub sockets: SocketCounts,
    /// Frames for which no socket was there.
    pub fallback: Fallback,
}

/// A worker now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its queue on both ports.
    pub queue: u32,
    /// The CPU it is pinned to.
    pub core: u32,
    /// Whether its thread runs. A worker that died leaves its queue to the fallback.
    pub alive: bool,
    /// Addresses from rings that were refused.
    pub rejected: u64,
}

/// Frames that were lost between a device and a worker's counters, summed over a port's sockets
/// (`struct xdp_statistics` of `include/uapi/linux/if_xdp.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounts {
    /// Received frames the kernel dropped: too large for a chunk, or on the wrong queue.
    pub receive_dropped: u64,
    /// Received frames dropped because the RX ring was full.
    pub receive_ring_full: u64,
    /// Times a received frame found the fill ring empty.
    pub fill_ring_empty: u64,
    /// Descriptors the kernel refused, in either direction. Not 0 would be a defect.
    pub invalid_descriptors: u64,
    /// Frames the kernel took from the TX ring and the device then dropped, as a full virtual device does.
    pub device_drops: u64,
}

impl SocketCounts {
    pub(super) fn add(&mut self, statistics: &XdpStatistics) {
        self.receive_dropped += statistics.rx_dropped;
        self.receive_ring_full += statistics.rx_ring_full.unwrap_or(0);
        self.fill_ring_empty += statistics.rx_fill_ring_empty_descs.unwrap_or(0);
        self.invalid_descriptors += statistics.rx_invalid_descs + statistics.tx_invalid_descs;
    }
}
