//! A file that is replaced whole and proves itself: a version line, then a line with the BLAKE3 hash and the length of
//! the bytes that follow. `rename(2)` is the commit: a crash leaves the old file or the new one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Store, StoreError, io_error, make_dir, write_synced};

/// Longest file that is read, bytes.
const BYTES_MAX: u64 = 256 << 20;
const VERSION: &[u8] = b"ringfence-records 1\n";
/// The hash in hexadecimal and the end of its line.
const HASH_LINE: usize = 65;

/// One file of the state directory.
#[derive(Clone, Debug)]
pub struct WholeFile(PathBuf);

impl Store {
    /// The file of the flow records: `<state_dir>/records/flows`.
    #[must_use]
    pub fn flow_records(&self) -> WholeFile {
        WholeFile(self.policies.with_file_name("records").join("flows"))
    }
}

impl WholeFile {
    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What was saved last; `None` if nothing was.
    ///
    /// # Errors
    /// [`StoreError::Io`], or [`StoreError::Damaged`] if the file is not what was saved.
    pub fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &self.0)(error)),
        };
        let mut text = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(io_error("read", &self.0))?;
        let damaged = |what| StoreError::Damaged { path: self.0.clone(), what };
        if text.len() as u64 > BYTES_MAX {
            return Err(damaged("it is longer than such a file may be"));
        }
        let rest = text.strip_prefix(VERSION).ok_or_else(|| damaged("it is of another version"))?;
        let (hash, body) = rest.split_at_checked(HASH_LINE).ok_or_else(|| damaged("it ends early"))?;
        if hash != hash_line(body).as_bytes() {
            return Err(damaged("its hash does not hold"));
        }
        Ok(Some(body.to_vec()))
    }

    /// Replaces what was saved.
    ///
    /// # Errors
    /// [`StoreError::Io`]; what was saved before is still there then.
    pub fn save(&self, body: &[u8]) -> Result<(), StoreError> {
        if let Some(folder) = self.0.parent() {
            make_dir(folder)?;
        }
        let mut text = VERSION.to_vec();
        text.extend_from_slice(hash_line(body).as_bytes());
        text.extend_from_slice(body);
        let new = self.0.with_extension("new");
        write_synced(&new, &text)?;
        fs::rename(&new, &self.0).map_err(io_error("rename", &new))
    }
}

fn hash_line(body: &[u8]) -> String {
    format!("{}\n", blake3::hash(body).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_whole_or_refused() {
        let folder = Scratch(std::env::temp_dir().join(format!("ringfence-whole-{}", std::process::id())));
        let file = WholeFile::at(folder.0.join("records/flows"));
        assert!(matches!(file.load(), Ok(None)), "nothing yet");
        for body in [b"first".as_slice(), b"", b"the second is longer"] {
            file.save(body).unwrap();
            assert_eq!(file.load().unwrap().as_deref(), Some(body));
        }
        let whole = fs::read(file.path()).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(file.path(), &damaged).unwrap();
            assert!(matches!(file.load(), Err(StoreError::Damaged { .. })), "byte {at} changed");
            fs::write(file.path(), &whole[..at]).unwrap();
            assert!(matches!(file.load(), Err(StoreError::Damaged { .. })), "cut after {at} bytes");
        }
    }
}
