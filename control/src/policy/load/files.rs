//! Paths to texts. Anything but a regular file of bounded size is refused, never waited for.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Error, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{FILE_BYTES_MAX, FILES_MAX, Fault, LOAD_BYTES_MAX, SourceFile};
use crate::policy::diagnostics::Code;

/// The deepest nesting of directories.
const DIRECTORIES_MAX: usize = 16;
/// The most entries of one directory that are looked at.
const ENTRIES_MAX: usize = 16 * FILES_MAX;
/// The endings of policy files below a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What was found: every file has its place in the list, with an empty text if it could not be read.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<SourceFile>,
    pub(super) faults: Vec<Fault>,
    /// Device and inode of the files read, so that a file named twice is read once.
    seen: HashSet<(u64, u64)>,
    bytes: usize,
}

/// Reads `paths` in their order, directories with everything below them.
pub(super) fn read_all(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let before = found.files.len();
                directory(path, 0, &mut found);
                if found.files.len() == before {
                    let endings = ENDINGS.map(|ending| format!("*.{ending}")).join(", ");
                    found.fault(
                        path,
                        Code::Empty,
                        format!("no policy file ({endings}) is below this directory"),
                    );
                }
            }
            Ok(_) => file(path, &mut found),
            Err(error) => found.unreadable(path, &error),
        }
    }
    found
}

impl Found {
    fn fault(&mut self, path: &Path, code: Code, message: String) {
        self.faults.push(Fault { file: self.files.len(), code, span: None, message });
        self.files.push(SourceFile { name: path.display().to_string(), text: String::new() });
    }

    fn unreadable(&mut self, path: &Path, error: &Error) {
        self.fault(path, Code::File, format!("the file cannot be read: {error}"));
    }
}

fn directory(path: &Path, depth: usize, found: &mut Found) {
    if depth >= DIRECTORIES_MAX {
        found.fault(path, Code::Limit, format!("directories are nested more than {DIRECTORIES_MAX} deep"));
        return;
    }
    let entries: Result<Vec<_>, _> =
        fs::read_dir(path).and_then(|entries| entries.take(ENTRIES_MAX + 1).collect());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return found.unreadable(path, &error),
    };
    if entries.len() > ENTRIES_MAX {
        found.fault(path, Code::Limit, format!("the directory has more than {ENTRIES_MAX} entries"));
        return;
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let policy_file = path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => directory(&path, depth + 1, found),
            // A link to a directory could lead in circles, and silently leaving one out would lose policy.
            Ok(kind) if kind.is_symlink() && fs::metadata(&path).is_ok_and(|to| to.is_dir()) => {
                let message = "this is a link to a directory: name that directory itself".to_owned();
                found.fault(&path, Code::File, message);
            }
            Ok(_) if policy_file => file(&path, found),
            Ok(_) => {}
            Err(error) => found.unreadable(&path, &error),
        }
    }
}

fn file(path: &Path, found: &mut Found) {
    if found.files.len() >= FILES_MAX {
        // One report says it; the list must not grow with what is refused.
        if found.files.len() == FILES_MAX {
            found.fault(path, Code::Limit, format!("more than {FILES_MAX} files"));
        }
        return;
    }
    let (file, metadata) = match open(path) {
        Ok(Some(opened)) => opened,
        Ok(None) => return found.fault(path, Code::File, "this is not a regular file".to_owned()),
        Err(error) => return found.unreadable(path, &error),
    };
    if !found.seen.insert((metadata.dev(), metadata.ino())) {
        return;
    }
    let too_large = |found: &mut Found| {
        found.fault(path, Code::Limit, format!("the file has more than {FILE_BYTES_MAX} bytes"));
    };
    if metadata.len() > FILE_BYTES_MAX as u64 {
        return too_large(found);
    }
    let mut bytes = Vec::new();
    // The size that was told may be wrong by the time of reading.
    if let Err(error) = file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes) {
        return found.unreadable(path, &error);
    }
    if bytes.len() > FILE_BYTES_MAX {
        return too_large(found);
    }
    if found.bytes + bytes.len() > LOAD_BYTES_MAX {
        return found.fault(
            path,
            Code::Limit,
            format!("all files together have more than {LOAD_BYTES_MAX} bytes"),
        );
    }
    found.bytes += bytes.len();
    let index = found.files.len();
    let text = String::from_utf8(bytes).unwrap_or_else(|error| {
        let at = error.utf8_error().valid_up_to();
        let mut bytes = error.into_bytes();
        bytes.truncate(at);
        let text = String::from_utf8(bytes).unwrap_or_default();
        let message = "the file is not UTF-8: the byte here belongs to no character".to_owned();
        found.faults.push(Fault { file: index, code: Code::Encoding, span: Some(end_of(&text)), message });
        text
    });
    found.files.push(SourceFile { name: path.display().to_string(), text });
}

/// Opens without waiting, so that a pipe nobody writes to is refused like any other thing that is no file.
fn open(path: &Path) -> Result<Option<(File, Metadata)>, Error> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

/// Line, column and offset of the end of `text`.
fn end_of(text: &str) -> (u32, u32, u32) {
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let line = text.bytes().filter(|b| *b == b'\n').count() + 1;
    let last = text.rsplit('\n').next().unwrap_or("");
    (small(line), small(last.chars().count() + 1), small(text.len()))
}
