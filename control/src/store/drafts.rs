//! Drafts on disk: each in one file that proves itself, like a published policy.

use std::fs::{self, File};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Store, StoreError, StoredFile, io_error, make_dir, record, source_hash, write_synced};

/// What the store says of a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DraftMeta {
    /// Its name.
    pub name: String,
    /// BLAKE3 of what it means, hexadecimal.
    pub policy_hash: String,
    /// BLAKE3 of its source files, names and texts, hexadecimal.
    pub source_hash: String,
    /// When it was staged, RFC 3339 in UTC.
    #[schema(value_type = String, example = "2026-01-31T12:00:00Z")]
    pub at: jiff::Timestamp,
    /// The user id of who staged it.
    pub uid: u32,
    /// Why, in the words of who staged it; at most 4096 bytes.
    pub message: String,
}

impl Store {
    fn drafts_folder(&self) -> PathBuf {
        self.policies.with_file_name("drafts")
    }

    fn draft_path(&self, name: &str) -> PathBuf {
        self.drafts_folder().join(format!("{name}.draft"))
    }

    /// Saves a draft, in place of one of the same name; when this returns, it is durable. The name must be fit to be
    /// part of a file's name.
    ///
    /// # Errors
    /// Any; the draft of this name is as it was then.
    pub fn save_draft(&mut self, meta: &DraftMeta, files: &[StoredFile]) -> Result<(), StoreError> {
        let folder = self.drafts_folder();
        make_dir(&folder)?;
        let text = record::encode(meta, files);
        if text.len() as u64 > self.limits.record_bytes {
            return Err(StoreError::TooLong(self.limits.record_bytes));
        }
        let path = self.draft_path(&meta.name);
        let new = path.with_extension("new");
        write_synced(&new, &text).inspect_err(|_| drop(fs::remove_file(&new)))?;
        fs::rename(&new, &path).map_err(io_error("rename", &new))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io_error("fsync", &folder))
    }

    /// Removes a draft; one that is not there is no error.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_draft(&mut self, name: &str) -> Result<(), StoreError> {
        let path = self.draft_path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("remove", &path)(error))
            }
            Err(_) => Ok(()),
            Ok(()) => {
                let folder = self.drafts_folder();
                File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io_error("fsync", &folder))
            }
        }
    }

    /// Every draft that is whole, by name, and what is wrong with the others. What an unfinished write left is
    /// removed.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be read.
    #[expect(clippy::type_complexity, reason = "two lists")]
    pub fn drafts(&self) -> Result<(Vec<(DraftMeta, Vec<StoredFile>)>, Vec<StoreError>), StoreError> {
        let (mut drafts, mut damage) = (Vec::new(), Vec::new());
        let folder = self.drafts_folder();
        if !folder.exists() {
            return Ok((drafts, damage));
        }
        for item in fs::read_dir(&folder).map_err(io_error("list", &folder))? {
            let path = item.map_err(io_error("list", &folder))?.path();
            if path.extension().is_some_and(|ending| ending == "new") {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "draft") {
                continue;
            }
            match self.read_text(&path).and_then(|text| {
                record::decode(&text).map_err(|what| StoreError::Damaged { path: path.clone(), what })
            }) {
                Ok((meta, files)) if sound(&meta, &files, &path) => drafts.push((meta, files)),
                Ok(_) => {
                    damage.push(StoreError::Damaged { path, what: "its text is not that of its header" })
                }
                Err(error) => damage.push(error),
            }
        }
        drafts.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok((drafts, damage))
    }
}

fn sound(meta: &DraftMeta, files: &[StoredFile], path: &std::path::Path) -> bool {
    meta.source_hash == source_hash(files) && path.file_stem().is_some_and(|stem| stem == meta.name.as_str())
}
