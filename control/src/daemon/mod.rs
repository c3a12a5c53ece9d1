//! The daemon: from its configuration to a running process, and back.
//!
//! The main thread is the control thread: a tokio `current_thread` runtime with the socket, the signals, the
//! watchdog and the regular work of the [`Engine`]. The order of the start is what makes it safe: lock the state
//! directory, put the last good policy in force, only then open the ports and start the proxies, only then answer on
//! the socket and tell systemd. The stop goes backwards: proxies accept no more and let their connections finish for a
//! while, under whatever policy is published meanwhile; then the rest.

mod activation;
mod handover;
mod health;
mod inherited;
mod life;
mod proxies;
mod wires;
mod work;

use std::fmt;
use std::time::Instant;

use dataplane::proxy::ProxyError;
use sd_notify::NotifyState;

use crate::config::Config;
use crate::engine::{Engine, Parts, StartError, Wake};
use crate::observe::export::{ExportError, Exporters};
use crate::socket::SocketError;
use crate::store::{Store, StoreError};
pub(crate) use handover::PROTOCOL as HANDOVER;
use handover::Predecessor;
pub use handover::TakeOverError;
use inherited::Inherited;
use life::{Life, Server};
pub use proxies::Proxies;
pub use wires::{WireFault, Wires};
pub(crate) use work::Asking;
use work::{Phase, Signals, Work};

/// How the daemon is started, beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Publish the configuration's policy files even if another policy was published since.
    pub policy_from_config: bool,
    /// Take the place of the daemon that listens on the configuration's socket, if one does.
    pub take_over: bool,
    /// Gives memory that is not needed any more back to the kernel: called on the control thread once the daemon is ready,
    /// which takes tens of MB for a moment, and every minute.
    pub give_back: Option<fn()>,
}

/// Why the daemon did not start, or did not stop cleanly.
#[derive(Debug)]
pub enum DaemonError {
    /// The runtime or its signal handlers could not be made.
    Runtime(std::io::Error),
    /// The daemon before this one.
    TakeOver(TakeOverError),
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
    /// An exporter.
    Export(ExportError),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::TakeOver(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Start(error) => write!(f, "no policy to start with\n{error}"),
            Self::Wire(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::Export(error) => error.fmt(f),
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
    // 0. The listeners of the daemon before this one, which goes on accepting until this one does.
    let mut inherited = Inherited::from_service_manager();
    let predecessor = match options.take_over {
        true => take_over(&config, &mut inherited).await.map_err(DaemonError::TakeOver)?,
        false => None,
    };
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
    // What flows do is told to the exporters from the first packet on.
    let exporters = Exporters::start(&config.export, &engine.all_names()).map_err(DaemonError::Export)?;
    engine.export_to(exporters);
    // 3. The ports, and the proxies' listeners.
    wires.open(engine.publisher(), config.pickup).map_err(DaemonError::Wire)?;
    if let Err(error) = proxies.start(engine.publisher(), wires.flows().as_ref(), &mut inherited) {
        wires.close();
        return Err(DaemonError::Proxy(error));
    }
    inherited.close();
    // 4. The socket: who can ask gets an answer about wires that work.
    let policy = config.policy.clone();
    let work = Work { engine, wires, proxies, policy, give_back: options.give_back };
    let (server, mut successors) = match Server::open(&config, &work, started) {
        Ok(open) => open,
        Err(error) => {
            work.proxies.stop();
            work.wires.close();
            return Err(DaemonError::Socket(error));
        }
    };
    let checks = health::watch(work.proxies.checked());
    tracing::info!(socket = %config.socket.path.display(), wires = config.wires.len(), proxies = config.proxies.len(),
        "ready");
    notify(&[NotifyState::Ready]);
    if let Some(predecessor) = predecessor {
        predecessor.serving();
    }

    let mut life = Life { config: &config, work: &work, server: Some(server), started, turn: None };
    let phase = life.serve(&mut signals, &mut successors).await;

    // Stopping: no new connections, then no new requests, then no more frames. The policy stays on disk.
    notify(&[NotifyState::Stopping]);
    drop(checks);
    work.proxies.drain(phase == Phase::Followed);
    work.attend(&mut signals, &mut successors, phase).await;
    work.proxies.stop();
    life.close_socket().await;
    if phase != Phase::Followed {
        work.wires.close();
        work.engine.save_records();
    }
    work.engine.close_exporters();
    Ok(())
}

/// Asks the daemon that runs for its listeners, and has it let go of the rest.
async fn take_over(config: &Config, inherited: &mut Inherited) -> Result<Option<Predecessor>, TakeOverError> {
    let path = config.socket.path.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let Some((mut predecessor, listeners)) = Predecessor::ask(&path)? else { return Ok(None) };
        predecessor.release()?;
        Ok(Some((predecessor, listeners)))
    });
    // Only a stop can interrupt the asking.
    let Some((predecessor, listeners)) = asked.await.unwrap_or(Ok(None))? else {
        tracing::info!("no daemon runs here, so there is none to take over from");
        return Ok(None);
    };
    tracing::info!(listeners = listeners.len(), "taking over");
    inherited.add(listeners, false);
    Ok(Some(predecessor))
}

/// What makes all workers look at the policy.
fn wake(wires: &Wires, proxies: &Proxies) -> Wake {
    let (wires, proxies) = (wires.clone(), proxies.clone());
    Box::new(move || {
        wires.wake();
        proxies.wake();
    })
}

/// Tells systemd, if it listens.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
