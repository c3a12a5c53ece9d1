use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::observe::flows::Facts;
use crate::policy::{CompileOptions, Compiled, SourceFile, compile, load_texts};

const ESTATE: &str = "ringfence: 1
workloads:
  - {name: web-1, labels: {app: shop, role: web}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: web-2, labels: {app: shop, role: web}, addresses: [10.0.0.2]}
  - {name: db, labels: {app: [shop, crm], role: db}, addresses: [10.0.0.3]}
  - {name: idle, labels: {role: batch}, addresses: [10.0.0.4]}
  - {name: fresh, addresses: [10.0.0.5]}
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {zone: office}}
  - {name: desk, cidrs: [192.0.2.7/32]}
  - {name: rack, cidrs: [10.0.0.0/24], labels: {env: prod}}
rules:
  - {name: shop-to-db, from: {app: shop, role: web}, to: {role: db}, service: tcp/5432}
";

fn compiled(text: &str) -> (Arc<ValidPolicy>, Compiled) {
    let files = [SourceFile { name: "p".into(), text: text.into() }];
    let policy = load_texts(&files).unwrap_or_else(|faults| panic!("{faults}")).policy;
    let compiled = compile(&policy, &CompileOptions::default()).unwrap();
    (Arc::new(policy), compiled)
}

fn record(source: &str, destination: &str, service: u32, verdict: Verdict, flows: u64) -> FlowRecord {
    FlowRecord {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        service,
        verdict,
        rule: if verdict == Verdict::Allow { "shop-to-db".into() } else { "default/deny".into() },
        potential: None,
        flows,
        packets: flows * 3,
        bytes: flows * 300,
        first_seen: Timestamp::from_second(1000).unwrap(),
        last_seen: Timestamp::from_second(2000).unwrap(),
        drafts: Vec::new(),
        facts: Facts::default(),
        tier: None,
        folded: None,
    }
}

const POSTGRES: u32 = 6 << 16 | 5432;
const HTTP: u32 = 6 << 16 | 80;

fn records() -> Vec<FlowRecord> {
    let observed = FlowRecord {
        potential: Some("default/deny".into()),
        ..record("10.0.0.2", "10.0.0.3", HTTP, Verdict::Allow, 4)
    };
    let late = FlowRecord {
        first_seen: Timestamp::from_second(5000).unwrap(),
        last_seen: Timestamp::from_second(6000).unwrap(),
        ..record("192.0.2.7", "10.0.0.1", HTTP, Verdict::Deny, 7)
    };
    vec![
        record("10.0.0.1", "10.0.0.3", POSTGRES, Verdict::Allow, 10),
        record("10.0.0.2", "10.0.0.3", POSTGRES, Verdict::Allow, 5),
        record("fd00::1", "10.0.0.3", HTTP, Verdict::Allow, 1),
        observed,
        late,
        record("192.0.2.9", "10.0.0.1", HTTP, Verdict::Deny, 2),
        record("10.0.0.5", "10.0.0.3", POSTGRES, Verdict::Reject, 3),
        record("203.0.113.1", "10.0.0.1", HTTP, Verdict::Deny, 6),
    ]
}

fn question() -> Question {
    Question { by: vec!["app".into()], tier: vec!["role".into()], limit: EDGES_MAX, ..Question::default() }
}

/// The map in words: groups with their nodes, then edges.
fn words(map: &Map) -> String {
    let mut text = String::new();
    let mut names = std::collections::HashMap::new();
    for group in &map.groups {
        text += &format!("[{}] {:?} {}:", group.name, group.kind, group.workloads);
        for node in &group.nodes {
            text += &format!(" ({} {} {})", node.name, node.workloads, node.examples.join("|"));
            names.insert(node.id.clone(), format!("{}/{}", group.name, node.name));
        }
        text += "\n";
    }
    for edge in &map.edges {
        let state = |state: State| serde_json::to_value(state).unwrap().as_str().unwrap().to_owned();
        let services = edge.services.iter().map(|one| {
            let draft = one.draft.map_or(String::new(), |draft| format!(" ⇒ {}", state(draft)));
            let rules: Vec<_> =
                [&one.rules, &one.potential, &one.draft_rules].map(|all| all.join("+")).into();
            format!("{}×{} {}{draft}", one.service, one.sums.flows, rules.join("/"))
        });
        let services: Vec<String> = services.collect();
        let draft = edge.draft.map_or(String::new(), |draft| format!(" ⇒ {}", state(draft)));
        text += &format!(
            "{} -> {} {}{draft} ×{}: {}\n",
            names[&edge.from],
            names[&edge.to],
            state(edge.state),
            edge.sums.flows,
            services.join(", ")
        );
    }
    text
}

