//! The lab left running, with traffic on it, for whoever wants to look around.

use std::thread;
use std::time::Duration;

use super::config::Folder;
use super::daemon::Daemon;
use super::error::DemoError;
use super::question::{Question, Service};
use super::stage::Stage;
use super::topology::{BATCH, CRM, DB, DEV, FRESH, Family, Host, STRANGER, WEB};
use super::traffic::probe::{BRIEF, PATIENT};

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(250);

const ALLOWED: [(Host, Service); 6] = [
    (WEB, Service::Postgres),
    (WEB, Service::Telemetry),
    (WEB, Service::Ping),
    (CRM, Service::Postgres),
    (CRM, Service::Telemetry),
    (CRM, Service::Ping),
];
const DENIED: [(Host, Service); 4] = [
    (BATCH, Service::Postgres),
    (DEV, Service::Postgres),
    (STRANGER, Service::Postgres),
    (FRESH, Service::Telemetry),
];
/// What passes because both applications are only observed.
const OBSERVED: [(Host, Service); 1] = [(BATCH, Service::Https)];

/// Keeps traffic going until somebody interrupts; under `policy`, if one is given.
pub(crate) fn serve(
    stage: &Stage<'_>,
    folder: &Folder,
    daemon: &Daemon<'_>,
    policy: Option<&str>,
) -> Result<(), DemoError> {
    if let Some(text) = policy {
        daemon.write_policy(text)?;
        daemon.publish(text, "observe reports and the crm")?.map_err(DemoError::Daemon)?;
    }
    let page = daemon.page()?;
    let program = std::env::current_exe().unwrap_or_else(|_| "ringfence".into());
    let (socket, policy) = (folder.socket(), folder.policy());
    let (program, socket, policy) = (program.display(), socket.display(), policy.display());
    stage.report.say(&format!(
        "
The lab stays up, with traffic on it, until ^C. Its map, for one browser (`ringfence page` lets another in):

  {page}

In another terminal:

  alias ringfence={program}
  export RINGFENCE_SOCKET={socket}
  ringfence status
  ringfence flows
  ringfence drops
  ringfence explain batch db tcp/5432
  cp {policy} mine.yaml    # change it, then:
  ringfence policy publish mine.yaml
  ip netns exec rf-demo-web ping 10.77.1.20"
    ));
    thread::scope(|scope| {
        let allowed = scope.spawn(|| ask(stage, DB, &ALLOWED, PATIENT));
        let denied = scope.spawn(|| ask(stage, DB, &DENIED, BRIEF));
        let observed = scope.spawn(|| ask(stage, CRM, &OBSERVED, BRIEF));
        for asking in [allowed, denied, observed] {
            asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}

/// Answers do not matter here: whoever looks around may change the policy.
fn ask(
    stage: &Stage<'_>,
    to: Host,
    questions: &[(Host, Service)],
    within: Duration,
) -> Result<(), DemoError> {
    loop {
        for family in Family::BOTH {
            for (host, service) in questions {
                if stage.interrupt.is_set() {
                    return Ok(());
                }
                Question::new(*host, to, *service, family).ask(stage.network, within)?;
            }
        }
        stage.interrupt.sleep(PAUSE);
    }
}
