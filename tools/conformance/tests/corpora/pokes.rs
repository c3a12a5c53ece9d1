//! The probes of network-policy-api's conformance tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use control::policy::{SourceFile, load_texts};
use serde_json::Value;

use crate::estate::{Estate, SCTP, TCP, UDP};
use crate::tally::Tally;

pub(crate) fn tally(folder: &Path) -> Tally {
    let mut tally = Tally::new("network-policy-api", "a probe: client, server, protocol, port");
    let text = fs::read_to_string(folder.join("pokes.json")).expect("the corpus holds the probes");
    let pokes: Vec<Value> = serde_json::from_str(&text).expect("the probes are JSON");
    let mut estates: BTreeMap<String, Estate> = BTreeMap::new();
    for poke in &pokes {
        if poke["after_patch"] == true {
            tally.skip("the test changes the policy first, in code that the corpus does not hold", 1);
            continue;
        }
        let manifests: Vec<&str> =
            poke["manifests"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let estate = estates.entry(manifests.join(" ")).or_insert_with(|| {
            let base = folder.join("conformance");
            let names = std::iter::once("base/manifests.yaml").chain(manifests.iter().copied());
            let files: Vec<SourceFile> = names.map(|name| filled(&base, name)).collect();
            Estate::of(load_texts(&files)).unwrap_or_else(|faults| panic!("{faults}"))
        });
        tally.count(wrong(estate, poke));
    }
    tally
}

/// A manifest with the ports of pods on the host's network put in, as the conformance tests do before they apply it.
fn filled(base: &Path, name: &str) -> SourceFile {
    let mut text = fs::read_to_string(base.join(name)).expect("the corpus holds the manifest");
    for number in 0..8 {
        text = text
            .replace(&format!("{{{{ index .HostNetworkPorts {number} }}}}"), &(34_345 + number).to_string());
    }
    SourceFile { name: name.to_owned(), text }
}

fn wrong(estate: &Estate, poke: &Value) -> Option<String> {
    let word = |key: &str| poke[key].as_str().unwrap_or_default();
    let protocol = match word("proto") {
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        other => return Some(format!("there is no protocol {other}")),
    };
    let port = u32::try_from(poke["port"].as_u64()?).ok()?;
    let end = |key: &str| estate.workload(word(key)).map(|workload| workload.addresses[0]);
    let (Some(client), Some(server)) = (end("client"), end("server")) else {
        return Some(format!("{} or {} is no workload", word("client"), word("server")));
    };
    let expected = poke["allowed"] == true;
    let answer = estate.allows(client, server, protocol << 16 | port);
    (answer != expected).then(|| format!("{poke}: allowed is {answer}"))
}
