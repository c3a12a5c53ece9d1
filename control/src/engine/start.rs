//! The first policy of a process.
//!
//! Precedence: the policy that was published last, whoever published it, is in force again after a restart. The
//! configuration's policy files are published only if nothing was ever published here, or if that is demanded
//! (`--policy-from-config`), or later on SIGHUP. If they changed since they were last published, a notice says so.
//! A stored policy that is damaged, or that this version refuses, is passed over for the one before it, with a notice.
//! Without any policy nothing is published, and the workers drop every frame as `no_policy`.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dataplane::policy::Publisher;
use dataplane::verdict::Epoch;

use super::{Author, Candidate, Engine, Parts, PublishError, Refusal, check};
use crate::policy::load;
use crate::store::{Meta, Publication, Store, StoredFile, source_hash};

/// Why the daemon does not start: there is no earlier policy to fall back to.
#[derive(Debug)]
pub enum StartError {
    /// The configuration's policy is refused.
    Refused(Refusal),
    /// The policy could not be stored.
    Publish(PublishError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Publish(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl Engine {
    /// Makes the engine and puts its first policy in force; must be done before a worker reads.
    ///
    /// # Errors
    /// [`StartError`], only if there is no good policy from before and the configuration's is not good either (or the
    /// configuration's was demanded).
    pub fn start(parts: Parts, policy: &[PathBuf], from_config: bool) -> Result<Arc<Self>, StartError> {
        let newest = parts.store.newest_epoch();
        let mut notices = Vec::new();
        let found = if from_config { None } else { last_good(&parts.store, &parts.wires, &mut notices) };
        // The newest record goes on under its own epoch; anything else gets an epoch of its own.
        let goes_on = found.as_ref().is_some_and(|(meta, _)| meta.epoch == newest);
        let last = if goes_on { newest - 1 } else { newest };
        let engine = Arc::new(Self {
            publisher: Arc::new(Publisher::continuing(parts.workers.len(), Epoch(last))),
            workers: parts.workers,
            wires: parts.wires,
            timeout: parts.timeout,
            wake: parts.wake,
            turn: tokio::sync::Mutex::new(()),
            store: Mutex::new(parts.store),
            in_force: Mutex::default(),
            hits: Mutex::default(),
            drops: Mutex::default(),
            notices: Mutex::default(),
        });
        for notice in notices {
            engine.notice(notice);
        }
        match found {
            Some((meta, candidate)) => engine.go_on(meta, candidate, goes_on, policy)?,
            None if policy.is_empty() => engine.notice(
                "no policy: everything is dropped until one is published (ringfence policy publish, or `policy` in \
                 the configuration)"
                    .into(),
            ),
            None => engine.first(policy)?,
        }
        Ok(engine)
    }

    /// Goes on with a policy from before.
    fn go_on(
        &self,
        meta: Meta,
        candidate: Candidate,
        goes_on: bool,
        policy: &[PathBuf],
    ) -> Result<(), StartError> {
        tracing::info!(epoch = meta.epoch, hash = %meta.policy_hash, published = %meta.at, uid = meta.uid,
            "starting from the last good policy");
        self.compare(policy, meta.config_hash.as_deref(), meta.epoch);
        let meta = if goes_on {
            meta
        } else {
            let author = Author {
                publication: Publication::Restored,
                uid: rustix::process::getuid().as_raw(),
                message: meta.message,
                rolled_back_to: Some(meta.epoch),
            };
            self.persist(&candidate, author).map_err(StartError::Publish)?
        };
        self.put_in_force(candidate, meta);
        Ok(())
    }

    /// Says so if the configuration's policy files are not those that were published from it last.
    fn compare(&self, policy: &[PathBuf], published: Option<&str>, epoch: u32) {
        if policy.is_empty() {
            return;
        }
        match config_files(policy) {
            Ok(files) if published == Some(source_hash(&files).as_str()) => {}
            Ok(_) => self.notice(format!(
                "the configuration's policy files differ from what was last published from them; the policy of epoch \
                 {epoch} stays in force until they are published (SIGHUP, or --policy-from-config at the next start)"
            )),
            Err(_) => self.notice(format!(
                "the configuration's policy files are refused; the policy of epoch {epoch} stays in force"
            )),
        }
    }

    /// Publishes the configuration's files.
    fn first(&self, policy: &[PathBuf]) -> Result<(), StartError> {
        let loaded = load(policy).map_err(|faults| StartError::Refused(Refusal::Invalid(faults)))?;
        let candidate = Candidate::new(loaded, &self.wires).map_err(StartError::Refused)?;
        let author = config_author("published at the start");
        let meta = self.persist(&candidate, author).map_err(StartError::Publish)?;
        tracing::info!(epoch = meta.epoch, hash = %meta.policy_hash, "starting from the configuration's policy");
        self.put_in_force(candidate, meta);
        Ok(())
    }
}

/// Reads the files and directories that the configuration names.
///
/// # Errors
/// What cannot be read, or is no policy.
pub(crate) fn config_files(policy: &[PathBuf]) -> Result<Vec<StoredFile>, Refusal> {
    let files = load(policy).map_err(Refusal::Invalid)?.files;
    Ok(files.into_iter().map(|f| StoredFile { name: f.name, text: f.text }).collect())
}

/// Who publishes the configuration's files.
pub(crate) fn config_author(message: &str) -> Author {
    Author {
        publication: Publication::Config,
        uid: rustix::process::getuid().as_raw(),
        message: message.into(),
        rolled_back_to: None,
    }
}

/// The newest stored policy that is whole and that this version accepts.
fn last_good(store: &Store, wires: &[String], notices: &mut Vec<String>) -> Option<(Meta, Candidate)> {
    store.history().rev().find_map(|meta| {
        let passed_over = match store.load(meta.epoch) {
            Ok(record) => match check(record.files, wires) {
                Ok(candidate) => return Some((record.meta, candidate)),
                Err(refusal) => refusal.to_string(),
            },
            Err(error) => error.to_string(),
        };
        notices.push(format!("the policy of epoch {} is passed over: {passed_over}", meta.epoch));
        None
    })
}
