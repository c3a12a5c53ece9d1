//! The daemon dies, and comes back.

use std::net::IpAddr;

use crate::demo::daemon::Daemon;
use crate::demo::error::DemoError;
use crate::demo::policy;
use crate::demo::question::{Question, Service};
use crate::demo::stage::{Drops, Enforcer, Stage};
use crate::demo::topology::{BATCH, CRM, DB, Family, WEB};

/// Kills the daemon, looks what passes, starts it again with a policy file that is broken: what was published last
/// must be in force.
pub(crate) fn crash(stage: &mut Stage<'_>, daemon: &mut Daemon<'_>, text: &str) -> Result<(), DemoError> {
    stage.act("The daemon is killed with SIGKILL")?;
    let (epoch, hash) = (daemon.epoch()?, daemon.policy_hash()?);
    daemon.kill();
    stage.both(|family| Question::new(WEB, DB, Service::Postgres, family), false, &Dead)?;
    stage.both(|family| Question::new(CRM, DB, Service::Ping, family), false, &Dead)?;

    stage.act("It starts again, from the last good policy: its policy file was broken meanwhile")?;
    daemon.write_policy(&policy::broken(text))?;
    daemon.start()?;
    let (new_epoch, new_hash) = (daemon.epoch()?, daemon.policy_hash()?);
    let said = daemon.says_last_good();
    stage.expect(
        "start",
        format!("epoch {epoch} again"),
        format!("epoch {new_epoch}, \"{}\"", said.as_deref().unwrap_or("")),
        "",
        new_hash == hash && said.is_some(),
    );
    stage.both(|family| Question::new(WEB, DB, Service::Postgres, family), true, daemon)?;
    stage.denied(Question::new(BATCH, DB, Service::Postgres, Family::V4), daemon)
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
