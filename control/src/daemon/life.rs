//! A daemon's socket, and its life from when it serves until it stops or another process has taken its place.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{MutexGuard, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::handover::Successor;
use super::work::{Asking, Ended, Phase, Signals, TICK, Work};
use crate::config::Config;
use crate::socket::access::Access;
use crate::socket::{Listener, Loopback, Sessions, Shared, SocketError, router};
use crate::store::Store;

/// How long a successor may take from one word to the next: it compiles a policy and opens wires meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tasks that answer on the socket, and on the loopback address if there is one.
pub(super) struct Server(Vec<JoinHandle<()>>);

impl Server {
    /// Opens the socket. With it comes what asks to take over.
    pub(super) fn open(
        config: &Config,
        work: &Work,
        started: Instant,
    ) -> Result<(Self, mpsc::Receiver<Asking>), SocketError> {
        let listener = Listener::bind(&config.socket)?;
        let loopback = config.http.as_ref().map(Loopback::bind).transpose()?;
        let sessions = Sessions::open(config, loopback.as_ref().map(Loopback::address))?;
        let (sender, successors) = mpsc::channel(1);
        let shared = Shared {
            engine: Arc::clone(&work.engine),
            wires: work.wires.clone(),
            proxies: work.proxies.clone(),
            access: Access {
                read: config.read.clone(),
                change: config.change.clone(),
                own_uid: rustix::process::geteuid().as_raw(),
            },
            sessions,
            body_bytes: config.socket.body_bytes,
            connections: config.socket.connections,
            timeout: config.socket.timeout,
            started,
            bodies: Shared::bodies(),
            successors: sender,
            successor: Arc::new(Semaphore::new(1)),
        };
        let router = router(Arc::new(shared));
        let mut tasks = vec![tokio::spawn(listener.serve(router.clone(), config.socket.clone()))];
        tasks.extend(loopback.map(|loopback| tokio::spawn(loopback.serve(router, config.socket.clone()))));
        Ok((Self(tasks), successors))
    }

    /// Closes the socket; its file is gone when this returns.
    async fn close(self) {
        for task in self.0 {
            task.abort();
            // Waiting for the abort drops the listener, and with it the socket's file.
            let _ = task.await;
        }
    }
}

/// What can be given to a successor, and taken back.
pub(super) struct Life<'a> {
    pub(super) config: &'a Config,
    pub(super) work: &'a Work,
    pub(super) server: Option<Server>,
    pub(super) started: Instant,
    /// Kept once another process may have the state directory: requests that are still under way publish nothing.
    pub(super) turn: Option<MutexGuard<'a, ()>>,
}

impl Life<'_> {
    /// Serves until a signal or a successor ends it; returns how it goes on from there.
    pub(super) async fn serve(
        &mut self,
        signals: &mut Signals,
        successors: &mut mpsc::Receiver<Asking>,
    ) -> Phase {
        loop {
            let (stream, _place) = match self.work.attend(signals, successors, Phase::Serving).await {
                Ended::Stop => {
                    tracing::info!("stopping");
                    return Phase::Draining(Instant::now());
                }
                Ended::Asked(asking) => asking,
            };
            match self.hand_over(Successor::new(stream)).await {
                Ok(()) => {
                    tracing::info!(
                        "another process has taken over; the connections that are left go on until they end"
                    );
                    return Phase::Followed;
                }
                Err(error) => tracing::error!(%error, "a process that wanted to take over did not"),
            }
            if let Some(phase) = self.take_back(successors) {
                return phase;
            }
        }
    }

    pub(super) async fn close_socket(&mut self) {
        if let Some(server) = self.server.take() {
            server.close().await;
        }
    }

    /// Hands over, with the regular work going on.
    async fn hand_over(&mut self, successor: Successor) -> io::Result<()> {
        let (work, mut tick) = (self.work, interval(TICK));
        let handing = self.steps(successor);
        tokio::pin!(handing);
        loop {
            tokio::select! {
                done = &mut handing => return done,
                _ = tick.tick() => work.engine.tick(),
            }
        }
    }

    async fn steps(&mut self, mut successor: Successor) -> io::Result<()> {
        let Work { engine, wires, proxies, .. } = self.work;
        successor.send(&proxies.listeners()?).await?;
        successor.expect("release", PATIENCE).await?;
        self.turn = Some(engine.hold().await);
        engine.save_records();
        self.close_socket().await;
        wires.close();
        engine.release_store();
        successor.say("released").await?;
        successor.expect("serving", PATIENCE).await
    }

    /// After a successor that failed: takes back what was let go. If that cannot be had, says how to go on.
    fn take_back(&mut self, successors: &mut mpsc::Receiver<Asking>) -> Option<Phase> {
        if self.server.is_some() {
            return None;
        }
        let failed = |what: String| {
            tracing::error!("what was let go cannot be taken back, so this daemon stops: {what}");
            Some(Phase::Followed)
        };
        match Store::open(&self.config.state_dir, self.config.history) {
            Ok((store, _)) => self.work.engine.retake_store(store),
            Err(error) => return failed(error.to_string()),
        }
        let Work { engine, wires, .. } = self.work;
        if let Err(error) = wires.open(engine.publisher(), self.config.pickup) {
            return failed(error.to_string());
        }
        match Server::open(self.config, self.work, self.started) {
            Ok((server, asking)) => {
                (self.server, *successors) = (Some(server), asking);
                self.turn = None;
                None
            }
            Err(error) => failed(error.to_string()),
        }
    }
}
