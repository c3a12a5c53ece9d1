//! What survives the process: the last published policies, each in one file that proves itself.
//!
//! # Layout of the state directory
//!
//! ```text
//! <state_dir>/lock                       flock(2)ed while a daemon runs
//! <state_dir>/policies/0000000042.policy one published policy; the number is its epoch
//! <state_dir>/policies/0000000042.journal what changed beside it while it was the newest, see `journal`
//! <state_dir>/drafts/NAME.draft          a draft, in the form of a record
//! <state_dir>/*/*.new                    a write that did not finish; removed at the next start
//! <state_dir>/records/flows              the flow records, see [`WholeFile`]
//! <state_dir>/http.token                 what reads over the loopback address, a token of its own
//! ```
//!
//! A record is three lines: a version line, a header and the source files, the last two each
//! preceded by its BLAKE3 hash. There is no index and no "current" pointer: the last good policy is the record with
//! the highest epoch whose hashes hold. So one `rename(2)` is the whole commit, and a crash at any instruction
//! leaves either the old state or the new one. A record whose hashes do not hold is reported and passed over; it is
//! never a reason to panic or to start without a policy when an older good one exists.

mod drafts;
mod journal;
mod record;
#[cfg(test)]
mod tests;
mod token;
mod whole;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub use drafts::DraftMeta;
use journal::Journal;
pub use journal::{Entry, Event};
pub use record::{Confirm, Meta, Publication, Record, StoredFile, source_hash};
pub(crate) use token::{http_token, secret};
pub use whole::WholeFile;

/// How much history is kept. The two newest records are kept whatever their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most so many records, 2 to 10,000.
    pub records: usize,
    /// At most so many bytes in all records together.
    pub bytes: u64,
    /// A record longer than this is not read: bytes.
    pub record_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 100, bytes: 1 << 30, record_bytes: 512 << 20 }
    }
}

/// The state directory of one daemon.
#[derive(Debug)]
pub struct Store {
    policies: PathBuf,
    limits: Limits,
    entries: Vec<Kept>,
    /// Of the newest record.
    journal: Journal,
    /// None once it was let go.
    lock: Option<File>,
}

/// One file in `policies/`; `meta` is `None` if its header could not be read.
#[derive(Clone, Debug)]
struct Kept {
    epoch: u32,
    bytes: u64,
    meta: Option<Meta>,
}

/// Why the store could not do something.
#[derive(Debug)]
pub enum StoreError {
    /// A file operation failed.
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another daemon has this state directory.
    InUse(PathBuf),
    /// The record is not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: &'static str,
    },
    /// No such epoch in the history.
    NoRecord {
        /// The epoch asked for.
        epoch: u32,
        /// The oldest and the newest epoch there are, if any.
        range: Option<(u32, u32)>,
    },
    /// An epoch that is not above all others was to be saved.
    NotNewest {
        /// The epoch given.
        epoch: u32,
        /// The highest there is.
        newest: u32,
    },
    /// The policy is longer than a record may be, bytes.
    TooLong(u64),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, error } => write!(f, "cannot {what} {}: {error}", path.display()),
            Self::InUse(path) => write!(
                f,
                "{} is in use by another daemon; stop it, or give this one a state_dir of its own",
                path.display()
            ),
            Self::Damaged { path, what } => write!(f, "{} is damaged: {what}", path.display()),
            Self::NoRecord { epoch, range: None } => {
                write!(f, "there is no policy with epoch {epoch}: the history is empty")
            }
            Self::NoRecord { epoch, range: Some((first, last)) } => {
                write!(f, "there is no policy with epoch {epoch}: the history goes from {first} to {last}")
            }
            Self::NotNewest { epoch, newest } => {
                write!(f, "epoch {epoch} cannot be saved: epoch {newest} was saved before")
            }
            Self::TooLong(limit) => write!(f, "the policy is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for StoreError {}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |error| StoreError::Io { what, path: path.to_owned(), error }
}

