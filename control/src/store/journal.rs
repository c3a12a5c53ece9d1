//! What changed beside the published policies, as one line for each change.
//!
//! ```text
//! <64 hex digits: BLAKE3 of the entry> <entry: JSON>\n
//! ```
//!
//! A journal belongs to one record and tells what happened while that was the newest. Only its first lines count, up
//! to the first whose hash does not hold: a write that did not finish is as if it had not begun, and is cut off
//! before the next one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{checked, push_line};
use super::{Store, StoreError, io_error};

/// The longest journal, bytes; a longer one is not read further.
const JOURNAL_MAX: u64 = 256 << 20;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch that the change brought; for what brings none, the epoch in force.
    pub epoch: u32,
    /// When.
    pub at: jiff::Timestamp,
    /// The user id of who asked.
    pub uid: u32,
    /// What.
    pub event: Event,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The record's policy, which would have been reverted, stays.
    Confirmed,
    /// A draft was staged under this name.
    Staged(String),
    /// The draft of this name was dropped.
    Dropped(String),
    /// A workload is as written here, whatever the policy's files say.
    WorkloadPut {
        /// Its name.
        name: String,
        /// In the policy language.
        workload: serde_json::Value,
    },
    /// A workload is gone, whatever the policy's files say.
    WorkloadRemoved(String),
}

/// What could be read of a journal, and how many bytes that is.
fn read(path: &Path) -> Result<(Vec<Entry>, u64), StoreError> {
    let text = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > JOURNAL_MAX => {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                what: "it is longer than a journal may be",
            });
        }
        Ok(_) => fs::read(path).map_err(io_error("read", path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(io_error("examine", path)(error)),
    };
    let (mut entries, mut good) = (Vec::new(), 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let json = line.strip_suffix(b"\n").and_then(checked);
        let Some(entry) = json.and_then(|json| serde_json::from_slice(json).ok()) else { break };
        entries.push(entry);
        good += line.len() as u64;
    }
    Ok((entries, good))
}

/// The journal that is written to.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Bytes that count.
    len: u64,
    /// The highest epoch in it.
    epoch: u32,
    /// The state of the file beyond `len` is not known: it is cut off before the next write.
    dirty: bool,
}

impl Journal {
    /// Opens the journal at `path`, which need not exist yet.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let (entries, len) = read(&path)?;
        let epoch = entries.iter().map(|entry| entry.epoch).max().unwrap_or(0);
        Ok(Self { path, len, epoch, dirty: true })
    }

    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Writes one entry; when this returns, it is durable. If it fails, it is as if it had not been tried.
    fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut line = Vec::new();
        push_line(&mut line, &serde_json::to_vec(entry).unwrap_or_default());
        let is_new = self.len == 0;
        let mut file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(io_error("open", &self.path))?;
        if self.dirty {
            file.set_len(self.len).map_err(io_error("cut", &self.path))?;
        }
        self.dirty = true;
        file.write_all(&line).map_err(io_error("write", &self.path))?;
        file.sync_data().map_err(io_error("fsync", &self.path))?;
        if is_new && let Some(folder) = self.path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("fsync", folder))?;
        }
        self.dirty = false;
        self.len += line.len() as u64;
        self.epoch = self.epoch.max(entry.epoch);
        Ok(())
    }
}

impl Store {
    /// Adds an entry to the journal of the newest record; when this returns, it is durable.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing changed then.
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.journal.append(entry)
    }

    /// The journal of the record of `epoch`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Damaged`].
    pub fn journal(&self, epoch: u32) -> Result<Vec<Entry>, StoreError> {
        read(&self.journal_path(epoch)).map(|(entries, _)| entries)
    }

    /// Bytes in the journal of the newest record.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.journal.len()
    }

    pub(super) fn journal_path(&self, epoch: u32) -> PathBuf {
        self.path(epoch).with_extension("journal")
    }
}
