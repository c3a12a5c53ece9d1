//! The daemon: from its configuration to a running process, and back.
//!
//! The main thread is the control thread: a tokio `current_thread` runtime with the socket, the signals, the
//! watchdog and the regular work of the [`Engine`]. The order of the start is what makes it safe: lock the state
//! directory, put the last good policy in force, only then open the ports, only then answer on the socket and tell
//! systemd. The stop goes backwards.

mod wires;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::engine::{Engine, Parts, StartError, Terms, config_author, config_files};
use crate::socket::access::Access;
use crate::socket::{Listener, Shared, SocketError, router};
use crate::store::{Store, StoreError};
pub use wires::{WireFault, Wires};

/// How often the regular work is done.
const TICK: Duration = Duration::from_millis(100);
/// How often the flow records are saved: what a crash loses of them.
const SAVE: Duration = Duration::from_secs(60);
/// How often it is looked whether all workers live.
const LOOK: Duration = Duration::from_secs(5);
/// How often the watchdog is told that the control thread lives, if systemd asks for it: at most this, and never
/// less than twice in the time it allows.
const WATCHDOG: Duration = Duration::from_secs(10);

/// How the daemon is started, beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Publish the configuration's policy files even if another policy was published since.
    pub policy_from_config: bool,
}

/// Why the daemon did not start, or did not stop cleanly.
#[derive(Debug)]
pub enum DaemonError {
    /// The runtime or its signal handlers could not be made.
    Runtime(std::io::Error),
    /// The state directory.
    Store(StoreError),
    /// The first policy.
    Start(StartError),
    /// A wire.
    Wire(WireFault),
    /// The socket.
    Socket(SocketError),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::Start(error) => write!(f, "no policy to start with\n{error}"),
            Self::Wire(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DaemonError {}

/// Runs until SIGTERM or SIGINT; SIGHUP publishes the configuration's policy files.
///
/// # Errors
/// [`DaemonError`]; nothing is left behind then but the state directory.
pub fn run(config: Config, options: Options) -> Result<(), DaemonError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Runtime)?;
    let outcome = runtime.block_on(serve(config, options));
    // A compilation that is still running on the helper thread must not hold up the stop.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: Config, options: Options) -> Result<(), DaemonError> {
    let started = Instant::now();
    // Before anything else, so that an early SIGTERM is not lost.
    let mut signals = Signals::new().map_err(DaemonError::Runtime)?;
    let (store, damage) = Store::open(&config.state_dir, config.history).map_err(DaemonError::Store)?;
    for fault in &damage {
        tracing::error!("{fault}");
    }
    // 1. Count the workers that there will be, and share what they and the engine share.
    let wires = Wires::plan(&config).map_err(DaemonError::Wire)?;
    let parts = Parts {
        workers: wires.workers(),
        wires: config.wires.iter().map(|wire| wire.name.clone()).collect(),
        store,
        flows: wires.flows(),
        timeout: config.publish_timeout,
        wake: wires.wake(),
    };
    // 2. A policy is in force before any port is open.
    let engine =
        Engine::start(parts, &config.policy, options.policy_from_config).map_err(DaemonError::Start)?;
    // 3. The ports.
    wires.open(engine.publisher(), config.pickup).map_err(DaemonError::Wire)?;
    // 4. The socket: who can ask gets an answer about wires that work.
    let listener = match Listener::bind(&config.socket) {
        Ok(listener) => listener,
        Err(error) => {
            wires.close();
            return Err(DaemonError::Socket(error));
        }
    };
    let shared = shared(&config, &engine, &wires, started);
    let server = tokio::spawn(listener.serve(router(shared), config.socket.clone()));
    tracing::info!(socket = %config.socket.path.display(), wires = config.wires.len(), "ready");
    notify(&[NotifyState::Ready]);

    attend(&engine, &wires, &config.policy, &mut signals).await;

    // Stopping: no new requests, then no more frames. The policy stays on disk.
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping]);
    server.abort();
    // Waiting for the abort drops the listener, and with it the socket's file.
    let _ = server.await;
    wires.close();
    engine.save_records();
    Ok(())
}

fn shared(config: &Config, engine: &Arc<Engine>, wires: &Wires, started: Instant) -> Arc<Shared> {
    Arc::new(Shared {
        engine: Arc::clone(engine),
        wires: wires.clone(),
        access: Access {
            read: config.read.clone(),
            change: config.change.clone(),
            own_uid: rustix::process::geteuid().as_raw(),
        },
        body_bytes: config.socket.body_bytes,
        timeout: config.socket.timeout,
        started,
        bodies: Shared::bodies(),
    })
}

/// The regular work, until a signal ends it.
async fn attend(engine: &Arc<Engine>, wires: &Wires, policy: &[PathBuf], signals: &mut Signals) {
    let mut reverting = None;
    let (mut look, mut dead) = (interval(LOOK), 0);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut save = interval(SAVE);
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let allowed = sd_notify::watchdog_enabled();
    let mut watchdog = interval(allowed.map_or(WATCHDOG, |allowed| WATCHDOG.min(allowed / 2)));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                engine.tick();
                revert(engine, &mut reverting);
            }
            _ = save.tick() => {
                let engine = Arc::clone(engine);
                tokio::task::spawn_blocking(move || engine.save_records());
            }
            _ = look.tick() => dead = wires.watch(dead),
            _ = watchdog.tick(), if allowed.is_some() => notify(&[NotifyState::Watchdog]),
            _ = signals.hangup.recv() => reload(engine, policy),
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
        }
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

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Tells systemd, if it listens.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
