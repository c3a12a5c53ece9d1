//! Captures: one at a time, begun and ended here.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use dataplane::address::Address;
use dataplane::verdict::{Epoch, RuleId};

use super::{Engine, InForce, lock};
use crate::observe::capture::{Port, Request, RequestError, Session, Wording};
use crate::observe::names::Who;

/// Why there is no capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// The request makes no sense.
    Request(RequestError),
    /// There is no wire to capture on.
    NoWire,
    /// Another one runs.
    Busy,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(RequestError(message)) => f.write_str(message),
            Self::NoWire => f.write_str("there is no wire to capture on: the configuration names none"),
            Self::Busy => {
                f.write_str("another capture runs: wait for its end, or end it (DELETE /v1/capture)")
            }
        }
    }
}

impl std::error::Error for CaptureError {}

/// The capture that runs, if one does: set it to end it.
pub(super) type Running = Mutex<Option<Arc<AtomicBool>>>;

/// A capture that runs. Ends when this is dropped.
pub struct Capture {
    engine: Arc<Engine>,
    session: Option<Session>,
    ended: Arc<AtomicBool>,
}

impl Engine {
    /// Begins a capture; the head of its file is in `out`. `ports` are those of the wires, inside first.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn capture(
        self: &Arc<Self>,
        request: &Request,
        ports: Vec<[Port; 2]>,
        out: &mut Vec<u8>,
    ) -> Result<Capture, CaptureError> {
        let now = self.in_force();
        let plan = request.check(now.as_deref(), &self.wires).map_err(CaptureError::Request)?;
        // Proxies have no frames.
        let workers: Vec<_> =
            self.workers.iter().filter(|worker| usize::from(worker.wire.0) < ports.len()).cloned().collect();
        if workers.is_empty() {
            return Err(CaptureError::NoWire);
        }
        let ended = Arc::new(AtomicBool::new(false));
        {
            let mut running = lock(&self.capturing);
            if running.is_some() {
                return Err(CaptureError::Busy);
            }
            *running = Some(Arc::clone(&ended));
        }
        let session = Session::begin(plan.filter, plan.rule, plan.limits, &workers, ports, out);
        Ok(Capture { engine: Arc::clone(self), session: Some(session), ended })
    }

    /// Has the capture that runs end soon, its file whole; whether there is one.
    pub fn end_capture(&self) -> bool {
        let running = lock(&self.capturing);
        if let Some(ended) = &*running {
            ended.store(true, Ordering::Relaxed);
        }
        running.is_some()
    }
}

impl Capture {
    /// Appends what was copied since; whether the capture goes on.
    pub fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        let words = Words::now(&self.engine);
        let Some(session) = &mut self.session else { return false };
        session.go_on(&words, out) && !self.ended.load(Ordering::Relaxed)
    }

    /// Appends the counts as they are, so that somebody who reads along knows of losses.
    pub fn statistics(&self, out: &mut Vec<u8>) {
        if let Some(session) = &self.session {
            session.statistics(false, out);
        }
    }

    /// Ends it: appends what is left, and the final counts.
    pub fn end(mut self, out: &mut Vec<u8>) {
        if let Some(session) = self.session.take() {
            session.end(&Words::now(&self.engine), out);
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Before somebody else may begin.
        self.session = None;
        *lock(&self.engine.capturing) = None;
    }
}

/// Rule names of the epoch that a frame was decided under, names and labels of ends as they are now.
struct Words<'a> {
    engine: &'a Engine,
    in_force: Option<Arc<InForce>>,
    ends: Mutex<HashMap<Address, String>>,
}

impl<'a> Words<'a> {
    fn now(engine: &'a Engine) -> Self {
        Self { engine, in_force: engine.in_force(), ends: Mutex::default() }
    }

    fn name(&self, address: Address) -> String {
        let Some(now) = &self.in_force else { return address.to_ip().to_string() };
        let (table, policy) = (&now.snapshot.table, &now.policy);
        match now.names.who(address, table, policy) {
            Who::Workload(name) => format!("{name}{{{}}}", now.names.in_labels(address, table, policy)),
            Who::Network(name) => format!("{name}{{network}}"),
            Who::Unknown => address.to_ip().to_string(),
        }
    }
}

impl Wording for Words<'_> {
    fn rule(&self, epoch: Epoch, rule: RuleId) -> String {
        self.engine.rule_name(epoch, rule).unwrap_or_else(|| format!("(a rule of epoch {})", epoch.0))
    }

    fn end(&self, address: Address) -> String {
        lock(&self.ends).entry(address).or_insert_with(|| self.name(address)).clone()
    }

    fn find(&self, rule: &str) -> Option<(Epoch, RuleId)> {
        let now = self.in_force.as_ref()?;
        let (id, _) = (0u32..).zip(now.rules.iter()).find(|(_, info)| *info.name == *rule)?;
        Some((now.snapshot.epoch, RuleId(id)))
    }
}

#[cfg(test)]
mod tests;
