//! One user of a prefix at a time.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::LabError;

/// Held while a lab with a fixed prefix exists. The kernel releases it with the process, however that ends.
#[derive(Debug)]
pub struct LabLock {
    _file: File,
}

impl LabLock {
    /// Takes the lock on the file at `path`, made if need be, without waiting.
    ///
    /// # Errors
    /// [`LabError::Locked`] if another process holds it, [`LabError::Lock`] if the file cannot be opened.
    pub fn acquire(path: &Path) -> Result<Self, LabError> {
        let failed = |error| LabError::Lock { path: path.display().to_string(), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Only for the message; an unreadable holder is shown as an empty one.
            let _ = file.read_to_string(&mut holder);
            return Err(LabError::Locked { path: path.display().to_string(), holder: holder.trim().into() });
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
