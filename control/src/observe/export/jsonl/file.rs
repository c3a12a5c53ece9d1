//! A file of whole lines that is rotated, and that a full disk does no harm.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Who may read it besides its owner: the group, for whoever ships it.
const MODE: u32 = 0o640;
/// How far back the end of the last whole line is looked for, bytes; no line is longer.
const LINE_MAX: u64 = 1 << 20;

/// The file, and those before it: `path.1` is the youngest of them.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    limit: u64,
    keep: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    inode: u64,
}

impl LineFile {
    /// Goes on with what is at `path`, or makes it. `limit`: bytes after which the next one begins; `keep`: how many
    /// of those before it are kept.
    ///
    /// # Errors
    /// If it cannot be opened for writing.
    pub(super) fn open(path: &Path, limit: u64, keep: u32) -> io::Result<Self> {
        let open = Open::new(path)?;
        Ok(Self { path: path.to_owned(), limit, keep, open: Some(open) })
    }

    /// Appends whole lines, or nothing: what was written of them before a failure is taken back.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let full = |open: &Open| open.length > 0 && open.length + lines.len() as u64 > self.limit;
        if self.open.as_ref().is_some_and(full) {
            self.open = None;
            self.rotate()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(&self.path)?),
        };
        match open.file.write_all(lines) {
            Ok(()) => {
                open.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // If even that fails, opening it the next time looks for the end of the last whole line.
                if open.file.set_len(open.length).is_err() {
                    self.open = None;
                }
                Err(error)
            }
        }
    }

    /// Notices that somebody moved the file away or removed it: the next line then begins a new one.
    pub(super) fn look(&mut self) {
        let there = fs::metadata(&self.path).map(|found| found.ino()).ok();
        if self.open.as_ref().is_some_and(|open| Some(open.inode) != there) {
            self.open = None;
        }
    }

    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let length = whole_lines(&mut file, found.len())?;
        if length < found.len() {
            file.set_len(length)?;
        }
        Ok(Self { file, length, inode: found.ino() })
    }
}

/// Where the last whole line ends: a process that died may have left a part of one behind it.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let start = length.saturating_sub(LINE_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(LINE_MAX).read_to_end(&mut end)?;
    let last = end.iter().rposition(|byte| *byte == b'\n');
    Ok(last.map_or(start, |at| start + at as u64 + 1))
}
