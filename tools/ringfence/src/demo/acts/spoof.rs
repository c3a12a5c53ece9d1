//! A workload that claims to be another.

use std::time::Duration;

use crate::demo::error::DemoError;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Enforcer, Stage};
use crate::demo::topology::{BATCH, DB, Family, WEB};
use crate::demo::traffic::echo::UDP_PORT;
use crate::demo::traffic::raw;

/// How many forged datagrams are sent.
const FORGED: u32 = 10;

/// `batch` forges datagrams from `web`, which would be allowed.
pub(crate) fn forged(stage: &mut Stage<'_>, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    stage.act("A workload that pretends to be another")?;
    for family in Family::BOTH {
        forge(stage, family, enforcer)?;
    }
    Ok(())
}

/// `batch` takes the addresses of `web` for its own.
pub(crate) fn taken(stage: &mut Stage<'_>, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    let (v4, v6) = (WEB.ip(Family::V4), WEB.ip(Family::V6));
    stage.of(BATCH).address("eth0", &format!("{v4}/32"))?;
    stage.of(BATCH).address("eth0", &format!("{v6}/128"))?;
    let stolen = steal(stage, enforcer);
    stage.of(BATCH).ip(&format!("address del {v4}/32 dev eth0"))?;
    stage.of(BATCH).ip(&format!("address del {v6}/128 dev eth0"))?;
    stolen
}

fn forge(stage: &mut Stage<'_>, family: Family, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    stage.alive()?;
    let as_web = Question::new(WEB, DB, Service::Telemetry, family);
    let (source, to) = (WEB.ip(family), DB.at(family, UDP_PORT));
    let drops = enforcer.drops()?;
    let mut witness = stage.watch(&as_web)?;
    let sent = raw::spoof(stage.of(BATCH), source, to, FORGED)?;
    sent.map_err(|error| DemoError::Io("send forged datagrams", error))?;
    stage.interrupt.sleep(Duration::from_millis(200));
    let arrived = witness.count();
    let decided = enforcer.dropped_by(source, to.ip(), &as_web.service(), &drops)?;
    stage.expect(
        format!("batch forges as web -> db {}", family.name()),
        "nothing arrives",
        format!("{arrived} of {FORGED} arrived"),
        decided,
        arrived == 0,
    );
    Ok(())
}

/// While `batch` has the addresses of `web` on its own interface, and its kernel speaks and answers for them, `web`
/// goes on undisturbed.
fn steal(stage: &mut Stage<'_>, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    let claim = |family| Question::new(BATCH, DB, Service::Telemetry, family).claiming(WEB);
    stage.both(claim, false, enforcer)?;
    stage.both(|family| Question::new(WEB, DB, Service::Telemetry, family), true, enforcer)
}
