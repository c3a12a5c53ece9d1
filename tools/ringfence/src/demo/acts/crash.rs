//! The daemon dies, and comes back.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::demo::daemon::Daemon;
use crate::demo::error::DemoError;
use crate::demo::policy;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Drops, Enforcer, Stage};
use crate::demo::topology::{BATCH, CRM, DB, Family, WEB};
use crate::demo::traffic::probe::PATIENT;
use crate::demo::traffic::turns::Turns;

/// How long a connection may take to notice that the wire works again.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);

/// Kills the daemon, looks what passes, starts it again with a policy file that is broken: what was published last
/// must be in force.
pub(crate) fn crash(stage: &mut Stage<'_>, daemon: &mut Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act("The daemon is killed with SIGKILL")?;
    let (epoch, hash) = (daemon.epoch()?, daemon.policy_hash()?);
    let live = Turns::start(stage.of(CRM), stage.of(DB), DB.at(Family::V4, 5433), PATIENT)?;
    stage.interrupt.sleep(Duration::from_millis(100));
    daemon.kill();
    stage.both(|family| Question::new(WEB, DB, Service::Postgres, family), false, &Dead)?;
    stage.both(|family| Question::new(CRM, DB, Service::Ping, family), false, &Dead)?;

    stage.act("It starts again, from the last good policy: its policy file was broken meanwhile")?;
    daemon.write_policy(&policy::broken(text))?;
    daemon.start()?;
    // For whoever looks at the file while the lab stays up.
    daemon.write_policy(text)?;
    let (new_epoch, new_hash) = (daemon.epoch()?, daemon.policy_hash()?);
    let said = daemon.says_last_good();
    stage.expect(
        "start",
        format!("epoch {epoch} again"),
        format!("epoch {new_epoch}, \"{}\"", said.as_deref().unwrap_or("")),
        "",
        new_hash == hash && said.is_some(),
    );
    resumed(stage, daemon, live)?;
    stage.both(|family| Question::new(WEB, DB, Service::Postgres, family), true, daemon)?;
    stage.denied(Question::new(BATCH, DB, Service::Postgres, Family::V4), daemon)
}

/// A connection from before the kill goes on: it is picked up, because the policy allows it.
fn resumed(stage: &mut Stage<'_>, daemon: &Daemon<'_>, live: io::Result<Turns>) -> Result<(), DemoError> {
    let (happened, holds) = match live {
        Err(error) => (error.to_string(), false),
        Ok(turns) => {
            let before = turns.progress().returned;
            let more = || turns.progress().returned - before;
            // The client's kernel tries again after ever longer pauses; a few seconds, by now.
            let deadline = Instant::now() + RESUMED_WITHIN;
            while more() < 2 && Instant::now() < deadline {
                stage.interrupt.sleep(Duration::from_millis(20));
                stage.alive()?;
            }
            (format!("{before} messages, then {}", more()), more() >= 2)
        }
    };
    let decided = daemon.let_in_by(CRM.ip(Family::V4), DB.ip(Family::V4), "tcp/5433")?;
    stage.expect("crm's connection from before the kill", "goes on", happened, decided, holds);
    Ok(())
}

/// Asks the daemon to end.
pub(crate) fn stop(stage: &mut Stage<'_>, daemon: &mut Daemon<'_>) -> Result<(), DemoError> {
    stage.act("The daemon is asked to end")?;
    let status = daemon.stop();
    let happened = status.map_or_else(|| "it does not end".to_owned(), |status| status.to_string());
    stage.expect("SIGTERM", "exit status: 0", happened, "", status.is_some_and(|status| status.success()));
    stage.denied(Question::new(WEB, DB, Service::Postgres, Family::V4), &Dead)
}

/// Nobody is there to ask.
struct Dead;

impl Enforcer for Dead {
    fn let_in_by(&self, _: IpAddr, _: IpAddr, _: &str) -> Result<String, DemoError> {
        Ok(String::new())
    }

    fn dropped_by(&self, _: IpAddr, _: IpAddr, _: &str, _: &Drops) -> Result<String, DemoError> {
        Ok("no daemon to ask".into())
    }

    fn drops(&self) -> Result<Drops, DemoError> {
        Ok(Drops::new())
    }
}
