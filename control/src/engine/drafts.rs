//! Drafts: policies whose verdicts are recorded beside those of the enforced one, and never acted on.
//!
//! A named draft is staged by an operator, survives a restart, and keeps its own inventory. The rules that the
//! enforced policy marks `staged` make one more draft, [`STAGED`]: the enforced policy with these rules in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataplane::policy::{DRAFTS_MAX, PolicyTable, Publisher, Snapshot};
use dataplane::verdict::{Epoch, RuleId};
use jiff::Timestamp;

use super::{Author, Candidate, Engine, InForce, PublishError, check, lock};
use crate::observe::hits::Rules;
use crate::policy::valid::ValidPolicy;
use crate::store::{DraftMeta, Entry, Event, Meta, StoredFile, source_hash};

/// The name of the draft that the enforced policy's own staged rules make.
pub const STAGED: &str = "staged";
/// Longest name of a draft, bytes.
const NAME_MAX: usize = 63;

/// A policy beside the enforced one.
#[derive(Debug)]
pub struct Draft {
    /// Its number in snapshots and records, as long as it is staged in this process.
    pub id: u16,
    /// What the store says of it; for [`STAGED`] what it would.
    pub meta: DraftMeta,
    /// What its table was compiled from.
    pub policy: Arc<ValidPolicy>,
    /// Its table.
    pub table: Arc<PolicyTable>,
    /// Its rules; index is the rule's id.
    pub rules: Rules,
    /// Its source.
    pub files: Arc<[StoredFile]>,
}

/// How often a rule of a draft would have decided.
pub type DraftHits = Vec<(Arc<str>, u64)>;

/// All drafts, and what they counted.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    named: BTreeMap<String, Arc<Draft>>,
    staged: Option<Arc<Draft>>,
    last_id: u16,
    /// Snapshots that workers may still count in, oldest first.
    live: Vec<Arc<Snapshot>>,
    /// Counts of snapshots that nobody counts in any more, by draft and rule.
    folded: BTreeMap<u16, Vec<u64>>,
}

impl Drafts {
    /// All, the implicit one first, then by name.
    fn all(&self) -> impl Iterator<Item = &Arc<Draft>> {
        self.staged.iter().chain(self.named.values())
    }

