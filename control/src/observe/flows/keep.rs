//! The log across restarts.

use std::collections::HashMap;

use dataplane::verdict::Verdict;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fold::{FOLDS_MAX, Fold, FoldKind};
use super::{Facts, FlowKind, FlowRecord, KINDS_MAX, RecordLog, Sums};
use crate::store::WholeFile;

/// The log as it is kept: what drafts said is left out, because drafts have other numbers in the next process.
#[derive(Serialize, Deserialize)]
struct Kept {
    from: Timestamp,
    to: Timestamp,
    missed: u64,
    gaps: u32,
    records: Vec<KeptRecord>,
}

#[derive(Serialize, Deserialize)]
struct KeptRecord {
    source: std::net::IpAddr,
    destination: std::net::IpAddr,
    service: u32,
    verdict: String,
    rule: String,
    potential: Option<String>,
    flows: u64,
    packets: u64,
    bytes: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// What follows was not kept always.
    #[serde(default)]
    tier: Option<String>,
    #[serde(default)]
    facts: Facts,
    #[serde(default)]
    folded: Option<KeptFold>,
}

/// The labels of a record that was folded.
#[derive(Serialize, Deserialize)]
struct KeptFold {
    source: String,
    destination: String,
    records: u64,
}

/// A record as the log holds it.
enum Part {
    Kind(FlowKind, Sums),
    Fold(FoldKind, Fold),
}

impl From<FlowRecord> for KeptRecord {
    fn from(one: FlowRecord) -> Self {
        Self {
            source: one.source,
            destination: one.destination,
            service: one.service,
            verdict: one.verdict.name().to_owned(),
            rule: one.rule.to_string(),
            potential: one.potential.as_deref().map(str::to_owned),
            flows: one.flows,
            packets: one.packets,
            bytes: one.bytes,
            first_seen: one.first_seen,
            last_seen: one.last_seen,
            tier: one.tier.as_deref().map(str::to_owned),
            facts: one.facts,
            folded: one.folded.map(|fold| KeptFold {
                source: fold.source.to_string(),
                destination: fold.destination.to_string(),
                records: fold.records,
            }),
        }
    }
}

impl KeptRecord {
    fn taken_apart(self) -> Option<Part> {
        let verdict = [Verdict::Allow, Verdict::Deny, Verdict::Reject];
        let verdict = verdict.into_iter().find(|verdict| verdict.name() == self.verdict)?;
        let Self {
            source, destination, service, flows, packets, bytes, first_seen, last_seen, facts, ..
        } = self;
        let (rule, potential) = (self.rule.into(), self.potential.map(Into::into));
        let (drafts, tier) = (Vec::new(), self.tier.map(Into::into));
        let sums = Sums { flows, packets, bytes, first_seen, last_seen, drafts, facts, tier };
        let Some(KeptFold { source: from, destination: to, records }) = self.folded else {
            return Some(Part::Kind(
                FlowKind { source, destination, service, verdict, rule, potential },
                sums,
            ));
        };
        let (from, to) = (from.into(), to.into());
        let kind = FoldKind { source: from, destination: to, service, verdict, rule, potential };
        Some(Part::Fold(kind, Fold { sums, records, example: [source, destination] }))
    }
}

