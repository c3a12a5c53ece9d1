//! Generated input: selectors that are shown parse back, and no text can do harm.

use proptest::prelude::*;

use super::{BASE, load};
use crate::policy::diagnostics::Code;
use crate::policy::valid::{Requirement, Selector};

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9]([a-zA-Z0-9._-]{0,8}[a-zA-Z0-9])?",
        1 => prop::sample::select(vec!["null", "Null", "true", "on", "off", "1.10", "0x10", "1e3", "no"]).prop_map(str::to_owned),
    ]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(word(), 1..4).prop_map(|set| set.into_iter().collect())
}

/// Every kind of requirement, several of them about one key now and then.
fn selector() -> impl Strategy<Value = Selector> {
    let names = |all: &'static [&'static str]| {
        prop::sample::subsequence(all, 1..=all.len())
            .prop_map(|some| some.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let one = (0..3_u8, word(), words(), names(&["db", "web"]), names(&["home", "office"]), 0..9_u8)
        .prop_map(|(key, other, words, workloads, networks, kind)| {
            let key = if key == 0 { format!("k{other}") } else { format!("example.org/k{key}") };
            match kind {
                0 => Requirement::In(key, words),
                1 => Requirement::NotIn(key, words),
                2 => Requirement::Exists(key),
                3 => Requirement::NotExists(key),
                4 => Requirement::Workload(workloads),
                5 => Requirement::Network(networks),
                6 => Requirement::NotNetwork(networks),
                7 => Requirement::AnyWorkload,
                _ => Requirement::NoWorkload,
            }
        });
    prop::collection::btree_set(one, 0..5)
        .prop_map(|requirements| Selector { requirements: requirements.into_iter().collect() })
}

proptest! {
    #[test]
    fn a_selector_that_is_shown_parses_back(selector in selector()) {
        let home = "---\nringfence: 1\nnetworks: [{name: home, cidrs: 192.0.2.0/24}]\n";
        let rule = format!("{{name: r, from: {selector}, to: any-workload, service: any}}");
        let text = format!("ringfence: 1\nrules: [{rule}]\n{home}{BASE}");
        let loaded = load(&text).map_err(|errors| TestCaseError::fail(format!("{text}{errors}")))?;
        prop_assert_eq!(&loaded.policy.tiers[2].rules[0].from, &vec![selector]);
    }

    #[test]
    fn mutated_policies_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, "[-:,\\[\\]{}&*!|>'\"%@`#\\n\\t a-z0-9\u{0}\u{feff}é]{1,3}"), 1..12),
    ) {
        let sample = include_str!("../../../../../config/policies/three-tier.yaml");
        let mut text: Vec<char> = sample.chars().collect();
        for (at, kind, piece) in &edits {
            let at = at.index(text.len() + 1);
            match kind {
                0 => drop(text.splice(at..at, piece.chars())),
                1 => drop(text.drain(at..(at + piece.chars().count()).min(text.len()))),
                2 => text.iter_mut().skip(at).take(1).for_each(|c| *c = piece.chars().next().unwrap_or(' ')),
                _ => text.truncate(at),
            }
        }
        let text: String = text.into_iter().collect();
        match load(&text) {
            Ok(loaded) => drop(loaded.warnings.render(true)),
            Err(errors) => drop((errors.render(false), serde_json::to_string(&errors).unwrap())),
        }
    }

    #[test]
    fn bytes_of_any_kind_never_panic(text in "\\PC{0,200}") {
        let _ = load(&text);
        let _ = load(&format!("ringfence: 1\nrules: {text}\n{BASE}"));
    }
}

#[test]
fn small_files_cannot_grow_large() {
    let laughs: String = (1..30).fold("ringfence: 1\na0: &a0 [x, x, x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        format!("{text}a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n")
    });
    let deep = format!("ringfence: 1\nrules: {}", "[".repeat(100_000));
    let deep_block: String = (0..5_000).fold("ringfence: 1\nrules:\n".to_owned(), |text, depth| {
        if depth > 200 { text } else { format!("{text}{}-\n", " ".repeat(depth)) }
    });
    let nested_maps = format!("ringfence: 1\nrules: {}", "{a: ".repeat(1_000));
    for (name, text) in
        [("aliases", &laughs), ("flow", &deep), ("block", &deep_block), ("mappings", &nested_maps)]
    {
        let errors = load(text).unwrap_err();
        assert!(errors.iter().any(|one| one.code == Code::Limit), "{name}: {errors}");
    }
}

#[test]
fn many_keys_and_many_values_take_time_in_proportion() {
    let keys: String = (0..50_000).map(|number| format!("k{number}: v, ")).collect();
    let text =
        format!("ringfence: 1\nworkloads: [{{name: a, addresses: 1.1.1.1, labels: {{{keys}k7: v}}}}]\n");
    let errors = load(&text).unwrap_err();
    let codes: Vec<_> = errors.iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::Limit, Code::DuplicateKey]);
}

#[test]
fn a_flood_of_faults_in_a_large_policy_ends() {
    let workloads: String = (0..20_000_u32)
        .map(|n| format!("- {{name: host-{n}, addresses: 10.0.{}.{}}}\n", n >> 8, n & 255))
        .collect();
    let rules: String = (0..20_000)
        .map(|n| format!("- {{name: r{n}, from: {{workload: hast-{n}}}, to: any, service: serv-{n}}}\n"))
        .collect();
    let errors = load(&format!("ringfence: 1\nworkloads:\n{workloads}rules:\n{rules}")).unwrap_err();
    assert_eq!((errors.len(), errors.omitted()), (500, 39_500));
    let first = errors.iter().next().and_then(|one| one.help.clone());
    assert_eq!(first.as_deref(), Some("did you mean `host-0`?"));
}

#[test]
fn a_document_that_does_not_begin_with_its_marker_is_read_all_the_same() {
    let text = "workloads: [{name: a, labels: {k: v}, addresses: 10.0.0.1}]\nringfence: 1\n";
    let swapped = "ringfence: 1\nworkloads: [{name: a, labels: {k: v}, addresses: 10.0.0.1}]\n";
    assert_eq!(load(text).unwrap().hash(), load(swapped).unwrap().hash());
}
