//! Policies change under load, and no packet notices that should not.

use std::time::Duration;

use crate::demo::daemon::Daemon;
use crate::demo::error::DemoError;
use crate::demo::policy;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Enforcer as _, Stage};
use crate::demo::topology::{BATCH, CRM, DB, DEV, Family, Host, WEB};
use crate::demo::traffic::echo::UDP_PORT;
use crate::demo::traffic::stream::Stream;

/// How many policies are published.
const PUBLISHES: u32 = 200;
/// One datagram in this time, in each stream: far below what the wire carries, so that any loss is a fault.
const PACE: Duration = Duration::from_micros(500);

/// Streams that are counted: who sends, over what, and whether it is allowed.
const STREAMS: [(Host, Family, bool); 4] =
    [(WEB, Family::V4, true), (CRM, Family::V6, true), (BATCH, Family::V4, false), (DEV, Family::V6, false)];

/// Publishes two policies in turn that both allow the same streams, and deny the same.
pub(crate) fn publishes(stage: &mut Stage<'_>, daemon: &Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act(&format!("{PUBLISHES} policies are published under load"))?;
    let other = policy::with_idle_rule(text);
    let drops = daemon.drops()?;
    let before = stage.arrived(&counted(Family::V4))? + stage.arrived(&counted(Family::V6))?;
    let mut streams = Vec::new();
    for (host, family, _) in STREAMS {
        let stream = Stream::start(stage.of(host), DB.at(family, UDP_PORT), PACE)?;
        streams.push(stream.map_err(|error| DemoError::Io("start a stream", error))?);
    }
    let epoch = daemon.epoch()?;
    let mut refused = 0;
    for number in 0..PUBLISHES {
        stage.alive()?;
        let next = if number % 2 == 0 { &other } else { text };
        refused += usize::from(daemon.publish(next, "the demo publishes under load")?.is_err());
    }
    let after = daemon.epoch()?;
    streams.iter().for_each(Stream::stop);
    let counts: Vec<_> = streams.into_iter().map(Stream::finish).collect();
    let arrived = stage.arrived(&counted(Family::V4))? + stage.arrived(&counted(Family::V6))? - before;

    stage.expect(
        format!("publish {PUBLISHES} times"),
        format!("epoch {}", epoch + PUBLISHES),
        format!("epoch {after}, {refused} refused"),
        "",
        refused == 0 && after == epoch + PUBLISHES,
    );
    let mut allowed = 0;
    for ((host, family, passes), count) in STREAMS.into_iter().zip(counts) {
        let (source, service) = (host.ip(family), format!("udp/{UDP_PORT}"));
        let decided = if passes {
            allowed += count.sent;
            daemon.let_in_by(source, DB.ip(family), &service)?
        } else {
            daemon.dropped_by(source, DB.ip(family), &service, &drops)?
        };
        let expected = if passes { "all come back" } else { "none comes back" };
        let right = if passes { count.sent } else { 0 };
        stage.expect(
            format!("stream {} -> db {}", host.name, family.name()),
            expected,
            format!("{} of {}", count.returned, count.sent),
            decided,
            count.sent > 0 && count.returned == right && count.strange == 0,
        );
    }
    stage.expect(
        "all datagrams that arrived at db",
        format!("{allowed}"),
        format!("{arrived}"),
        "",
        arrived == allowed,
    );
    Ok(())
}

/// The question whose counter of arrivals counts the streams of a family.
fn counted(family: Family) -> Question {
    Question::new(WEB, DB, Service::Telemetry, family)
}