impl RecordLog {
    /// The log that was saved, or a new one from `now` on; and what is to be said about it. One that is damaged is
    /// moved aside, beside the next one.
    #[must_use]
    pub fn load(file: &WholeFile, now: Timestamp) -> (Self, Option<String>) {
        let loaded = file.load().map_err(|error| error.to_string()).and_then(|body| match body {
            None => Ok(None),
            Some(body) => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| format!("{}: {error}", file.path().display())),
        });
        match loaded {
            Ok(None) => (Self::new(now), None),
            Ok(Some(kept)) => (Self::restored(kept), None),
            Err(error) => {
                // Losing it again at the next start would be no worse.
                let _ = std::fs::rename(file.path(), file.path().with_extension("damaged"));
                (Self::new(now), Some(format!("the flow records begin anew: {error}")))
            }
        }
    }

    fn restored(kept: Kept) -> Self {
        let (mut kinds, mut folded) = (HashMap::new(), HashMap::new());
        for record in kept.records.into_iter().take(KINDS_MAX + FOLDS_MAX).filter_map(KeptRecord::taken_apart)
        {
            match record {
                Part::Kind(kind, sums) if kinds.len() < KINDS_MAX => drop(kinds.insert(kind, sums)),
                Part::Fold(kind, fold) if folded.len() < FOLDS_MAX => drop(folded.insert(kind, fold)),
                Part::Kind(..) | Part::Fold(..) => {}
            }
        }
        let Kept { from, to, missed, gaps, .. } = kept;
        Self { kinds, folded, from, to, missed, gaps: gaps.saturating_add(1), changed: false }
    }

    /// The log as bytes, if anything changed since they were taken last. Records that are too old are given up.
    pub fn to_save(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        self.expire(now);
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let records = self.each().map(KeptRecord::from).collect();
        let kept = Kept { from: self.from, to: self.to, missed: self.missed, gaps: self.gaps, records };
        serde_json::to_vec(&kept).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Addition, Completeness, Details, Outcome};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_log_outlives_the_process_but_for_the_time_between() {
        let folder = std::env::temp_dir().join(format!("ringfence-flow-log-{}", std::process::id()));
        let file = WholeFile::at(folder.join("flows"));
        let (mut log, notice) = RecordLog::load(&file, at(100));
        assert_eq!((log.len(), notice), (0, None));
        assert!(log.to_save(at(100)).is_none(), "nothing to save");
        let kinds: Vec<FlowKind> =
            [(Verdict::Allow, None), (Verdict::Deny, Some("b".into())), (Verdict::Reject, None)]
                .into_iter()
                .map(|(verdict, potential)| FlowKind {
                    source: "fd00::1".parse().unwrap(),
                    destination: "10.0.0.1".parse().unwrap(),
                    service: 6 << 16 | 443,
                    verdict,
                    rule: "a".into(),
                    potential,
                })
                .collect();
        for (second, kind) in (101..).zip(&kinds) {
            let addition = Addition {
                flows: 2,
                packets: 3,
                bytes: 4,
                first_seen: at(second),
                last_seen: at(second + 9),
            };
            log.add(kind.clone(), &addition);
            let details =
                Details { sent_bytes: 3, epoch: 8, outcome: Some(Outcome::Cut), ..Details::default() };
            log.add_details(kind, 2, &details, || Some("application".into()));
        }
        log.seen_until(at(120), 7);
        file.save(&log.to_save(at(120)).unwrap()).unwrap();
        assert!(log.to_save(at(121)).is_none(), "saved already");

        let (again, notice) = RecordLog::load(&file, at(500));
        assert_eq!(notice, None);
        let sorted = |log: &RecordLog| {
            let mut all: Vec<_> = log.each().collect();
            all.sort_by_key(|record| record.verdict);
            all
        };
        assert_eq!(sorted(&again), sorted(&log));
        assert_eq!(
            again.completeness(),
            Completeness { from: at(100), to: at(120), missed: 7, gaps: 1, folded: 0 }
        );

        std::fs::write(file.path(), b"not what was saved").unwrap();
        let (anew, notice) = RecordLog::load(&file, at(600));
        assert_eq!(anew.completeness().from, at(600));
        assert!(notice.is_some_and(|notice| notice.contains("begin anew")));
        assert!(file.path().with_extension("damaged").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// As a version wrote it that knew nothing of directions, outcomes and folded records.
    const OLD: &str = r#"{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","missed":3,"gaps":1,"records":[
        {"source":"10.0.0.1","destination":"10.0.0.2","service":393659,"verdict":"allow","rule":"web","potential":null,
        "flows":2,"packets":9,"bytes":900,"first_seen":"2026-01-01T00:00:00Z","last_seen":"2026-01-02T00:00:00Z"}]}"#;

    #[test]
    fn an_old_log_goes_on() {
        let folder = std::env::temp_dir().join(format!("ringfence-old-flow-log-{}", std::process::id()));
        let file = WholeFile::at(folder.join("flows"));
        file.save(OLD.as_bytes()).unwrap();
        let (log, notice) = RecordLog::load(&file, at(500));
        assert_eq!(notice, None);
        let all: Vec<_> = log.each().collect();
        assert_eq!((all.len(), all[0].flows, all[0].bytes), (1, 2, 900));
        assert_eq!((all[0].facts, &all[0].tier, &all[0].folded), (Facts::default(), &None, &None));
        assert_eq!((log.completeness().missed, log.completeness().gaps), (3, 2));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
