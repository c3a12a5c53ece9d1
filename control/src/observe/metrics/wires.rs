//! How wires and ports are.

use super::family::{Families, Labels, label};
use crate::socket::view::{PortView, WireView};

pub(super) fn gather(wires: &[WireView], into: &mut Families) {
    let ports = |value: &dyn Fn(&PortView) -> u64| -> Vec<(Labels, u64)> {
        let sides = wires.iter().flat_map(|wire| {
            [("inside", &wire.inside), ("outside", &wire.outside)].map(|(side, port)| (wire, side, port))
        });
        let labels =
            |wire: &WireView, side: &str| vec![("wire", wire.name.clone()), ("side", side.to_owned())];
        sides.map(|(wire, side, port)| (labels(wire, side), value(port))).collect()
    };
    into.levels(
        "ringfence_port_up",
        "1 if the port can send, 0 if it is down or gone",
        ports(&|port| u64::from(port.state == "up")),
    );
    into.counts(
        "ringfence_port_lost_before_worker_frames",
        "Frames that the kernel lost before a worker saw them",
        ports(&|port| port.lost_before_worker),
    );
    into.counts(
        "ringfence_port_lost_by_device_frames",
        "Frames that the device took and then dropped",
        ports(&|port| port.lost_by_device),
    );
    into.counts(
        "ringfence_port_fallback_dropped_frames",
        "Frames that no worker was there for, and that were dropped",
        ports(&|port| port.fallback_dropped),
    );
    into.counts(
        "ringfence_port_fallback_passed_frames",
        "Frames that no worker was there for, and that passed unjudged",
        ports(&|port| port.fallback_passed),
    );
    let workers = |value: &dyn Fn(&WireView) -> usize| -> Vec<(Labels, u64)> {
        wires.iter().map(|wire| (label("wire", wire.name.clone()), value(wire) as u64)).collect()
    };
    into.levels("ringfence_workers", "Workers that there should be", workers(&|wire| wire.workers));
    into.levels("ringfence_workers_alive", "Workers that run", workers(&|wire| wire.workers_alive));
}
