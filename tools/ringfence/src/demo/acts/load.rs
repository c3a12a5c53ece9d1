//! Policies change under load, and no packet notices that should not.

use std::time::Duration;

use crate::demo::daemon::Daemon;
use crate::demo::error::DemoError;
use crate::demo::policy;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Drops, Enforcer as _, Stage, decided};
use crate::demo::topology::{BATCH, CRM, DB, DEV, Family, Host, WEB};
use crate::demo::traffic::echo::UDP_PORT;
use crate::demo::traffic::stream::{Count, Stream};
use crate::demo::traffic::witness::Witness;

/// How many policies are published.
const PUBLISHES: u32 = 200;
/// One datagram in this time, in each stream: far below what the wire carries, so that any loss is a fault.
const PACE: Duration = Duration::from_micros(500);

/// Streams that are counted: who sends, over what, and whether it is allowed.
const STREAMS: [(Host, Family, bool); 4] =
    [(WEB, Family::V4, true), (CRM, Family::V6, true), (BATCH, Family::V4, false), (DEV, Family::V6, false)];

/// A stream, and what of it arrives.
struct Watched {
    question: Question,
    passes: bool,
    stream: Stream,
    witness: Witness,
}

/// Publishes two policies in turn that both allow the same streams, and deny the same.
pub(crate) fn publishes(stage: &mut Stage<'_>, daemon: &Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act(&format!("{PUBLISHES} policies are published under load"))?;
    let other = policy::with_idle_rule(text);
    let drops = daemon.drops()?;
    let mut all = STREAMS.map(|stream| start(stage, stream)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let epoch = daemon.epoch()?;
    let mut refused = 0;
    for number in 0..PUBLISHES {
        stage.alive()?;
        let next = if number % 2 == 0 { &other } else { text };
        refused += u32::from(daemon.publish(next, "the demo publishes under load")?.is_err());
        for one in &mut all {
            one.witness.count();
        }
    }
    let after = daemon.epoch()?;
    all.iter().for_each(|one| one.stream.stop());
    stage.expect(
        format!("publish {PUBLISHES} times"),
        format!("epoch {}", epoch + PUBLISHES),
        format!("epoch {after}, {refused} refused"),
        "",
        refused == 0 && after == epoch + PUBLISHES,
    );
    all.into_iter().try_for_each(|one| finish(stage, daemon, one, &drops))
}

fn start(stage: &Stage<'_>, (host, family, passes): (Host, Family, bool)) -> Result<Watched, DemoError> {
    let question = Question::new(host, DB, Service::Telemetry, family);
    let witness = stage.watch(&question)?;
    let stream = Stream::start(stage.of(host), DB.at(family, UDP_PORT), PACE)?;
    let stream = stream.map_err(|error| DemoError::Io("start a stream", error))?;
    Ok(Watched { question, passes, stream, witness })
}

fn finish(
    stage: &mut Stage<'_>,
    daemon: &Daemon<'_>,
    watched: Watched,
    drops: &Drops,
) -> Result<(), DemoError> {
    let Watched { question, passes, stream, mut witness } = watched;
    let Count { sent, returned, strange } = stream.finish();
    let arrived = witness.count();
    let right = if passes { sent } else { 0 };
    let decided = decided(daemon, &question, passes, drops)?;
    stage.expect(
        format!("stream {question}"),
        if passes { "none is lost" } else { "none arrives" },
        format!("{arrived} of {sent} arrived, {returned} came back"),
        decided,
        sent > 0 && arrived == right && returned == right && strange == 0,
    );
    Ok(())
}
