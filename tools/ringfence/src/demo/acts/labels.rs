//! What the labels allow gets through, nothing else does.

use crate::demo::error::DemoError;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Enforcer, Stage};
use crate::demo::topology::{BATCH, CRM, DB, DEV, FRESH, Family, NARROW_MTU, STRANGER, WEB};
use crate::demo::traffic::probe::Answer;

/// What is allowed: TCP, UDP and ping over both families, one database for two applications, path MTU errors.
pub(crate) fn allowed(stage: &mut Stage<'_>, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    stage.act("What the labels allow gets through")?;
    let ask = |from, service| move |family| Question::new(from, DB, service, family);
    stage.both(ask(WEB, Service::Postgres), true, enforcer)?;
    stage.both(ask(WEB, Service::Telemetry), true, enforcer)?;
    stage.both(|family| ask(WEB, Service::Telemetry)(family).sized(4000), true, enforcer)?;
    stage.both(ask(WEB, Service::Ping), true, enforcer)?;

    stage.act("One database serves two applications in two segments, over a path with a smaller MTU")?;
    for family in Family::BOTH {
        path_mtu(stage, ask(CRM, Service::Postgres)(family).sized(256 * 1024), enforcer)?;
    }
    stage.both(ask(CRM, Service::Telemetry), true, enforcer)?;
    stage.both(ask(CRM, Service::Ping), true, enforcer)
}

/// A transfer that stalls unless the router's ICMP error about it comes through the wire.
fn path_mtu(stage: &mut Stage<'_>, question: Question, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    let answer = stage.allowed(question, enforcer)?;
    let (holds, happened) = match answer {
        Answer::Echoed { path_mtu: Some(mtu), .. } => {
            (mtu == u32::from(NARROW_MTU), format!("the sender learnt {mtu}"))
        }
        other => (false, other.to_string()),
    };
    let tried = format!("router's ICMP error to crm {}", question.family.name());
    let expected = format!("path MTU {NARROW_MTU}");
    let decided = enforcer.let_in_by(question.source(), question.destination(), &question.service())?;
    stage.expect(tried, expected, happened, decided, holds);
    Ok(())
}

/// What is not: neighbours, other environments, unknown and unlabelled hosts.
pub(crate) fn denied(stage: &mut Stage<'_>, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
    stage.act("A neighbour in the same subnet that has no business with the database")?;
    stage.both(|family| Question::new(BATCH, DB, Service::Postgres, family), false, enforcer)?;
    stage.both(|family| Question::new(BATCH, DB, Service::Telemetry, family), false, enforcer)?;
    stage.both(|family| Question::new(WEB, BATCH, Service::Https, family), false, enforcer)?;

    stage.act("Development does not reach production, though it is the same application")?;
    stage.both(|family| Question::new(DEV, DB, Service::Postgres, family), false, enforcer)?;
    stage.both(|family| Question::new(DEV, WEB, Service::Ping, family), false, enforcer)?;

    stage.act("Nobody knows this source")?;
    stage.both(|family| Question::new(STRANGER, DB, Service::Postgres, family), false, enforcer)?;
    stage.both(|family| Question::new(STRANGER, WEB, Service::Ping, family), false, enforcer)?;

    stage.act("A workload without labels is in quarantine, both ways")?;
    stage.both(|family| Question::new(FRESH, DB, Service::Telemetry, family), false, enforcer)?;
    stage.both(|family| Question::new(STRANGER, FRESH, Service::Https, family), false, enforcer)
}
