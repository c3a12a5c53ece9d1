//! The process, and what is wrong with it.

use dataplane::proxy::ProxyStatus;

use super::family::{Families, Labels, label};
use super::proxies::is_without_server;
use crate::engine::Engine;
use crate::socket::view::WireView;

pub(super) fn gather(engine: &Engine, wires: &[WireView], proxies: &[ProxyStatus], into: &mut Families) {
    let degraded = causes(engine, wires, proxies).map(|(cause, is)| (label("cause", cause), u64::from(is)));
    into.levels("ringfence_degraded", "1 for what is wrong now, by cause", degraded);
    let build: Labels = label("version", env!("CARGO_PKG_VERSION"));
    into.levels("ringfence_build_info", "The version of the program; always 1", [(build, 1)]);
    // The name that every client library gives it.
    if let Some(start) = started() {
        into.seconds("process_start_time_seconds", "When the process started, seconds since 1970", start);
    }
}

/// Everything that can be wrong, and whether it is.
fn causes(engine: &Engine, wires: &[WireView], proxies: &[ProxyStatus]) -> [(&'static str, bool); 6] {
    let down = |wire: &WireView| [&wire.inside, &wire.outside].iter().any(|port| port.state != "up");
    let behind = engine.in_force().is_some_and(|now| {
        engine.publisher().reported().into_iter().flatten().any(|epoch| epoch < now.snapshot.epoch)
    });
    let dead = wires.iter().any(|wire| wire.workers_alive < wire.workers)
        || proxies.iter().any(|proxy| proxy.workers.iter().any(|worker| !worker.alive));
    [
        ("no_policy", engine.in_force().is_none()),
        ("worker_dead", dead),
        ("worker_behind", behind),
        ("port_down", wires.iter().any(down)),
        ("no_server", proxies.iter().any(is_without_server)),
        ("exporter", engine.exporters().iter().any(|one| one.error.is_some())),
    ]
}

/// Seconds since 1970, from `/proc` (proc(5): field 22 of `stat` in ticks since the boot, `btime` of `/proc/stat`).
fn started() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold blanks; fields are counted from its closing parenthesis, the third one on.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    #[expect(clippy::cast_precision_loss, reason = "ticks a second are a hundred or a thousand")]
    Some(boot + ticks / per_second as f64)
}
