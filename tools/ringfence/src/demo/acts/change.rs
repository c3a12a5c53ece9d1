//! A changed policy takes hold on the next packet; a bad one takes no hold at all.

use std::time::Duration;

use crate::demo::daemon::{Daemon, Published};
use crate::demo::error::DemoError;
use crate::demo::policy;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Enforcer as _, Stage};
use crate::demo::topology::{CRM, DB, Family, WEB};
use crate::demo::traffic::probe::PATIENT;
use crate::demo::traffic::turns::{Progress, Turns};

/// Ports of the database for the two connections that are watched; both belong to the range of `postgres` in the
/// demo's policy.
const PORTS: [u16; 2] = [5433, 5434];
/// The rule that is removed.
const RULE: &str = "shop-to-db";

/// Two live connections; the rule of one is removed.
pub(crate) fn cut(stage: &mut Stage<'_>, daemon: &Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act(&format!("The rule {RULE} is removed while two connections to the database are live"))?;
    let Some(without) = policy::without_rule(text, RULE) else {
        stage.expect(format!("remove {RULE}"), "the rule is there", "the policy has no such rule", "", false);
        return Ok(());
    };
    for family in Family::BOTH {
        cut_one(stage, daemon, family, text, &without)?;
    }
    Ok(())
}

fn cut_one(
    stage: &mut Stage<'_>,
    daemon: &Daemon<'_>,
    family: Family,
    text: &str,
    without: &str,
) -> Result<(), DemoError> {
    stage.alive()?;
    let (Some(shop), Some(crm)) = (live(stage, WEB, family, PORTS[0])?, live(stage, CRM, family, PORTS[1])?)
    else {
        return Ok(());
    };
    stage.interrupt.sleep(Duration::from_millis(200));
    // Between two messages nothing is on its way, so that whatever the server gets from now on left after the
    // publish: the very next packet is the one that counts.
    let rested = shop.pause(PATIENT);
    let drops = daemon.drops()?;
    let published = daemon.publish(without, "the demo removes a rule")?;
    let (shop_then, crm_then) = (shop.progress(), crm.progress());
    shop.resume();
    stage.interrupt.sleep(Duration::from_millis(700));
    let (shop_now, crm_now) = (shop.progress(), crm.progress());

    let service = format!("tcp/{}", PORTS[0]);
    let decided = daemon.dropped_by(WEB.ip(family), DB.ip(family), &service, &drops)?;
    let tried = shop_now.sent - shop_then.sent;
    let through = shop_now.received - shop_then.received;
    stage.expect(
        format!("web's connection {}", family.name()),
        "cut at once",
        format!("{} messages, then {through} of {tried}", shop_then.returned),
        decided,
        rested && published.is_ok() && shop_then.returned > 0 && tried > 0 && through == 0,
    );
    let continued = crm_now.returned - crm_then.returned;
    stage.expect(
        format!("crm's connection {}", family.name()),
        "goes on",
        format!("{} messages, then {continued}", crm_then.returned),
        daemon.let_in_by(CRM.ip(family), DB.ip(family), &format!("tcp/{}", PORTS[1]))?,
        continued > 0 && flows(crm_now),
    );
    // Both end before the next question, which counts every TCP segment that arrives.
    drop((shop, crm));
    stage.interrupt.sleep(Duration::from_millis(50));
    stage.denied(Question::new(WEB, DB, Service::Postgres, family), daemon)?;
    restore(stage, daemon, text)?;
    stage.allowed(Question::new(WEB, DB, Service::Postgres, family), daemon)?;
    Ok(())
}

/// Nothing was lost or doubled: at most one message is on its way.
fn flows(progress: Progress) -> bool {
    progress.sent - progress.returned <= 1
}

fn live(
    stage: &mut Stage<'_>,
    from: crate::demo::topology::Host,
    family: Family,
    port: u16,
) -> Result<Option<Turns>, DemoError> {
    match Turns::start(stage.of(from), stage.of(DB), DB.at(family, port), PATIENT)? {
        Ok(turns) => Ok(Some(turns)),
        Err(error) => {
            let tried = format!("{} -> db tcp/{port} {}", from.name, family.name());
            stage.expect(tried, "a connection", error.to_string(), "", false);
            Ok(None)
        }
    }
}

/// Publishes the demo's policy again; a failure is an expectation that does not hold.
pub(crate) fn restore(stage: &mut Stage<'_>, daemon: &Daemon<'_>, text: &str) -> Result<(), DemoError> {
    if let Err(refusal) = daemon.publish(text, "the demo's policy again")? {
        stage.expect("publish the demo's policy again", "accepted", refusal, "", false);
    }
    Ok(())
}

/// A policy that cannot be right.
pub(crate) fn refused(stage: &mut Stage<'_>, daemon: &Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act("A bad policy is refused, the old one stays in force")?;
    let before = daemon.epoch()?;
    let answer = daemon.publish(&policy::broken(text), "the demo's bad policy")?;
    let after = daemon.epoch()?;
    let refused = answer.is_err();
    let said = match answer {
        Ok(Published { epoch }) => format!("accepted as epoch {epoch}"),
        Err(refusal) => refusal,
    };
    stage.expect("publish a rule for tcp/70000", "a refusal", said, "", refused);
    stage.expect("epoch in force", before.to_string(), after.to_string(), "", before == after);
    stage.both(|family| Question::new(WEB, DB, Service::Postgres, family), true, daemon)
}