    pub(super) fn tables(&self) -> Vec<(u16, Arc<PolicyTable>)> {
        self.all().map(|draft| (draft.id, Arc::clone(&draft.table))).collect()
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let taken = self.all().any(|draft| draft.id == self.last_id)
                || self.live.iter().any(|one| one.drafts.iter().any(|draft| draft.id == self.last_id));
            if !taken {
                return self.last_id;
            }
        }
    }

    /// Puts a draft in, in place of one of its name.
    pub(super) fn insert(&mut self, meta: DraftMeta, candidate: Candidate) -> Arc<Draft> {
        let draft = Arc::new(Draft {
            id: self.free_id(),
            policy: candidate.policy,
            table: candidate.table,
            rules: candidate.rules,
            files: candidate.files,
            meta,
        });
        self.named.insert(draft.meta.name.clone(), Arc::clone(&draft));
        draft
    }

    /// Takes the staged rules of the policy that comes in force.
    pub(super) fn follow(&mut self, meta: &Meta, now: &mut Candidate) {
        let id = self.free_id();
        self.staged = now.staged.take().map(|table| {
            Arc::new(Draft {
                id,
                meta: DraftMeta {
                    name: STAGED.into(),
                    policy_hash: meta.policy_hash.clone(),
                    source_hash: meta.source_hash.clone(),
                    at: meta.at,
                    uid: meta.uid,
                    message: format!("rules marked `staged` in the policy of epoch {}", meta.epoch),
                },
                policy: Arc::clone(&now.policy),
                table,
                rules: Arc::clone(&now.rules),
                files: Arc::clone(&now.files),
            })
        });
    }

    /// The policy in force has another inventory: what its staged rules make follows. Its files stay, since whoever
    /// publishes them gets the inventory of that moment.
    pub(super) fn follow_inventory(&mut self, policy: &Arc<ValidPolicy>, staged: Option<Arc<PolicyTable>>) {
        let old = self.staged.take();
        self.staged = old.zip(staged).map(|(old, table)| {
            let (meta, rules) = (old.meta.clone(), Arc::clone(&old.rules));
            let (policy, files) = (Arc::clone(policy), Arc::clone(&old.files));
            Arc::new(Draft { id: old.id, meta, policy, table, rules, files })
        });
    }

    pub(super) fn published(&mut self, snapshot: Arc<Snapshot>) {
        self.live.push(snapshot);
    }

    /// Folds the counts of a snapshot that nobody reads any more, and forgets drafts that are gone.
    pub(super) fn retired(&mut self, epoch: Epoch) {
        let Some(at) = self.live.iter().position(|one| one.epoch == epoch) else { return };
        let gone = self.live.remove(at);
        let known: Vec<u16> = self.all().map(|draft| draft.id).collect();
        for draft in gone.drafts.iter().filter(|draft| known.contains(&draft.id)) {
            let sums = self.folded.entry(draft.id).or_default();
            sums.resize(draft.table.rules() as usize, 0);
            for (id, sum) in (0..).zip(sums) {
                *sum = sum.wrapping_add(draft.hits.of(RuleId(id)));
            }
        }
        self.folded.retain(|id, _| known.contains(id));
    }

    /// How often each rule of a draft would have decided; rules that never would are left out.
    fn hits(&self, draft: &Draft) -> DraftHits {
        let live = || self.live.iter().flat_map(|one| one.drafts.iter()).filter(|one| one.id == draft.id);
        let folded = self.folded.get(&draft.id);
        let count = |id: u32| {
            let before = folded.and_then(|sums| sums.get(id as usize)).copied().unwrap_or(0);
            live().fold(before, |sum, one| sum.wrapping_add(one.hits.of(RuleId(id))))
        };
        let counts = (0..).zip(draft.rules.iter()).map(|(id, rule)| (Arc::clone(&rule.name), count(id)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// Whether `name` can name a draft: lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    name.len() <= NAME_MAX
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name != STAGED
}

impl Engine {
    /// Stages a draft, in place of one of the same name: when this returns, it is on disk, and every worker evaluates
    /// it beside the enforced policy.
    ///
    /// # Errors
    /// [`PublishError`]: it is refused as a publish would be, or there are eight drafts already.
    pub async fn stage(
        self: &Arc<Self>,
        name: String,
        files: Vec<StoredFile>,
        author: Author,
    ) -> Result<Arc<Draft>, PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move {
            let _turn = engine.turn.lock().await;
            let helper = Arc::clone(&engine);
            let staged = tokio::task::spawn_blocking(move || helper.stage_in_turn(name, files, author)).await;
            let draft = staged.unwrap_or(Err(PublishError::Interrupted))?;
            engine.republish();
            Ok(draft)
        });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }

    fn stage_in_turn(
        &self,
        name: String,
        files: Vec<StoredFile>,
        author: Author,
    ) -> Result<Arc<Draft>, PublishError> {
        if !is_name(&name) {
            return Err(PublishError::DraftName(name));
        }
        {
            let drafts = lock(&self.drafts);
            if !drafts.named.contains_key(&name) && drafts.all().count() >= DRAFTS_MAX {
                return Err(PublishError::TooManyDrafts);
            }
        }
        let candidate = check(self.with_inventory(files), &self.wires).map_err(PublishError::Refused)?;
        let meta = DraftMeta {
            name: name.clone(),
            policy_hash: candidate.hash.clone(),
            source_hash: source_hash(&candidate.files),
            at: Timestamp::now(),
            uid: author.uid,
            message: author.bounded_message(),
        };
        let mut store = lock(&self.store);
        store.save_draft(&meta, &candidate.files).map_err(PublishError::Store)?;
        self.note(&mut store, author.uid, Event::Staged(name))?;
        drop(store);
        Ok(lock(&self.drafts).insert(meta, candidate))
    }

    /// Drops a draft.
    ///
    /// # Errors
    /// [`PublishError::NoDraft`], [`PublishError::Store`]; nothing changed then.
    pub async fn unstage(self: &Arc<Self>, name: String, uid: u32) -> Result<(), PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move {
            let _turn = engine.turn.lock().await;
            if !lock(&engine.drafts).named.contains_key(&name) {
                return Err(PublishError::NoDraft(name));
            }
            {
                let mut store = lock(&engine.store);
                engine.note(&mut store, uid, Event::Dropped(name.clone()))?;
                store.remove_draft(&name).map_err(PublishError::Store)?;
            }
            lock(&engine.drafts).named.remove(&name);
            engine.republish();
            Ok(())
        });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }

    /// Puts the policy in force out again under the epoch that was just noted, with the drafts as they are now.
    fn republish(&self) {
        let Some(now) = self.in_force() else { return };
        let tables = lock(&self.drafts).tables();
        let snapshot = self.publisher.publish_with(Arc::clone(&now.snapshot.table), tables);
        self.release(InForce { snapshot, ..InForce::clone(&now) });
    }

    /// Every draft, the implicit one first, then by name.
    #[must_use]
    pub fn drafts(&self) -> Vec<Arc<Draft>> {
        lock(&self.drafts).all().map(Arc::clone).collect()
    }

    /// The draft of this name.
    ///
    /// # Errors
    /// [`PublishError::NoDraft`].
    pub fn draft(&self, name: &str) -> Result<Arc<Draft>, PublishError> {
        let drafts = lock(&self.drafts);
        let found = drafts.all().find(|draft| draft.meta.name == name).map(Arc::clone);
        found.ok_or_else(|| PublishError::NoDraft(name.to_owned()))
    }

    /// How often each rule of a draft would have decided since it was staged, exactly; rules that never would are
    /// left out.
    #[must_use]
    pub fn draft_hits(&self, draft: &Draft) -> DraftHits {
        self.retire();
        lock(&self.drafts).hits(draft)
    }

    /// Writes a change that brings a new epoch to the journal.
    pub(super) fn note(
        &self,
        store: &mut crate::store::Store,
        uid: u32,
        event: Event,
    ) -> Result<(), PublishError> {
        let epoch = match self.in_force() {
            Some(_) => super::publish::next_epoch(store)?,
            // Nothing is published, so nothing gets an epoch.
            None => store.newest_epoch(),
        };
        store.append(&Entry { epoch, at: Timestamp::now(), uid, event }).map_err(PublishError::Store)
    }

    /// The drafts that the last process left; what is wrong with one is a notice, and the others are taken.
    pub(super) fn load_drafts(&self) {
        let found = lock(&self.store).drafts();
        let (drafts, damage) = match found {
            Ok(found) => found,
            Err(error) => return self.notice(format!("the drafts are not loaded: {error}")),
        };
        for error in damage {
            self.notice(format!("a draft is passed over: {error}"));
        }
        for (meta, files) in drafts {
            if lock(&self.drafts).all().count() >= DRAFTS_MAX {
                self.notice(format!(
                    "the draft `{}` is passed over: there are {DRAFTS_MAX} others",
                    meta.name
                ));
                continue;
            }
            match check(files, &self.wires) {
                Ok(candidate) => drop(lock(&self.drafts).insert(meta, candidate)),
                Err(refusal) => self.notice(format!("the draft `{}` is passed over: {refusal}", meta.name)),
            }
        }
    }
}

impl Engine {
    /// Counters of snapshots that no worker reads any more are folded, and the snapshots dropped.
    pub(super) fn fold(publisher: &Publisher, hits: &mut crate::observe::hits::Hits, drafts: &mut Drafts) {
        for gone in publisher.retire() {
            hits.retired(&gone, Timestamp::now());
            drafts.retired(gone.epoch);
        }
    }
}
