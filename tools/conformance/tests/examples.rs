//! The examples in `config/policies` are conformance cases: what they expect is what the oracle and the compiled table
//! say, nothing about them needs a warning, and together they use every word of the language.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use conformance::oracle;
use control::policy::valid::{TestEnd, ValidPolicy};
use control::policy::{CompileOptions, compile, json_schema, load};
use dataplane::address::Address;
use dataplane::policy::ServiceKey;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies");
    let entries = std::fs::read_dir(folder).expect("the examples are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    paths.sort();
    paths
}

/// The addresses that a test's end stands for.
fn addresses(policy: &ValidPolicy, end: &TestEnd) -> Vec<IpAddr> {
    match end {
        TestEnd::Address(address) => vec![*address],
        TestEnd::Workload(name) => {
            let workload = policy.workloads.iter().find(|workload| workload.name == *name);
            workload.expect("a test names workloads of its policy").addresses.clone()
        }
    }
}

#[test]
fn every_example_means_what_it_says() {
    let (mut asked, mut wrong) = (0, Vec::new());
    for path in examples() {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let loaded = load(std::slice::from_ref(&path)).expect("an example is a good policy");
        let policy = &loaded.policy;
        let compiled = compile(policy, &CompileOptions::default()).expect("an example compiles");
        let admitted = loaded.admit(&compiled).expect("an example's assertions hold");
        assert!(admitted.warnings.is_empty(), "{file}: {}", admitted.warnings);
        assert!(!policy.tests.is_empty(), "{file} expects nothing");
        for test in &policy.tests {
            let (from, to) = (addresses(policy, &test.source), addresses(policy, &test.destination));
            let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
            for (from, to) in pairs.filter(|(from, to)| from.is_ipv4() == to.is_ipv4()) {
                let oracle = oracle::decide(policy, from, to, test.service);
                let [source, destination] = [from, to].map(|one| compiled.table.resolve(Address::from(one)));
                let key = ServiceKey::from_value(test.service).expect("a service of the policy");
                let table = compiled.table.decide(source, destination, key);
                let expected = (test.expect, test.rule.as_deref());
                for (who, verdict, rule) in [
                    ("oracle", oracle.verdict, oracle.rule.as_str()),
                    ("table", table.verdict, compiled.rule_name(table.rule)),
                ] {
                    if (verdict, test.rule.as_ref().map(|_| rule)) != expected {
                        wrong.push(format!("{file}: {}: {who} says {verdict:?} by {rule}", test.name));
                    }
                }
                asked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(asked > 150, "{asked} flows");
}

/// Every field and every word that the schema knows stands in some example, so that none is without one.
#[test]
fn together_they_use_every_word_of_the_language() {
    let text: String =
        examples().iter().map(|path| std::fs::read_to_string(path).expect("readable")).collect();
    let written = |word: &str| {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).any(|one| one == word)
    };
    let mut missing = Vec::new();
    let mut places = vec![json_schema()];
    while let Some(place) = places.pop() {
        match place {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), &value) {
                        ("properties", serde_json::Value::Object(fields)) => {
                            missing.extend(fields.keys().filter(|field| !written(field)).cloned());
                        }
                        ("const", serde_json::Value::String(word)) if !written(word) => {
                            missing.push(word.clone())
                        }
                        ("enum", serde_json::Value::Array(words)) => {
                            let words = words.iter().filter_map(|word| word.as_str());
                            missing.extend(words.filter(|word| !written(word)).map(str::to_owned));
                        }
                        _ => {}
                    }
                    places.push(value);
                }
            }
            serde_json::Value::Array(items) => places.extend(items),
            _ => {}
        }
    }
    assert!(missing.is_empty(), "no example has {missing:?}");
}
