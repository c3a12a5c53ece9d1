use std::collections::BTreeSet;

use dataplane::policy::Publisher;

use super::*;
use crate::policy::{CompileOptions, SourceFile, compile, load_texts};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

struct Bed {
    publisher: Publisher,
    hits: Hits,
}

impl Bed {
    fn new() -> Self {
        Self { publisher: Publisher::new(2), hits: Hits::default() }
    }

    /// Publishes rules of these names at this second.
    fn publish(&mut self, names: &[&str], second: i64) -> Arc<Snapshot> {
        let rule = |name: &&str| format!("  - {{name: {name}, from: any, to: any, service: tcp/1}}\n");
        let text = format!("ringfence: 1\nrules:\n{}", names.iter().map(rule).collect::<String>());
        let text = if names.is_empty() { "ringfence: 1\nrules: []\n".to_owned() } else { text };
        let files = [SourceFile { name: "p".into(), text }];
        let policy = load_texts(&files).unwrap_or_else(|faults| panic!("{faults}")).policy;
        let compiled = compile(&policy, &CompileOptions::default()).unwrap();
        let snapshot = self.publisher.publish_with(Arc::new(compiled.table), Vec::new());
        self.hits.published(Arc::clone(&snapshot), compiled.rules.into(), at(second));
        snapshot
    }

    fn decide(&self, snapshot: &Snapshot, name: &str, times: u64) {
        let (live, _) =
            self.hits.live.iter().find(|(live, _)| live.snapshot.epoch == snapshot.epoch).unwrap();
        let id = live.rules.iter().position(|rule| &*rule.name == name).unwrap();
        (0..times).for_each(|n| snapshot.hits.count((n % 2) as usize, RuleId(id.try_into().unwrap())));
    }

    fn uses(&self, name: &str) -> (u64, Option<i64>) {
        let uses = self.hits.uses().get(name).copied().unwrap_or_default();
        (uses.hits, uses.last.map(Timestamp::as_second))
    }
}

#[test]
fn the_last_hit_is_when_a_count_was_seen_to_grow_under_any_epoch() {
    let mut bed = Bed::new();
    let first = bed.publish(&["a", "b"], 1);
    bed.hits.look(at(2));
    assert_eq!((bed.uses("a"), bed.uses("b")), ((0, None), (0, None)));
    bed.decide(&first, "a", 3);
    bed.hits.look(at(3));
    bed.hits.look(at(4));
    assert_eq!((bed.uses("a"), bed.uses("b")), ((3, Some(3)), (0, None)));
    let second = bed.publish(&["b", "a"], 5);
    bed.decide(&first, "b", 1);
    bed.decide(&second, "a", 2);
    bed.hits.look(at(6));
    assert_eq!((bed.uses("a"), bed.uses("b")), ((5, Some(6)), (1, Some(6))));
    bed.decide(&first, "b", 1);
    bed.hits.retired(&first, at(7));
    assert_eq!((bed.uses("a"), bed.uses("b")), ((5, Some(6)), (2, Some(7))), "seen at the very end");
    let sum: u64 = bed.hits.by_name().values().sum();
    assert_eq!(sum, 7, "as many as decisions");
}

#[test]
fn large_tables_are_looked_at_in_turns() {
    let publisher = Publisher::new(1);
    let rules = u32::try_from(seen::LOOKS).unwrap() + 10;
    let names: Vec<String> = (0..rules).map(|n| format!("r{n}")).collect();
    let mut bed = Bed { publisher, hits: Hits::default() };
    let snapshot = bed.publish(&names.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let last = bed.hits.live[0].0.rules.last().unwrap().name.to_string();
    bed.decide(&snapshot, "r0", 1);
    bed.decide(&snapshot, &last, 1);
    bed.hits.look(at(2));
    assert_eq!((bed.uses("r0"), bed.uses(&last)), ((1, Some(2)), (1, None)));
    bed.hits.look(at(3));
    assert_eq!(bed.uses(&last), (1, Some(3)));
    bed.decide(&snapshot, "r0", 1);
    bed.hits.look(at(4));
    assert_eq!(bed.uses("r0"), (2, Some(4)), "and from the beginning again");
}

#[test]
fn a_rule_is_in_force_since_it_came_without_interruption() {
    let mut bed = Bed::new();
    for (second, names) in
        [(1, &["a", "b", "c"][..]), (2, &["a", "c"]), (3, &["a", "c"]), (4, &["b", "c", "d"])]
    {
        let snapshot = bed.publish(names, second);
        if second < 4 {
            bed.hits.retired(&snapshot, at(9));
        }
    }
    let since = bed.hits.lineage().since();
    let own: BTreeSet<(&str, i64)> = since
        .iter()
        .filter(|(name, _)| ["a", "b", "c", "d"].contains(&&***name))
        .map(|(name, at)| (&**name, at.as_second()))
        .collect();
    assert_eq!(own, [("b", 4), ("c", 1), ("d", 4)].into());
    assert_eq!(since["default/deny"], at(1));
    assert!(Hits::default().lineage().since().is_empty());
}
