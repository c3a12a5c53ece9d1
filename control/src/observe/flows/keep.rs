//! The log across restarts.

use std::collections::HashMap;

use dataplane::verdict::Verdict;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FlowKind, KINDS_MAX, RecordLog, Sums};
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
}

impl KeptRecord {
    fn taken_apart(self) -> Option<(FlowKind, Sums)> {
        let verdict = [Verdict::Allow, Verdict::Deny, Verdict::Reject];
        let kind = FlowKind {
            source: self.source,
            destination: self.destination,
            service: self.service,
            verdict: verdict.into_iter().find(|verdict| verdict.name() == self.verdict)?,
            rule: self.rule.into(),
            potential: self.potential.map(Into::into),
        };
        let Self { flows, packets, bytes, first_seen, last_seen, .. } = self;
        Some((kind, Sums { flows, packets, bytes, first_seen, last_seen, drafts: Vec::new() }))
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
        let records = kept.records.into_iter().take(KINDS_MAX).filter_map(KeptRecord::taken_apart);
        let kinds: HashMap<FlowKind, Sums> = records.collect();
        let Kept { from, to, missed, gaps, .. } = kept;
        Self { kinds, from, to, missed, gaps: gaps.saturating_add(1), changed: false }
    }

    /// The log as bytes, if anything changed since they were taken last. Records that are too old are given up.
    pub fn to_save(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        self.expire(now);
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let record = |(kind, sums): (&FlowKind, &Sums)| KeptRecord {
            source: kind.source,
            destination: kind.destination,
            service: kind.service,
            verdict: kind.verdict.name().to_owned(),
            rule: kind.rule.to_string(),
            potential: kind.potential.as_deref().map(str::to_owned),
            flows: sums.flows,
            packets: sums.packets,
            bytes: sums.bytes,
            first_seen: sums.first_seen,
            last_seen: sums.last_seen,
        };
        let records = self.kinds.iter().map(record).collect();
        let kept = Kept { from: self.from, to: self.to, missed: self.missed, gaps: self.gaps, records };
        serde_json::to_vec(&kept).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Addition, Completeness};
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
        assert_eq!(again.completeness(), Completeness { from: at(100), to: at(120), missed: 7, gaps: 1 });

        std::fs::write(file.path(), b"not what was saved").unwrap();
        let (anew, notice) = RecordLog::load(&file, at(600));
        assert_eq!(anew.completeness().from, at(600));
        assert!(notice.is_some_and(|notice| notice.contains("begin anew")));
        assert!(file.path().with_extension("damaged").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
