//! Where no wire can be put, a proxy enforces the same policy.

use std::net::SocketAddr;
use std::time::Duration;

use crate::demo::acts::change;
use crate::demo::config::PROXIES;
use crate::demo::daemon::Daemon;
use crate::demo::error::DemoError;
use crate::demo::policy;
use crate::demo::stage::{Enforcer as _, Stage};
use crate::demo::topology::{CRM, Family, Host, LEDGER, STRANGER, TILL};
use crate::demo::traffic::http::{self, Site};
use crate::demo::traffic::probe::{BRIEF, PATIENT};
use crate::demo::traffic::turns::Turns;

/// The rule that is removed.
const RULE: &str = "till-to-ledger";

/// A web server and a database that listen where only the daemon's proxies reach them: who may is decided by labels,
/// before they hear of it; and a rule that goes takes its connections along.
pub(crate) fn proxied(stage: &mut Stage<'_>, daemon: &Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act("Where no wire can be put, a proxy enforces the same policy: HTTP")?;
    let [(_, web, site), (_, db, database)] = PROXIES;
    let (site, database) = (address(site)?, address(database)?);
    let site = Site::start(&stage.network.wire, site)?
        .map_err(|error| DemoError::Io("start a web server", error))?;
    for family in Family::BOTH {
        page(stage, daemon, &site, TILL, family, web, true)?;
    }
    for family in Family::BOTH {
        page(stage, daemon, &site, STRANGER, family, web, false)?;
    }
    stage
        .act(&format!("The rule {RULE} is removed while two sessions with the ledger's database are open"))?;
    let Some(without) = policy::without_rule(text, RULE) else {
        stage.expect(format!("remove {RULE}"), "the rule is there", "the policy has no such rule", "", false);
        return Ok(());
    };
    for family in Family::BOTH {
        sessions(stage, daemon, family, (db, database), &without)?;
        page(stage, daemon, &site, TILL, family, web, false)?;
        change::restore(stage, daemon, text)?;
        page(stage, daemon, &site, TILL, family, web, true)?;
    }
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr, DemoError> {
    text.parse().map_err(|_| DemoError::Missing(format!("{text} is no address")))
}

/// Asks for a page. Whom policy denies never reaches the server.
fn page(
    stage: &mut Stage<'_>,
    daemon: &Daemon<'_>,
    site: &Site,
    from: Host,
    family: Family,
    port: u16,
    allowed: bool,
) -> Result<(), DemoError> {
    stage.alive()?;
    let (drops, before) = (daemon.drops()?, site.connections());
    let within = if allowed { PATIENT } else { BRIEF };
    let (said, whole) = http::get(stage.of(from), LEDGER.at(family, port), within)?;
    let seen = site.connections() - before;
    let service = format!("tcp/{port}");
    let (source, destination) = (from.ip(family), LEDGER.ip(family));
    let tried = format!("{} -> ledger HTTP {}", from.name, family.name());
    if allowed {
        // A relayed connection is known as long as it lives; afterwards the records name the rule.
        let decided = daemon.recorded(source, destination, &service)?;
        stage.expect(tried, "the page", said, decided, whole && seen == 1);
    } else {
        let decided = daemon.dropped_by(source, destination, &service, &drops)?;
        let happened = format!("{said}, the server saw {seen}");
        stage.expect(tried, "refused, unseen", happened, decided, !whole && seen == 0);
    }
    Ok(())
}

/// Two sessions through the proxy; the rule of one is removed.
fn sessions(
    stage: &mut Stage<'_>,
    daemon: &Daemon<'_>,
    family: Family,
    (port, server): (u16, SocketAddr),
    without: &str,
) -> Result<(), DemoError> {
    stage.alive()?;
    let (to, service) = (LEDGER.at(family, port), format!("tcp/{port}"));
    let mut live = Vec::new();
    for from in [TILL, CRM] {
        match Turns::through(stage.of(from), &stage.network.wire, to, server, PATIENT)? {
            Ok(turns) => live.push(turns),
            Err(error) => {
                let tried = format!("{} -> ledger {service} {}", from.name, family.name());
                stage.expect(tried, "a session", error.to_string(), "", false);
            }
        }
    }
    let [till, crm] = live.as_slice() else { return Ok(()) };
    stage.interrupt.sleep(Duration::from_millis(200));
    // Between two messages nothing is on its way, as when a wire cuts.
    let rested = till.pause(PATIENT);
    let published = daemon.publish(without, "the demo removes a rule")?;
    let (till_then, crm_then) = (till.progress(), crm.progress());
    till.resume();
    stage.interrupt.sleep(Duration::from_millis(500));
    let (till_now, crm_now) = (till.progress(), crm.progress());
    let through = till_now.received - till_then.received;
    stage.expect(
        format!("till's session {}", family.name()),
        "cut at once",
        format!("{} messages, then {through} more", till_then.returned),
        daemon.recorded(TILL.ip(family), LEDGER.ip(family), &service)?,
        rested && published.is_ok() && till_then.returned > 0 && through == 0,
    );
    let continued = crm_now.returned - crm_then.returned;
    stage.expect(
        format!("crm's session {}", family.name()),
        "goes on",
        format!("{} messages, then {continued}", crm_then.returned),
        daemon.let_in_by(CRM.ip(family), LEDGER.ip(family), &service)?,
        continued > 0 && crm_now.sent - crm_now.returned <= 1,
    );
    Ok(())
}
