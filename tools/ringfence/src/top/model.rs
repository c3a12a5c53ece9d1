//! What is shown: the difference of two samples.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::grid::{Cell, Column, Grid};
use super::sample::Sample;
use crate::cli::print::{labels, list, who, word};

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Wires,
    Workers,
    Flows,
    Drops,
    Rules,
}

impl Pane {
    pub(super) const ALL: [Self; 5] = [Self::Wires, Self::Workers, Self::Flows, Self::Drops, Self::Rules];
}

const WIRES: &[Column] = &[
    Column::new("WIRE", 0, "wire"),
    Column::new("FRAMES/s", 9, "frames_per_s"),
    Column::new("BITS/s", 9, "bits_per_s"),
    Column::new("FORWARDED/s", 11, "forwarded_per_s"),
    Column::new("DROPS/s", 9, "drops_per_s"),
    Column::new("LOST/s", 8, "lost_per_s"),
    Column::new("PORTS", 12, "ports"),
];
const WORKERS: &[Column] = &[
    Column::new("WORKER", 0, "worker"),
    Column::new("EPOCH", 6, "epoch"),
    Column::new("LOAD", 6, "load"),
    Column::new("FRAMES/s", 9, "frames_per_s"),
    Column::new("DROPS/s", 9, "drops_per_s"),
    Column::new("DECIDED/s", 9, "decisions_per_s"),
    Column::new("KNOWN", 6, "known_flows"),
];
const FLOWS: &[Column] = &[
    Column::new("SOURCE", 0, "source"),
    Column::new("DESTINATION", 0, "destination"),
    Column::new("SERVICE", 9, "service"),
    Column::new("BITS/s", 7, "bits_per_s"),
    Column::new("FRAMES/s", 8, "frames_per_s"),
    Column::new("BYTES", 6, "bytes"),
    Column::new("RULE", 0, "rule"),
];
const DROPS: &[Column] = &[
    Column::new("REASON", 0, "reason"),
    Column::new("DROPS/s", 8, "drops_per_s"),
    Column::new("ALL", 7, "drops"),
];
const RULES: &[Column] = &[
    Column::new("RULE", 0, "rule"),
    Column::new("HITS/s", 8, "hits_per_s"),
    Column::new("ALL", 7, "hits"),
    Column::new("LAST", 7, "last_hit_s"),
];

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Model {
    /// The first lines.
    pub(super) title: String,
    pub(super) totals: String,
    /// What an operator should see at once: a daemon that does not answer, a publish that waits.
    pub(super) alarm: Option<String>,
    grids: [Grid; 5],
    json: Value,
}

/// The change of a counter a second; nothing if it was not seen before, or went back, as after a restart.
fn rate(before: &Value, after: &Value, seconds: f64) -> f64 {
    let grown = after.as_u64().zip(before.as_u64()).and_then(|(after, before)| after.checked_sub(before));
    grown.map_or(0.0, |grown| grown as f64 / seconds)
}

/// The elements of a list of `before` and `after` that have one key.
fn joined<'a>(
    before: &'a Value,
    after: &'a Value,
    key: impl Fn(&Value) -> String,
) -> Vec<(&'a Value, &'a Value)> {
    let known: HashMap<String, &Value> = list(before).iter().map(|one| (key(one), one)).collect();
    list(after).iter().map(|one| (known.get(&key(one)).copied().unwrap_or(&Value::Null), one)).collect()
}

