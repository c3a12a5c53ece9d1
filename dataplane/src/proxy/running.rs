//! A proxy worker's thread, seen from the control thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use super::config::ProxyConfig;
use super::control::{BackendHealth, Control, Wanted};
use super::counters::ProxyCounters;
use super::engine::Engine;
use super::error::ProxyProblem;
use super::{ProxyParts, ProxyWorkerStatus};
use crate::cores;

/// A running worker. Dropping it stops the thread.
pub(super) struct Running {
    core: u32,
    control: Control,
    counters: Arc<ProxyCounters>,
    refuses_early: Result<bool, String>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the thread, pinned, with its own handles of the listeners. Returns when it can accept.
    pub(super) fn start(
        config: &ProxyConfig,
        number: u32,
        listeners: Vec<OwnedFd>,
        health: BackendHealth,
        parts: ProxyParts,
    ) -> Result<Self, ProxyProblem> {
        let core = cores::choose(&config.cores, config.wire, number);
        let control = Control::new().map_err(ProxyProblem::Thread)?;
        let counters = Arc::clone(&parts.proxy);
        let (tell, told) = sync_channel(1);
        let (config, own) = (config.clone(), control.clone());
        let name = format!("{}/{number}", config.name);
        let body = move || {
            // A ring belongs to the thread that makes it.
            let engine = cores::pin(core)
                .map_err(|error| ProxyProblem::Core(core, error))
                .and_then(|()| Engine::new(&config, listeners, own, health, parts));
            match engine {
                Ok(mut engine) => {
                    if tell.send(Ok(engine.refuses_early())).is_ok() {
                        engine.run();
                    }
                }
                Err(problem) => drop(tell.send(Err(problem))),
            }
        };
        let thread = thread::Builder::new().name(name).spawn(body).map_err(ProxyProblem::Thread)?;
        let mut running = Self { core, control, counters, refuses_early: Ok(false), thread: Some(thread) };
        match told.recv() {
            Ok(Ok(refuses_early)) => {
                running.refuses_early = refuses_early;
                Ok(running)
            }
            Ok(Err(problem)) => Err(problem),
            Err(_) => Err(ProxyProblem::Thread(io::Error::other("the thread ended before it began"))),
        }
    }

    pub(super) fn status(&self) -> ProxyWorkerStatus {
        ProxyWorkerStatus {
            core: self.core,
            alive: !self.is_finished(),
            counters: Arc::clone(&self.counters),
            refuses_early: self.refuses_early.clone(),
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(super) fn control(&self) -> &Control {
        &self.control
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.want(Wanted::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the worker was already printed by its own thread.
            let _ = thread.join();
        }
    }
}
