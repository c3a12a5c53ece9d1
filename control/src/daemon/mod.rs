//! The daemon: from its configuration to a running process, and back.
//!
//! The main thread is the control thread: a tokio `current_thread` runtime with the socket, the signals, the
//! watchdog and the regular work of the [`Engine`]. The order of the start is what makes it safe: lock the state
//! directory, put the last good policy in force, only then open the ports and start the proxies, only then answer on
//! the socket and tell systemd. The stop goes backwards: proxies accept no more and let their connections finish for a
//! while, under whatever policy is published meanwhile; then the rest.

mod activation;
mod health;
mod inherited;
mod proxies;
mod wires;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::proxy::ProxyError;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::engine::{Engine, Parts, StartError, Terms, Wake, config_author, config_files};
use crate::socket::access::Access;
use crate::socket::{Listener, Shared, SocketError, router};
use crate::store::{Store, StoreError};
use inherited::Inherited;
pub use proxies::Proxies;
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
    /// A proxy.
    Proxy(ProxyError),
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
            Self::Proxy(error) => error.fmt(f),
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
    let proxies = Proxies::plan(&config, wires.workers().len());
    let parts = Parts {
        workers: [wires.workers(), proxies.workers()].concat(),
        wires: config.wires.iter().map(|wire| wire.name.clone()).collect(),
        proxies: proxies.names(),
        store,
        flows: wires.flows(),
        timeout: config.publish_timeout,
        wake: wake(&wires, &proxies),
    };
    // 2. A policy is in force before any port is open.
    let engine =
        Engine::start(parts, &config.policy, options.policy_from_config).map_err(DaemonError::Start)?;
    // 3. The ports, and the proxies' listeners.
    let mut inherited = Inherited::from_service_manager();
    wires.open(engine.publisher(), config.pickup).map_err(DaemonError::Wire)?;
    if let Err(error) = proxies.start(engine.publisher(), wires.flows().as_ref(), &mut inherited) {
        wires.close();
        return Err(DaemonError::Proxy(error));
    }
    inherited.close();
    // 4. The socket: who can ask gets an answer about wires that work.
    let listener = match Listener::bind(&config.socket) {
        Ok(listener) => listener,
        Err(error) => {
            proxies.stop();
            wires.close();
            return Err(DaemonError::Socket(error));
        }
    };
    let shared = shared(&config, &engine, &wires, &proxies, started);
    let server = tokio::spawn(listener.serve(router(shared), config.socket.clone()));
    let checks = health::watch(proxies.checked());
    tracing::info!(socket = %config.socket.path.display(), wires = config.wires.len(), proxies = config.proxies.len(),
        "ready");
    notify(&[NotifyState::Ready]);

    let mut work = Work { engine: &engine, wires: &wires, proxies: &proxies, policy: &config.policy };
    work.attend(&mut signals, None).await;

    // Stopping: no new connections, then no new requests, then no more frames. The policy stays on disk.
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping]);
    drop(checks);
    proxies.drain(false);
    work.attend(&mut signals, Some(Instant::now())).await;
    proxies.stop();
    server.abort();
    // Waiting for the abort drops the listener, and with it the socket's file.
    let _ = server.await;
    wires.close();
    engine.save_records();
    Ok(())
}

/// What makes all workers look at the policy.
fn wake(wires: &Wires, proxies: &Proxies) -> Wake {
    let (wires, proxies) = (wires.clone(), proxies.clone());
    Box::new(move || {
        wires.wake();
        proxies.wake();
    })
}

fn shared(
    config: &Config,
    engine: &Arc<Engine>,
    wires: &Wires,
    proxies: &Proxies,
    started: Instant,
) -> Arc<Shared> {
    Arc::new(Shared {
        engine: Arc::clone(engine),
        wires: wires.clone(),
        proxies: proxies.clone(),
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

/// What the regular work is done on.
struct Work<'a> {
    engine: &'a Arc<Engine>,
    wires: &'a Wires,
    proxies: &'a Proxies,
    policy: &'a [PathBuf],
}

impl Work<'_> {
    /// The regular work, until a signal ends it; or until no proxy runs any more, if they drain since then.
    async fn attend(&mut self, signals: &mut Signals, draining: Option<Instant>) {
        let Self { engine, wires, proxies, policy } = self;
        let mut reverting = None;
        let (mut look, mut dead) = (interval(LOOK), [0, 0]);
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
                    if draining.is_some_and(|since| proxies.stop_drained(since.elapsed())) {
                        return;
                    }
                }
                _ = save.tick() => {
                    let engine = Arc::clone(engine);
                    tokio::task::spawn_blocking(move || engine.save_records());
                }
                _ = look.tick() => dead = [wires.watch(dead[0]), proxies.watch(dead[1])],
                _ = watchdog.tick(), if allowed.is_some() => notify(&[NotifyState::Watchdog]),
                _ = signals.hangup.recv() => reload(engine, policy),
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
            }
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