impl Model {
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = after.at.duration_since(before.at).as_secs_f64().max(0.001);
        let grids = [
            wires(before, after, seconds),
            workers(before, after, seconds),
            flows(before, after, seconds),
            drops(before, after, seconds),
            rules(before, after, seconds, Timestamp::now()),
        ];
        let status = &after.status;
        let (old, new) = (&before.status["totals"], &status["totals"]);
        let per_s = |key: &str| rate(&old[key], &new[key], seconds);
        let text = |cell: Cell| cell.text();
        let policy = match &status["policy"]["epoch"] {
            Value::Null => "no policy: everything is dropped".to_owned(),
            epoch => format!("epoch {epoch}, {} rules", status["policy"]["rules"]),
        };
        let up = status["uptime_s"].as_u64().unwrap_or(0);
        let waits = &status["awaiting"];
        Self {
            title: format!(
                "ringfence {}, up {}, {policy}, a look in {seconds:.1} s",
                word(&status["version"]),
                text(Cell::Ago(up))
            ),
            totals: format!(
                "{} frames/s, {} bits/s, {} drops/s, {} decisions/s, {} new flows/s",
                text(Cell::Rate(per_s("received"))),
                text(Cell::Bits(8.0 * per_s("received_bytes"))),
                text(Cell::Rate(per_s("dropped"))),
                text(Cell::Rate(per_s("decisions"))),
                text(Cell::Rate(per_s("flows_opened")))
            ),
            alarm: (!waits.is_null()).then(|| {
                let left = waits["left_ms"].as_u64().unwrap_or(0).div_ceil(1000);
                format!("waits to be confirmed: {left} s left, then epoch {} comes back", waits["revert_to"])
            }),
            json: json!({
                "interval_s": seconds,
                "epoch": status["policy"]["epoch"],
                "frames_per_s": per_s("received"),
                "bits_per_s": 8.0 * per_s("received_bytes"),
                "drops_per_s": per_s("dropped"),
                "decisions_per_s": per_s("decisions"),
                "new_flows_per_s": per_s("flows_opened"),
            }),
            grids,
        }
    }

    pub(super) const fn grid(&self, pane: Pane) -> &Grid {
        &self.grids[pane as usize]
    }

    pub(super) const fn grid_mut(&mut self, pane: Pane) -> &mut Grid {
        &mut self.grids[pane as usize]
    }

    /// The same for scripts.
    pub(super) fn json(mut self, filter: &str) -> Value {
        for pane in Pane::ALL {
            let grid = self.grid_mut(pane);
            grid.sort(grid.first_sort, false);
            self.json[self.grids[pane as usize].title] = self.grids[pane as usize].json(filter);
        }
        self.json
    }
}

