//! The thread of one exporter, and the bounded queue between it and the control thread.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::counts::{Counts, ExporterView};
use super::told::{Event, OCCASIONS, Told, occasion_name};
use super::{SceneCell, Settings};

/// How long an event may wait for company before it is sent.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long it may go on sending what waits when the daemon stops. One attempt that is under way may last longer.
const FAREWELL: Duration = Duration::from_secs(2);
/// Events that are given their names under one look at the inventory.
const BATCH: usize = 1024;

/// Where events go. All of it runs on the exporter's thread, and may block for a bounded time.
pub(super) trait Sink: Send {
    /// Takes one event; it may be kept until [`Sink::flush`].
    fn take(&mut self, event: &Event<'_>);
    /// Sends what was kept, and does what is to be done regularly. Called at least every [`PATIENCE`].
    fn flush(&mut self);
    /// The last call: sends what was kept, and says goodbye.
    fn close(&mut self);
}

/// One exporter as the control thread sees it.
#[derive(Debug)]
pub(super) struct Exporter {
    name: &'static str,
    target: String,
    wanted: [bool; OCCASIONS.len()],
    counts: Arc<Counts>,
    queue: Option<SyncSender<Told>>,
    thread: Option<JoinHandle<()>>,
    /// When it is to stop trying.
    end: Arc<OnceLock<Instant>>,
}

impl Exporter {
    /// Starts its thread.
    ///
    /// # Errors
    /// If the system has no room for another thread.
    pub(super) fn start(
        (name, target): (&'static str, String),
        settings: &Settings,
        (scene, wires): (SceneCell, Arc<[String]>),
        counts: Arc<Counts>,
        sink: impl Sink + 'static,
    ) -> io::Result<Self> {
        let (queue, events) = sync_channel(settings.queue);
        let end = Arc::<OnceLock<Instant>>::default();
        let work = Work { events, scene, wires, counts: Arc::clone(&counts), end: Arc::clone(&end), sink };
        let thread = std::thread::Builder::new().name(format!("export-{name}")).spawn(move || work.run())?;
        let wanted = std::array::from_fn(|at| settings.events.iter().any(|event| *event == OCCASIONS[at]));
        Ok(Self { name, target, wanted, counts, queue: Some(queue), thread: Some(thread), end })
    }

    /// Gives it an event, if it wants such; never waits.
    pub(super) fn offer(&self, told: &Told) {
        let name = occasion_name(told.event.occasion);
        let wanted = OCCASIONS.iter().zip(self.wanted).any(|(occasion, wanted)| wanted && *occasion == name);
        let Some(queue) = self.queue.as_ref().filter(|_| wanted) else { return };
        match queue.try_send(told.clone()) {
            Ok(()) => self.counts.queued(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.counts.turned_away(),
        }
    }

    /// How it is.
    pub(super) fn view(&self) -> ExporterView {
        self.counts.view(self.name, &self.target)
    }

    /// Lets it send what it has, for [`FAREWELL`] at most, and waits for its end.
    pub(super) fn close(&mut self) {
        // A second call finds nothing to do.
        let _ = self.end.set(Instant::now() + FAREWELL);
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(exporter = self.name, "the exporter ended early; report what is above this line");
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread works with.
struct Work<S> {
    events: Receiver<Told>,
    scene: SceneCell,
    wires: Arc<[String]>,
    counts: Arc<Counts>,
    end: Arc<OnceLock<Instant>>,
    sink: S,
}

impl<S: Sink> Work<S> {
    fn run(mut self) {
        let mut flushed = Instant::now();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(_) if self.end.get().is_some_and(|end| *end < Instant::now()) => self.counts.failed(1),
                Ok(first) => self.batch(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sink.close(),
            }
            if flushed.elapsed() >= PATIENCE {
                self.sink.flush();
                flushed = Instant::now();
            }
        }
    }

    /// Gives the sink an event, and those that wait behind it, under one look at the inventory.
    fn batch(&mut self, first: Told) {
        let now = self.scene.get();
        let rest = std::iter::from_fn(|| self.events.try_recv().ok());
        for told in std::iter::once(first).chain(rest).take(BATCH) {
            self.sink.take(&Event::new(&told, now.as_deref(), &self.wires));
        }
    }
}