#[test]
fn a_small_estate_is_drawn() {
    let (policy, _) = compiled(ESTATE);
    let map = draw(&records(), &policy, None, &question());
    let expected = "\
[app=crm+shop] Labelled 1: (role=db 1 db)
[app=shop] Labelled 2: (role=web 2 web-1|web-2)
[no app] Labelled 1: (role=batch 1 idle)
[unlabelled] Unlabelled 1: (unlabelled 1 fresh)
[networks] Network 0: (desk 0 192.0.2.7) (office 0 192.0.2.9)
[unknown] Unknown 0: (unknown 0 203.0.113.1)
networks/desk -> app=shop/role=web blocked ×7: tcp/80×7 default/deny//
app=shop/role=web -> app=crm+shop/role=db potentially-blocked ×4: tcp/80×4 shop-to-db/default/deny/
app=shop/role=web -> app=crm+shop/role=db allowed ×16: tcp/5432×15 shop-to-db//, tcp/80×1 shop-to-db//
unknown/unknown -> app=shop/role=web blocked ×6: tcp/80×6 default/deny//
unlabelled/unlabelled -> app=crm+shop/role=db blocked ×3: tcp/5432×3 default/deny//
networks/office -> app=shop/role=web blocked ×2: tcp/80×2 default/deny//
";
    assert_eq!(words(&map), expected);
    assert_eq!(map.left_out, LeftOut::default());
}

#[test]
fn keys_filters_times_and_limits() {
    let (policy, _) = compiled(ESTATE);
    let ask = |change: &dyn Fn(&mut Question)| {
        let mut question = question();
        change(&mut question);
        draw(&records(), &policy, None, &question)
    };
    let flows = |map: &Map| (map.groups.len(), map.edges.len(), map.totals.flows);
    let label = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    for (what, map, expected) in [
        ("one group", ask(&|q| q.by.clear()), (4, 6, 38)),
        ("no tiers", ask(&|q| q.tier.clear()), (6, 6, 38)),
        ("inherited", ask(&|q| q.by = vec!["env".into()]), (4, 6, 38)),
        ("since", ask(&|q| q.since = Timestamp::from_second(2001).ok()), (5, 1, 7)),
        ("until", ask(&|q| q.until = Timestamp::from_second(1000).ok()), (6, 5, 31)),
        ("either end", ask(&|q| q.labels = label("role", "db")), (3, 3, 23)),
        ("of a network", ask(&|q| q.labels = label("zone", "office")), (2, 2, 9)),
        ("nobody", ask(&|q| q.labels = label("role", "x")), (0, 0, 0)),
        ("a name", ask(&|q| q.search = Some("WEB-2".into())), (2, 2, 9)),
        ("a label", ask(&|q| q.search = Some("app=crm".into())), (3, 3, 23)),
        ("an address", ask(&|q| q.search = Some("203.0".into())), (2, 1, 6)),
        ("a network", ask(&|q| q.search = Some("desk".into())), (2, 1, 7)),
    ] {
        assert_eq!(flows(&map), expected, "{what}\n{}", words(&map));
    }
    let names = |map: &Map| map.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        names(&ask(&|q| q.by = vec!["env".into()])),
        ["env=prod", "unlabelled", "networks", "unknown"]
    );
    let two = ask(&|q| q.by = vec!["role".into(), "app".into()]);
    assert_eq!(names(&two)[..2], ["role=batch,no app", "role=db,app=crm+shop"]);
    let few = ask(&|q| q.limit = 3);
    let states: Vec<_> = few.edges.iter().map(|edge| edge.state).collect();
    assert_eq!(
        states,
        [State::Blocked, State::PotentiallyBlocked, State::Allowed],
        "each state has its turn"
    );
    assert_eq!((few.left_out.edges, few.left_out.flows, few.totals.flows), (3, 11, 38));
}