fn wires(before: &Sample, after: &Sample, seconds: f64) -> Grid {
    let each = joined(&before.status["wires"], &after.status["wires"], |wire| word(&wire["name"]));
    let pairs =
        joined(&before.status["workers"], &after.status["workers"], |worker| worker["number"].to_string());
    let row = |(old, new): (&Value, &Value)| {
        let of = pairs.iter().filter(|(_, worker)| worker["wire"] == new["name"]);
        let sum = |key: &str| -> f64 {
            of.clone().map(|(old, new)| rate(&old["counts"][key], &new["counts"][key], seconds)).sum()
        };
        let lost = ["inside", "outside"].iter().flat_map(|side| {
            let count = |key: &str| rate(&old[*side][key], &new[*side][key], seconds);
            ["lost_before_worker", "lost_by_device", "fallback_dropped"].map(count)
        });
        let lost: f64 = lost.sum();
        let state = |side: &str| word(&new[side]["state"]);
        vec![
            Cell::Text(word(&new["name"])),
            Cell::Rate(sum("received")),
            Cell::Bits(8.0 * sum("received_bytes")),
            Cell::Rate(sum("forwarded")),
            Cell::Rate(sum("dropped")),
            Cell::Rate(lost),
            Cell::Text(format!("{} {}", state("inside"), state("outside"))),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = each.into_iter().map(row).collect();
    rows.extend(proxies(before, after, seconds));
    Grid { title: "wires", columns: WIRES, rows, first_sort: 2 }
}

/// Proxies, beside the wires: they move bytes, and refuse connections where a wire drops frames.
fn proxies(before: &Sample, after: &Sample, seconds: f64) -> Vec<Vec<Cell>> {
    let each = joined(&before.status["proxies"], &after.status["proxies"], |proxy| word(&proxy["name"]));
    let row = |(old, new): (&Value, &Value)| {
        let bytes = ["bytes_from_clients", "bytes_from_servers"];
        let bytes: f64 = bytes.iter().map(|key| rate(&old[*key], &new[*key], seconds)).sum();
        let refused = |proxy: &Value| -> Value {
            let counts = list(&proxy["refused"]).iter().filter_map(|one| one["count"].as_u64());
            if proxy.is_null() { Value::Null } else { json!(counts.sum::<u64>()) }
        };
        vec![
            Cell::Text(format!("{} (proxy)", word(&new["name"]))),
            Cell::None,
            Cell::Bits(8.0 * bytes),
            Cell::None,
            Cell::Rate(rate(&refused(old), &refused(new), seconds)),
            Cell::None,
            Cell::Text(format!("{} open", new["open"])),
        ]
    };
    each.into_iter().map(row).collect()
}

fn workers(before: &Sample, after: &Sample, seconds: f64) -> Grid {
    let pairs =
        joined(&before.status["workers"], &after.status["workers"], |worker| worker["number"].to_string());
    let row = |(old, new): (&Value, &Value)| {
        let per_s = |key: &str| rate(&old["counts"][key], &new["counts"][key], seconds);
        let (hits, others) = (per_s("flow_hits"), per_s("flow_stale") + per_s("flow_misses"));
        let number = new["number"].as_u64().unwrap_or(0);
        vec![
            Cell::Text(format!("{number} {}/{}", word(&new["wire"]), new["queue"])),
            new["epoch"].as_u64().map_or(Cell::None, |epoch| Cell::Text(epoch.to_string())),
            after.loads.share(&before.loads, number, seconds).map_or(Cell::None, Cell::Share),
            Cell::Rate(per_s("received")),
            Cell::Rate(per_s("dropped")),
            Cell::Rate(per_s("decisions")),
            if hits + others > 0.0 { Cell::Share(hits / (hits + others)) } else { Cell::None },
        ]
    };
    Grid { title: "workers", columns: WORKERS, rows: pairs.into_iter().map(row).collect(), first_sort: 0 }
}

fn flows(before: &Sample, after: &Sample, seconds: f64) -> Grid {
    let key = |flow: &Value| {
        let end = |end: &Value| format!("{} {}", word(&end["address"]), end["port"]);
        let [from, to] = [end(&flow["source"]), end(&flow["destination"])];
        format!("{} {from} {to} {}", word(&flow["wire"]), word(&flow["service"]))
    };
    let sum = |both: &Value| -> u64 { list(both).iter().filter_map(Value::as_u64).sum() };
    let row = |(old, new): (&Value, &Value)| {
        // Of a flow that was not among those looked at before, as much as its age allows.
        let age = new["age_s"].as_f64().unwrap_or(0.0).max(seconds);
        let per_s = |key: &str| match old {
            Value::Null => sum(&new[key]) as f64 / age,
            old => sum(&new[key]).saturating_sub(sum(&old[key])) as f64 / seconds,
        };
        let end = |end: &Value| match (who(&end["who"]), labels(&end["labels"])) {
            (name, _) if name == "unknown" => word(&end["address"]),
            (name, labels) if labels.is_empty() => name,
            (name, labels) => format!("{name} ({labels})"),
        };
        vec![
            Cell::Text(end(&new["source"])),
            Cell::Text(end(&new["destination"])),
            Cell::Text(word(&new["service"])),
            Cell::Bits(8.0 * per_s("bytes")),
            Cell::Rate(per_s("packets")),
            Cell::Count(sum(&new["bytes"])),
            Cell::Text(word(&new["rule"])),
        ]
    };
    let pairs = joined(&before.flows["flows"], &after.flows["flows"], key);
    Grid { title: "flows", columns: FLOWS, rows: pairs.into_iter().map(row).collect(), first_sort: 3 }
}

fn drops(before: &Sample, after: &Sample, seconds: f64) -> Grid {
    let pairs = joined(&before.drops["reasons"], &after.drops["reasons"], |one| word(&one["reason"]));
    let rows = pairs.into_iter().filter(|(_, new)| new["count"] != 0).map(|(old, new)| {
        vec![
            Cell::Text(word(&new["reason"])),
            Cell::Rate(rate(&old["count"], &new["count"], seconds)),
            Cell::Count(new["count"].as_u64().unwrap_or(0)),
        ]
    });
    Grid { title: "drops", columns: DROPS, rows: rows.collect(), first_sort: 1 }
}

fn rules(before: &Sample, after: &Sample, seconds: f64, now: Timestamp) -> Grid {
    let pairs = joined(&before.rules["rules"], &after.rules["rules"], |rule| word(&rule["name"]));
    let rows = pairs.into_iter().filter(|(_, new)| new["hits"] != 0).map(|(old, new)| {
        let last = word(&new["last_hit"]).parse::<Timestamp>().ok();
        let ago = last.map(|last| u64::try_from(now.duration_since(last).as_secs()).unwrap_or(0));
        vec![
            Cell::Text(word(&new["name"])),
            Cell::Rate(rate(&old["hits"], &new["hits"], seconds)),
            Cell::Count(new["hits"].as_u64().unwrap_or(0)),
            ago.map_or(Cell::None, Cell::Ago),
        ]
    });
    Grid { title: "rules", columns: RULES, rows: rows.collect(), first_sort: 1 }
}
