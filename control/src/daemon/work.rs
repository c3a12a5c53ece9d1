//! The regular work of the control thread, until a signal or a successor ends it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::{Proxies, Wires, notify};
use crate::engine::{Engine, Terms, config_author, config_files};

/// How often the regular work is done.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How often the flow records are saved, which is what a crash loses of them, and memory is given back.
const KEEP_HOUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether all workers live.
const LOOK: Duration = Duration::from_secs(5);
/// How often the watchdog is told that the control thread lives, if systemd asks for it: at most this, and never
/// less than twice in the time it allows.
const WATCHDOG: Duration = Duration::from_secs(10);

/// The connection of a process that wants to take over, and what keeps others from it meanwhile.
pub(crate) type Asking = (UnixStream, OwnedSemaphorePermit);

/// What the regular work is done on.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) engine: Arc<Engine>,
    pub(super) wires: Wires,
    pub(super) proxies: Proxies,
    pub(super) policy: Vec<PathBuf>,
    pub(super) give_back: Option<fn()>,
}

/// In which part of its life a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves.
    Serving,
    /// Its proxies drain since then.
    Draining(Instant),
    /// Another process has taken its place; what it publishes counts here too.
    Followed,
}

/// What ended the regular work.
pub(super) enum Ended {
    /// A signal; or, unless it serves, no proxy runs any more.
    Stop,
    /// A process wants to take over.
    Asked(Asking),
}

impl Work {
    /// The regular work.
    pub(super) async fn attend(
        &self,
        signals: &mut Signals,
        successors: &mut mpsc::Receiver<Asking>,
        phase: Phase,
    ) -> Ended {
        let mut reverting = None;
        let (mut look, mut dead) = (interval(LOOK), [0, 0]);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keep_house = interval(KEEP_HOUSE);
        keep_house.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let allowed = sd_notify::watchdog_enabled();
        let mut watchdog = interval(allowed.map_or(WATCHDOG, |allowed| WATCHDOG.min(allowed / 2)));
        let own = phase != Phase::Followed;
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if self.tick(&mut reverting, phase) {
                        return Ended::Stop;
                    }
                }
                _ = keep_house.tick() => self.keep_house(own),
                _ = look.tick(), if phase == Phase::Serving => {
                    dead = [self.wires.watch(dead[0]), self.proxies.watch(dead[1])];
                }
                _ = watchdog.tick(), if allowed.is_some() => notify(&[NotifyState::Watchdog]),
                _ = signals.hangup.recv(), if own => reload(&self.engine, &self.policy),
                _ = signals.terminate.recv() => return Ended::Stop,
                _ = signals.interrupt.recv() => return Ended::Stop,
                Some(asking) = successors.recv(), if phase == Phase::Serving => return Ended::Asked(asking),
            }
        }
    }

    /// What is done at the start and once a minute; `own` says whether the state directory is this process's.
    fn keep_house(&self, own: bool) {
        if let Some(give_back) = self.give_back {
            give_back();
        }
        if own {
            let engine = Arc::clone(&self.engine);
            tokio::task::spawn_blocking(move || engine.save_records());
        }
    }

    /// What is done ten times a second. Returns whether there is nothing left to wait for.
    fn tick(&self, reverting: &mut Option<JoinHandle<()>>, phase: Phase) -> bool {
        self.engine.tick();
        match phase {
            Phase::Serving => revert(&self.engine, reverting),
            Phase::Draining(since) => {
                revert(&self.engine, reverting);
                return self.proxies.stop_drained(Some(since.elapsed()));
            }
            Phase::Followed => {
                if let Err(error) = self.engine.follow() {
                    tracing::error!(
                        "the policy of the daemon after this one cannot be followed, so the connections that \
                        are left here end now: {error}"
                    );
                    return true;
                }
                return self.proxies.stop_drained(None);
            }
        }
        false
    }
}

/// Brings the policy before back if that in force was not confirmed in time, beside everything else.
fn revert(engine: &Arc<Engine>, reverting: &mut Option<JoinHandle<()>>) {
    if !engine.is_overdue() || reverting.as_ref().is_some_and(|task| !task.is_finished()) {
        return;
    }
    let engine = Arc::clone(engine);
    *reverting = Some(tokio::spawn(async move {
        if let Err(error) = engine.revert_overdue().await {
            tracing::error!("the unconfirmed policy stays in force, and reverting is tried again\n{error}");
            tokio::time::sleep(LOOK).await;
        }
    }));
}

/// Publishes the configuration's policy files, beside everything else.
fn reload(engine: &Arc<Engine>, policy: &[PathBuf]) {
    if policy.is_empty() {
        tracing::warn!("SIGHUP: the configuration names no policy files");
        return;
    }
    let (engine, policy) = (Arc::clone(engine), policy.to_vec());
    tokio::spawn(async move {
        let files = tokio::task::spawn_blocking(move || config_files(&policy)).await;
        let published = match files {
            Ok(Ok(files)) => engine.publish(files, config_author("SIGHUP"), Terms::default()).await,
            Ok(Err(refusal)) => Err(refusal.into()),
            // Only a stop can interrupt the reading.
            Err(_) => return,
        };
        if let Err(error) = published {
            tracing::error!("SIGHUP: the policy was not replaced\n{error}");
        }
    });
}

/// The signals that mean something to a daemon.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}