impl Store {
    /// Opens the state directory, makes it if it is missing (mode 0700), takes its lock and reads the headers of
    /// the history. What is damaged comes back beside the store, for the log.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::InUse`].
    pub fn open(state_dir: &Path, limits: Limits) -> Result<(Self, Vec<StoreError>), StoreError> {
        let policies = state_dir.join("policies");
        make_dir(&policies)?;
        let lock_path = state_dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse(state_dir.to_owned())),
            Err(error) => return Err(io_error("lock", &lock_path)(error.into())),
        }
        let journal = Journal::open(policies.join("none.journal"))?;
        let mut store = Self { policies, limits, entries: Vec::new(), journal, lock: Some(lock) };
        let damage = store.scan()?;
        store.journal = Journal::open(store.journal_path(store.newest_record()))?;
        Ok((store, damage))
    }

    /// Lets go of the directory, for another process. Only reading is allowed from then on.
    pub fn release(&mut self) {
        self.lock = None;
    }

    /// Sees what another process has written since this one let go.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn look_again(&mut self) -> Result<(), StoreError> {
        self.entries.clear();
        self.scan()?;
        self.journal = Journal::open(self.journal_path(self.newest_record()))?;
        Ok(())
    }

    /// When a record was written or removed last, and how long the journal of the newest record is now.
    #[must_use]
    pub fn written(&self) -> Option<(std::time::SystemTime, u64)> {
        let at = fs::metadata(&self.policies).and_then(|folder| folder.modified()).ok()?;
        let journal = fs::metadata(self.journal_path(self.newest_record()));
        Some((at, journal.map_or(0, |journal| journal.len())))
    }

    /// The newest record, and the bytes of its journal: they change with everything that is published.
    #[must_use]
    pub fn newest(&self) -> (u32, u64) {
        (self.newest_record(), self.journal_bytes())
    }

    /// Reads the names and headers in `policies/`; its owner removes what an unfinished write left.
    fn scan(&mut self) -> Result<Vec<StoreError>, StoreError> {
        let mut damage = Vec::new();
        for item in fs::read_dir(&self.policies).map_err(io_error("list", &self.policies))? {
            let path = item.map_err(io_error("list", &self.policies))?.path();
            if path.extension().is_some_and(|e| e == "new") {
                if self.lock.is_none() {
                    continue;
                }
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                continue;
            }
            let Some(epoch) = epoch_of(&path) else { continue };
            let bytes = fs::metadata(&path).map_err(io_error("examine", &path))?.len();
            let meta = match File::open(&path).map_err(io_error("open", &path)).and_then(|file| {
                record::read_header(&mut io::BufReader::new(file))
                    .map_err(|what| StoreError::Damaged { path: path.clone(), what })
            }) {
                Ok(meta) if meta.epoch == epoch => Some(meta),
                Ok(_) => {
                    damage.push(StoreError::Damaged {
                        path,
                        what: "its name and its header name different epochs",
                    });
                    None
                }
                Err(error) => {
                    damage.push(error);
                    None
                }
            };
            self.entries.push(Kept { epoch, bytes, meta });
        }
        self.entries.sort_by_key(|e| e.epoch);
        Ok(damage)
    }

    /// What was published, oldest first; damaged records are left out.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Meta> {
        self.entries.iter().filter_map(|e| e.meta.as_ref())
    }

    /// The highest epoch ever seen here, damaged records and journals included; 0 if there is none.
    #[must_use]
    pub fn newest_epoch(&self) -> u32 {
        self.newest_record().max(self.journal.epoch())
    }

    /// The highest epoch of a record, damaged ones included; 0 if there is none.
    #[must_use]
    pub fn newest_record(&self) -> u32 {
        self.entries.last().map_or(0, |e| e.epoch)
    }

    /// Reads one policy back and checks all of it.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`], [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn load(&self, epoch: u32) -> Result<Record, StoreError> {
        if !self.history().any(|m| m.epoch == epoch) {
            let range = self.history().next().zip(self.history().next_back());
            return Err(StoreError::NoRecord { epoch, range: range.map(|(a, b)| (a.epoch, b.epoch)) });
        }
        let path = self.path(epoch);
        let (meta, files): (Meta, _) = record::decode(&self.read_text(&path)?)
            .map_err(|what| StoreError::Damaged { path: path.clone(), what })?;
        if source_hash(&files) != meta.source_hash {
            return Err(StoreError::Damaged { path, what: "its text is not that of its header" });
        }
        Ok(Record { meta, files })
    }

    /// The bytes of a record, if they are not too many.
    fn read_text(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let mut text = Vec::new();
        file.take(self.limits.record_bytes + 1).read_to_end(&mut text).map_err(io_error("read", path))?;
        if text.len() as u64 > self.limits.record_bytes {
            let what = "it is longer than a record may be";
            return Err(StoreError::Damaged { path: path.to_owned(), what });
        }
        Ok(text)
    }

    /// Saves a policy: when this returns, it is what the next start begins with, even after a power cut. Old
    /// records beyond the limits are removed afterwards; failing to remove one is no error.
    ///
    /// # Errors
    /// Any; nothing changed then, but for [`StoreError::Io`] on the directory's own fsync, after which the record
    /// may or may not survive a power cut.
    pub fn save(&mut self, meta: Meta, files: &[StoredFile]) -> Result<(), StoreError> {
        if meta.epoch <= self.newest_epoch() {
            return Err(StoreError::NotNewest { epoch: meta.epoch, newest: self.newest_epoch() });
        }
        let text = record::encode(&meta, files);
        if text.len() as u64 > self.limits.record_bytes {
            return Err(StoreError::TooLong(self.limits.record_bytes));
        }
        let path = self.path(meta.epoch);
        let new = path.with_extension("new");
        let written = write_synced(&new, &text).and_then(|()| {
            fs::rename(&new, &path).map_err(io_error("rename", &new))?;
            File::open(&self.policies).and_then(|d| d.sync_all()).map_err(io_error("fsync", &self.policies))
        });
        if let Err(error) = written {
            // The publish is refused, so the next start must not begin with it either.
            let _ = fs::remove_file(&new);
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let epoch = meta.epoch;
        self.entries.push(Kept { epoch, bytes: text.len() as u64, meta: Some(meta) });
        self.journal = Journal::open(self.journal_path(epoch))?;
        self.prune();
        Ok(())
    }

    fn prune(&mut self) {
        let mut bytes: u64 = self.entries.iter().map(|e| e.bytes).sum();
        let mut excess = 0;
        while self.entries.len() - excess > 2
            && (self.entries.len() - excess > self.limits.records || bytes > self.limits.bytes)
        {
            bytes -= self.entries[excess].bytes;
            excess += 1;
        }
        for entry in self.entries.drain(..excess).collect::<Vec<_>>() {
            let path = self.path(entry.epoch);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old policy record");
            }
            // It has one only if something happened beside it.
            let _ = fs::remove_file(self.journal_path(entry.epoch));
        }
    }

    fn path(&self, epoch: u32) -> PathBuf {
        self.policies.join(format!("{epoch:010}.policy"))
    }
}

fn epoch_of(path: &Path) -> Option<u32> {
    if path.extension()? != "policy" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("make directory", path))
}

fn write_synced(path: &Path, text: &[u8]) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("make", path))?;
    file.write_all(text).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("fsync", path))
}
