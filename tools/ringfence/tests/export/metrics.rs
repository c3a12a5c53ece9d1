//! Metrics, read by promtool and by a Prometheus that scrapes every second; the dashboard and the alerts that are shipped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

use lab::skip_unprivileged;
use serde_json::Value;

use super::bed::{Bed, said, until};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");

/// Series with their values, as the text format has them.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(s, v)| (s.to_owned(), v.parse().unwrap()))
        .collect()
}

/// The same, as Prometheus answers a query of all series of a job.
fn scraped(answer: &str) -> BTreeMap<String, f64> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    let series = answer["data"]["result"].as_array().unwrap().iter().map(|one| {
        let labels = one["metric"].as_object().unwrap();
        let own = labels.iter().filter(|(key, _)| !["__name__", "job", "instance"].contains(&key.as_str()));
        let own: Vec<String> = own.map(|(key, value)| format!("{key}={value}")).collect();
        let value = one["value"][1].as_str().unwrap().parse().unwrap();
        (format!("{}{{{}}}", labels["__name__"].as_str().unwrap(), own.join(",")), value)
    });
    series.filter(|(name, _)| name.contains("ringfence") || name.starts_with("process")).collect()
}

/// A series with its labels in the order of their keys.
fn sorted(series: &str) -> String {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// What promtool thinks of the text.
fn promtool(text: &str) {
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.trim().is_empty(), "{words}");
}

