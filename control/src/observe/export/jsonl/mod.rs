//! JSON lines: every flow event as one object in a file that is rotated.

mod file;
mod line;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::Counts;
use super::thread::{Exporter, Sink};
use super::told::Event;
use super::{ExportError, SceneCell, Settings};
use file::LineFile;
use line::Line;

/// Bytes of lines that are written in one go.
const CHUNK: usize = 64 << 10;
/// How often it is looked whether the file is still where it was.
const LOOK: Duration = Duration::from_secs(1);

/// Which file, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Bytes after which the next one begins.
    pub rotate_bytes: u64,
    /// How many of those before it are kept, 0 to 1,000.
    pub keep: u32,
    /// What every exporter is told.
    pub settings: Settings,
}

/// Starts the exporter.
pub(super) fn start(config: &Config, words: (SceneCell, Arc<[String]>)) -> Result<Exporter, ExportError> {
    let file = LineFile::open(&config.path, config.rotate_bytes, config.keep)
        .map_err(|error| ExportError::File(config.path.clone(), error))?;
    let counts = Arc::new(Counts::default());
    let writer =
        Writer { file, lines: Vec::new(), events: 0, counts: Arc::clone(&counts), looked: Instant::now() };
    let target = config.path.display().to_string();
    Exporter::start(("jsonl", target), &config.settings, words, counts, writer)
        .map_err(|error| ExportError::Thread("jsonl", error))
}

/// What runs on the exporter's thread.
struct Writer {
    file: LineFile,
    /// Lines that are not written yet, and how many there are.
    lines: Vec<u8>,
    events: u64,
    counts: Arc<Counts>,
    looked: Instant,
}

impl Sink for Writer {
    fn take(&mut self, event: &Event<'_>) {
        let whole = self.lines.len();
        match serde_json::to_writer(&mut self.lines, &Line::new(event)) {
            Ok(()) => {
                self.lines.push(b'\n');
                self.events += 1;
            }
            // Nothing in a line can fail to be written as JSON into memory; were it so, it would be counted.
            Err(error) => {
                self.lines.truncate(whole);
                self.counts.failed(1);
                self.trouble(&error.into());
            }
        }
        if self.lines.len() >= CHUNK {
            self.write();
        }
    }

    fn flush(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.file.look();
        }
        self.write();
    }

    fn close(&mut self) {
        self.write();
    }
}

impl Writer {
    fn write(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.events);
        match self.file.append(&self.lines) {
            Ok(()) => {
                self.counts.sent(events, self.lines.len());
                if self.counts.trouble(None) {
                    tracing::info!("JSON lines are written again");
                }
            }
            Err(error) => {
                self.counts.failed(events);
                self.trouble(&error);
            }
        }
        self.lines.clear();
    }

    fn trouble(&self, error: &io::Error) {
        if self.counts.trouble(Some(error.to_string())) {
            tracing::warn!(%error, "JSON lines cannot be written; what is not written is counted");
        }
    }
}