#[test]
fn a_draft_is_asked_by_its_own_table() {
    let (policy, _) = compiled(ESTATE);
    let (_, draft) = compiled(&ESTATE.replace("service: tcp/5432", "service: tcp/80"));
    let map = draw(&records(), &policy, Some(draft.named()), &question());
    let text = words(&map);
    let line = "app=shop/role=web -> app=crm+shop/role=db allowed ⇒ blocked ×16: tcp/5432×15 \
                shop-to-db//default/deny ⇒ blocked, tcp/80×1 shop-to-db//";
    assert!(text.contains(line), "{text}");
    let line = "potentially-blocked ⇒ allowed ×4: tcp/80×4 shop-to-db/default/deny/shop-to-db ⇒ allowed\n";
    assert!(text.contains(line), "{text}");
}

proptest! {
    #[test]
    fn every_record_is_on_one_edge_and_the_sums_agree(
        picked in proptest::collection::vec((0usize..12, 0usize..12, 0u32..4, 0u8..4, 1u64..1000), 0..200),
        by in proptest::sample::subsequence(vec!["app", "role", "env"], 0..=3),
        tier in proptest::sample::subsequence(vec!["app", "role", "zone"], 0..=3),
        limit in 1usize..40,
    ) {
        let (policy, _) = compiled(ESTATE);
        let addresses = [
            "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "fd00::1", "fd00::2",
            "192.0.2.7", "192.0.2.8", "203.0.113.1", "203.0.113.2",
        ];
        let records: Vec<FlowRecord> = picked.iter().map(|(from, to, port, said, flows)| {
            let verdict = [Verdict::Allow, Verdict::Allow, Verdict::Deny, Verdict::Reject][usize::from(*said)];
            let record = record(addresses[*from], addresses[*to], 6 << 16 | port, verdict, *flows);
            FlowRecord { potential: (*said == 1).then(|| "x".into()), ..record }
        }).collect();
        let own = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        let mut question = Question { by: own(by), tier: own(tier), limit: EDGES_MAX, ..Question::default() };
        let map = draw(&records, &policy, None, &question);
        let mut sums = Sums::default();
        map.edges.iter().for_each(|edge| sums.add(&edge.sums));
        prop_assert_eq!(sums, map.totals);
        prop_assert_eq!(sums.records, records.len() as u64);
        prop_assert_eq!(sums.flows, records.iter().map(|record| record.flows).sum::<u64>());
        for edge in &map.edges {
            let mut services = Sums::default();
            edge.services.iter().for_each(|one| services.add(&one.sums));
            prop_assert_eq!(services, edge.sums);
        }
        let nodes: Vec<&Node> = map.groups.iter().flat_map(|group| &group.nodes).collect();
        let ids: std::collections::HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        prop_assert_eq!(ids.len(), nodes.len());
        prop_assert!(map.edges.iter().all(|e| ids.contains(e.from.as_str()) && ids.contains(e.to.as_str())));
        prop_assert_eq!(nodes.iter().map(|node| node.workloads).sum::<u64>(), 5);
        question.limit = limit;
        let less = draw(&records, &policy, None, &question);
        prop_assert_eq!(&less.edges[..], &map.edges.iter().take(limit).cloned().map(|edge| {
            let at = less.edges.iter().find(|one| one.id == edge.id).unwrap();
            Edge { from: at.from.clone(), to: at.to.clone(), ..edge }
        }).collect::<Vec<_>>()[..]);
        let shown: u64 = less.edges.iter().map(|edge| edge.sums.flows).sum();
        prop_assert_eq!(shown + less.left_out.flows, map.totals.flows);
    }
}