/// Lets a port of the daemon's namespace lead to its socket.
fn forward(bed: &Bed) -> u16 {
    let listener = bed.wire.run(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = bed.file("s.sock");
    thread::spawn(move || {
        for from in listener.incoming() {
            let (mut from, mut to) = (from.unwrap(), UnixStream::connect(&socket).unwrap());
            let (mut back_from, mut back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut back_from, &mut back_to);
                let _ = back_to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

/// Words of an expression that could be names of metrics.
fn metrics_of(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("ringfence_") || word.starts_with("process_"));
    names.map(str::to_owned).collect()
}

/// Every expression of a dashboard, with its variables filled in.
fn expressions(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().filter(|_| ["expr", "definition"].contains(&key.as_str())) {
                    Some(text) => found.push(text.to_owned()),
                    None => expressions(value, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|one| expressions(one, found)),
        _ => {}
    }
}

#[test]
#[ignore = "needs prometheus"]
fn prometheus_has_what_the_socket_says() {
    if skip_unprivileged() {
        return;
    }
    // A proxy whose server is not there, so that its metrics are too.
    let proxy = "proxies: [{name: front, listen: [\"127.0.0.1:15432\"], connect: [\"127.0.0.1:9\"]}]\n";
    let bed = Bed::build("prom", &format!("{proxy}export: {{jsonl: {{path: flows.jsonl}}}}\n"));
    let _daemon = bed.daemon(&[]);
    bed.connection("10.78.0.2", 5_000);
    bed.datagrams("10.78.0.2", 8125, 3);
    bed.refused("10.78.0.2", 22);
    until("a server that is missed", || {
        bed.get("/metrics", "").1.contains("ringfence_degraded{cause=\"no_server\"} 1").then_some(())
    });
    bed.ask(&["policy", "stage", "next", bed.file("policy.yaml").to_str().unwrap()]);
    // Hosts tell of themselves now and then; what is compared is of one moment.
    let (status, head, text) = until("a quiet moment", || {
        let decisions = bed.status()["totals"]["decisions"].clone();
        let (head, text) = bed.get("/metrics", "");
        let status = bed.status();
        (status["totals"]["decisions"] == decisions).then_some((status, head, text))
    });
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    promtool(&text);
    let accept = "accept: application/openmetrics-text;version=1.0.0\r\n";
    let (head, open) = bed.get("/metrics", accept);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(open.ends_with("# EOF\n"));

    let found = samples(&text);
    let rules: f64 =
        found.iter().filter(|(name, _)| name.starts_with("ringfence_rule_hits")).map(|(_, n)| n).sum();
    assert!(rules >= 3.0 && rules == found["ringfence_decisions_total"], "{rules}: {text}");
    assert_eq!(found["ringfence_policy_epoch"], status["policy"]["epoch"].as_f64().unwrap());
    assert_eq!(found["ringfence_decisions_total"], status["totals"]["decisions"].as_f64().unwrap());
    assert!(found["ringfence_flows"] >= 1.0 && found["ringfence_drafts"] == 1.0, "{text}");

    let port = forward(&bed);
    let api = bed.port();
    let rules = fs::canonicalize(format!("{CONFIG}/prometheus/ringfence.rules.yaml")).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n  \
         - {{job_name: ringfence, static_configs: [{{targets: [\"127.0.0.1:{port}\"]}}]}}\n",
        rules.display()
    );
    fs::write(bed.file("prometheus.yml"), config).unwrap();
    let listen = format!("--web.listen-address=127.0.0.1:{api}");
    let (_prometheus, _) =
        bed.beside("prometheus", &["--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen]);
    let query = |query: &str| bed.get_local(api, &format!("/api/v1/query?query={}", encoded(query)));
    // Prometheus is a second behind; when nothing happens, it has the very values of the socket.
    let mut last = String::new();
    let same = || {
        let here = samples(&bed.get("/metrics", "").1);
        let here: BTreeMap<String, f64> =
            here.into_iter().map(|(name, value)| (sorted(&name), value)).collect();
        // While it starts, it answers with a word that is no JSON.
        let answer = query("{job=\"ringfence\"}").filter(|answer| answer.starts_with('{'))?;
        let there = scraped(&answer);
        let differs = |(name, value): &(&String, &f64)| there.get(*name) != Some(*value);
        last = format!("{:?}", here.iter().filter(differs).collect::<Vec<_>>());
        (here == there && here.len() > 80).then_some(())
    };
    let deadline = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until("the same values", same)));
    assert!(deadline.is_ok(), "{last}");

    shipped(&bed, api, &text, &query);
}

/// The dashboard and the alerts use metrics that there are, in expressions that Prometheus takes.
fn shipped(bed: &Bed, api: u16, text: &str, query: &impl Fn(&str) -> Option<String>) {
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let dashboard = fs::read_to_string(format!("{CONFIG}/grafana/ringfence.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    assert!(all.len() > 30, "{all:?}");
    let mut used = Vec::new();
    for expression in &all {
        used.extend(metrics_of(expression));
        if expression.starts_with("label_values") {
            continue;
        }
        let filled = expression.replace("$__rate_interval", "1m").replace("$__interval", "1m");
        let filled = filled.replace("$instance", ".*").replace("$wire", ".*");
        let answer = query(&filled).unwrap();
        assert!(answer.starts_with("{\"status\":\"success\""), "{filled}: {answer}");
    }
    for name in &used {
        assert!(names.contains(&name.as_str()), "the dashboard uses {name}, which there is not");
    }
    for name in names.iter().filter(|name| {
        ![
            "ringfence_held_fragments",
            "ringfence_flow_records",
            "ringfence_flow_records_missed_total",
            "ringfence_export_bytes_total",
        ]
        .contains(name)
    }) {
        assert!(used.iter().any(|used| used == name), "the dashboard does not show {name}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: std::collections::BTreeSet<u64> =
        panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have ids of their own");
    assert!(panels.iter().all(|panel| panel["gridPos"]["w"].is_u64() && panel["title"].is_string()));

    let rules = format!("{CONFIG}/prometheus/ringfence.rules.yaml");
    said("promtool", &["check", "rules", &rules]);
    let alerts = fs::read_to_string(&rules).unwrap();
    for name in metrics_of(&alerts) {
        assert!(names.contains(&name.as_str()), "an alert uses {name}, which there is not");
    }
    let loaded = until("the alerts", || {
        let rules: Value = serde_json::from_str(&bed.get_local(api, "/api/v1/rules")?).unwrap();
        let all = rules["data"]["groups"][0]["rules"].as_array()?.clone();
        all.iter().all(|rule| rule["health"] != "unknown").then_some(all)
    });
    assert_eq!(loaded.len(), alerts.matches("- alert:").count());
    assert!(loaded.iter().all(|rule| rule["health"] == "ok"), "{loaded:?}");
}

/// A query as a part of a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
