//! The first policy of a process.
//!
//! Precedence: the policy that was published last, whoever published it, is in force again after a restart. The
//! configuration's policy files are published only if nothing was ever published here, or if that is demanded
//! (`--policy-from-config`), or later on SIGHUP. If they changed since they were last published, a notice says so.
//! A stored policy that is damaged, or that this version refuses, is passed over for the one before it, with a notice.
//! A policy that nobody confirmed in time, and whose time ended while no process ran, gives way to the one before it.
//! Without any policy nothing is published, and the workers drop every frame as `no_policy`.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dataplane::policy::Publisher;
use dataplane::verdict::Epoch;
use jiff::Timestamp;

use super::confirm::reverted;
use super::overlay::Overlay;
use super::{Author, Candidate, Engine, Parts, Pending, PublishError, Refusal, check};
use crate::observe::flows::{Collector, RecordLog};
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
        let found =
            if from_config { None } else { Found::last_good(&parts.store, &parts.wires, &mut notices) };
        // The newest record goes on under its own epoch; anything else gets an epoch of its own.
        let goes_on = found.as_ref().is_some_and(|found| found.instead.is_none());
        let last = if goes_on { newest - 1 } else { newest };
        let records_file = parts.store.flow_records();
        let (log, damage) = RecordLog::load(&records_file, Timestamp::now());
        notices.extend(damage);
        let engine = Arc::new(Self {
            publisher: Arc::new(Publisher::continuing(parts.workers.len(), Epoch(last))),
            workers: parts.workers,
            wires: parts.wires,
            proxies: parts.proxies,
            flows: parts.flows,
            timeout: parts.timeout,
            wake: parts.wake,
            turn: tokio::sync::Mutex::new(()),
            store: Mutex::new(parts.store),
            in_force: Mutex::default(),
            hits: Mutex::default(),
            drops: Mutex::default(),
            records: Mutex::new(Collector::new(log)),
            records_file: Mutex::new(records_file),
            publishes: Mutex::default(),
            exporters: Mutex::default(),
            capturing: Mutex::default(),
            drafts: Mutex::default(),
            compiler: Mutex::default(),
            pending: Mutex::default(),
            notices: Mutex::default(),
            seen: Mutex::default(),
            matching: Mutex::default(),
            since: Timestamp::now(),
        });
        for notice in notices {
            engine.notice(notice);
        }
        engine.load_drafts();
        match found {
            Some(found) => engine.go_on(found, policy)?,
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
    fn go_on(&self, found: Found, policy: &[PathBuf]) -> Result<(), StartError> {
        let Found { meta, candidate, instead, pending } = found;
        tracing::info!(epoch = meta.epoch, hash = %meta.policy_hash, published = %meta.at, uid = meta.uid,
            "starting from the last good policy");
        self.compare(policy, meta.config_hash.as_deref(), meta.epoch);
        let meta = match instead {
            None => meta,
            Some(author) => self.persist(&candidate, author, None).map_err(StartError::Publish)?,
        };
        self.put_in_force(candidate, meta);
        *super::lock(&self.pending) = pending;
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
        let meta = self.persist(&candidate, author, None).map_err(StartError::Publish)?;
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

/// A policy from before that can be put in force.
struct Found {
    meta: Meta,
    candidate: Candidate,
    /// If it is not the newest: how it comes to be published again.
    instead: Option<Author>,
    /// If it is the newest and was not confirmed yet.
    pending: Option<Pending>,
}

impl Found {
    /// The newest stored policy that is whole and that this version accepts. One whose time to be confirmed is over
    /// gives way to the policy it would have reverted to, if that can be had.
    fn last_good(store: &Store, wires: &[String], notices: &mut Vec<String>) -> Option<Self> {
        let is_newest = |meta: &Meta| meta.epoch == store.newest_record();
        if let Some(meta) = store.history().next_back().filter(|meta| is_newest(meta))
            && let Err(confirm) = Pending::after_restart(meta, store)
        {
            let author = reverted(meta.epoch, confirm);
            match load_one(store, confirm.revert_to, wires) {
                Ok((meta, candidate)) => {
                    notices.push(author.message.clone());
                    return Some(Self { meta, candidate, instead: Some(author), pending: None });
                }
                Err(error) => notices.push(format!(
                    "the policy of epoch {} was not confirmed in time, but stays: that of epoch {} cannot be had: {error}",
                    meta.epoch, confirm.revert_to
                )),
            }
        }
        store.history().rev().find_map(|meta| match load_one(store, meta.epoch, wires) {
            Ok((meta, candidate)) => {
                let pending = Pending::after_restart(&meta, store).ok().flatten();
                let (instead, pending) =
                    if is_newest(&meta) { (None, pending) } else { (Some(restored(&meta)), None) };
                Some(Self { meta, candidate, instead, pending })
            }
            Err(error) => {
                notices.push(format!("the policy of epoch {} is passed over: {error}", meta.epoch));
                None
            }
        })
    }
}

/// The policy of one record, or why there is none, for people.
pub(super) fn load_one(store: &Store, epoch: u32, wires: &[String]) -> Result<(Meta, Candidate), String> {
    let record = store.load(epoch).map_err(|error| error.to_string())?;
    let mut overlay = Overlay::of(&record.files);
    let journal = store.journal(epoch).map_err(|error| error.to_string())?;
    journal.iter().for_each(|entry| overlay.note(&entry.event));
    let candidate = check(overlay.join(record.files), wires).map_err(|refusal| refusal.to_string())?;
    Ok((record.meta, candidate))
}

/// Who publishes an older policy in place of one that is damaged.
fn restored(meta: &Meta) -> Author {
    Author {
        publication: Publication::Restored,
        uid: rustix::process::getuid().as_raw(),
        message: meta.message.clone(),
        rolled_back_to: Some(meta.epoch),
    }
}
