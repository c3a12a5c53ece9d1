//! Flow events on their way out of the process: as IPFIX to a collector, as JSON lines to a file.
//!
//! ```text
//! workers ═ bounded rings ═► control thread ═ bounded queue per exporter ═► its thread ─► network or disk
//! ```
//!
//! The control thread never waits for an exporter: a queue that is full loses events, counted. What could not be sent
//! or written is counted too, so for each exporter `offered = sent + lost + waiting`.

mod counts;
pub mod ipfix;
pub mod jsonl;
mod thread;
pub mod told;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dataplane::records::FlowEvent;
use dataplane::verdict::Epoch;
use jiff::Timestamp;

pub use counts::ExporterView;
use thread::Exporter;
use told::{Scene, Told};

/// Epochs whose policy hashes are still known.
const EPOCHS_MAX: usize = 10_000;

/// What every exporter is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Events that may wait, 1,024 to 1,048,576.
    pub queue: usize,
    /// Which kinds of event it gets: words of [`told::OCCASIONS`].
    pub events: Vec<&'static str>,
}

/// Which exporters there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// To an IPFIX collector.
    pub ipfix: Option<ipfix::Config>,
    /// To a file of JSON lines.
    pub jsonl: Option<jsonl::Config>,
}

/// Why an exporter did not start.
#[derive(Debug)]
pub enum ExportError {
    /// No socket for IPFIX.
    Socket(String, io::Error),
    /// The file of JSON lines cannot be opened.
    File(PathBuf, io::Error),
    /// No thread.
    Thread(&'static str, io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(target, error) => {
                write!(f, "no socket to export to `export.ipfix.collector` {target}: {error}")
            }
            Self::File(path, error) => {
                write!(f, "`export.jsonl.path` {} cannot be opened: {error}", path.display())
            }
            Self::Thread(name, error) => write!(f, "no thread for the exporter {name}: {error}"),
        }
    }
}

impl std::error::Error for ExportError {}

/// The inventory in force, for the exporters' threads.
#[derive(Clone, Debug, Default)]
struct SceneCell(Arc<Mutex<Option<Arc<Scene>>>>);

impl SceneCell {
    fn set(&self, scene: Scene) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(scene));
    }

    fn get(&self) -> Option<Arc<Scene>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All exporters.
#[derive(Debug, Default)]
pub struct Exporters {
    all: Vec<Exporter>,
    scene: SceneCell,
    /// The policy hash of each epoch, oldest first.
    hashes: VecDeque<(Epoch, Arc<str>)>,
}

/// An event's times and names, as the control thread finds them.
#[derive(Clone, Debug)]
pub struct Words {
    /// When it happened, when its flow began, and when its last packet was seen.
    pub times: [Timestamp; 3],
    /// The rule's name and tier.
    pub rule: [Arc<str>; 2],
    /// The rule that would have denied it.
    pub potential: Option<Arc<str>>,
}

impl Exporters {
    /// Starts those that `config` names; `wires` are the names of wires and proxies, by number.
    ///
    /// # Errors
    /// [`ExportError`]; those that were started are closed again.
    pub fn start(config: &Config, wires: &[String]) -> Result<Self, ExportError> {
        let mut exporters = Self::default();
        let words = || (exporters.scene.clone(), Arc::from(wires));
        let mut all = Vec::new();
        if let Some(config) = &config.ipfix {
            all.push(ipfix::start(config, words())?);
        }
        if let Some(config) = &config.jsonl {
            all.push(jsonl::start(config, words())?);
        }
        exporters.all = all;
        Ok(exporters)
    }

    /// Whether there are none, so that nobody needs to find words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Learns what is in force from now on.
    pub fn published(&mut self, epoch: Epoch, policy_hash: &str, scene: Scene) {
        if self.is_empty() {
            return;
        }
        if self.hashes.len() == EPOCHS_MAX {
            self.hashes.pop_front();
        }
        let hash = match self.hashes.back() {
            Some((_, hash)) if **hash == *policy_hash => Arc::clone(hash),
            _ => policy_hash.into(),
        };
        self.hashes.push_back((epoch, hash));
        self.scene.set(scene);
    }

    /// Gives every exporter an event. Never waits.
    pub fn tell(&self, event: &FlowEvent, words: Words) {
        let at = self.hashes.binary_search_by_key(&event.epoch, |(epoch, _)| *epoch);
        let policy_hash = at.map_or_else(|_| Arc::from(""), |at| Arc::clone(&self.hashes[at].1));
        let ([at, first_seen, last_seen], [rule, tier]) = (words.times, words.rule);
        let potential = words.potential;
        let told = Told { event: *event, at, first_seen, last_seen, rule, tier, potential, policy_hash };
        for exporter in &self.all {
            exporter.offer(&told);
        }
    }

    /// How they are.
    #[must_use]
    pub fn view(&self) -> Vec<ExporterView> {
        self.all.iter().map(Exporter::view).collect()
    }

    /// Takes them out to be closed, which waits until they sent what they had or a second passed for each.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests;
