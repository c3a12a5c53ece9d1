//! The tables that cyclonus prints for its example: nine pods, each asked from each.

use std::fs;
use std::path::Path;

use control::policy::{SourceFile, load_texts};
use serde_json::Value;

use crate::estate::{Estate, TCP};
use crate::tally::Tally;

pub(crate) fn tally(folder: &Path) -> Tally {
    let mut tally = Tally::new("cyclonus", "a cell of its table: from a pod to a pod, on one port");
    let read =
        |path: &str| fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let probe: Value = serde_json::from_str(&read("examples/probe.json")).expect("the probe is JSON");
    let mut files = vec![SourceFile { name: "pods.yaml".to_owned(), text: inventory(&probe["Resources"]) }];
    for entry in
        fs::read_dir(folder.join("networkpolicies/simple-example")).expect("the corpus holds the example")
    {
        let path = entry.expect("a directory entry").path();
        let text = fs::read_to_string(&path).expect("the policy can be read");
        files.push(SourceFile { name: path.display().to_string(), text });
    }
    let estate = Estate::of(load_texts(&files)).unwrap_or_else(|faults| panic!("{faults}"));
    let output = read("examples/cyclonus-output/analyze-probe.txt");
    // One table for each port of the probe; what follows them is of another probe, which the corpus does not hold.
    let ports: Vec<u64> = items(&probe["Probes"]).filter_map(|one| one["Port"].as_u64()).collect();
    let tables: Vec<&str> = output.split("Combined:").skip(1).collect();
    for (port, table) in ports.iter().zip(tables) {
        cells(&estate, table, u32::try_from(*port).expect("a port"), &mut tally);
    }
    tally
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The pods of the probe as manifests.
fn inventory(resources: &Value) -> String {
    let mut text = String::new();
    for (name, labels) in resources["Namespaces"].as_object().into_iter().flatten() {
        text.push_str(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: \"{name}\", labels: {labels}}}}}\n---\n"
        ));
    }
    // The probe gives some pods the same address; no policy of the example names one of them.
    for (number, pod) in items(&resources["Pods"]).enumerate() {
        let ports: Vec<String> = items(&pod["Containers"])
            .map(|one| format!("{{containerPort: {}, name: {}}}", one["Port"], one["PortName"]))
            .collect();
        text.push_str(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{namespace: {}, name: {}, labels: {}}}, spec: {{containers: [{{ports: [{}]}}]}}, \
             status: {{podIP: 192.168.2.{}}}}}\n---\n",
            pod["Namespace"], pod["Name"], pod["Labels"], ports.join(", "), number + 1
        ));
    }
    text
}

fn cells(estate: &Estate, table: &str, port: u32, tally: &mut Tally) {
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let [header, rows @ ..] = rows.as_slice() else { panic!("an empty table") };
    for row in rows.iter().take(header.len() - 1) {
        for (destination, cell) in header.iter().zip(row).skip(1) {
            let (source, destination) = (row[0], destination.to_lowercase());
            let expected = match *cell {
                "." => true,
                "X" => false,
                _ => {
                    tally.skip("no pod listens on that port", 1);
                    continue;
                }
            };
            let end = |name: &str| {
                estate.workload(name).unwrap_or_else(|| panic!("there is no {name}")).addresses[0]
            };
            let answer = estate.allows(end(source), end(&destination), TCP << 16 | port);
            tally.count(
                (answer != expected).then(|| format!("{source} -> {destination} tcp/{port} is {answer}")),
            );
        }
    }
}
