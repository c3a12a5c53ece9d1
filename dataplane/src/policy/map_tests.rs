use core::num::NonZeroU32;
use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Filter, Key, Map, with};

fn value(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n | 1).unwrap()
}

#[test]
fn empty_map_finds_nothing() {
    assert_eq!(Map::<u32, NonZeroU32>::new(&[]).unwrap().get(0), None);
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    assert_eq!(Map::new(&[(7_u32, value(1)), (8, value(1)), (7, value(2))]).err(), Some(7));
}

#[test]
fn dense_addresses_spread() {
    let entries: Vec<_> = (0..50_000_u32).map(|n| (0x0a00_0000 + n, value(n))).collect();
    let map = Map::new(&entries).unwrap();
    assert!(entries.iter().all(|(key, value)| map.get(*key) == Some(*value)));
    let largest = map.shards.iter().map(|shard| shard.len()).max().unwrap();
    assert!(largest < 3 * super::SHARD, "a shard of {largest} slots");
    // Runs of full slots are what a lookup walks.
    let longest =
        map.shards.iter().flat_map(|shard| shard.split(Option::is_none).map(<[_]>::len)).max().unwrap();
    assert!(longest < 100, "a run of {longest} slots");
    assert_eq!(size_of::<Option<(u32, NonZeroU32)>>(), 8, "the niche is used");
}

#[test]
fn a_filter_tells_most_absent_hashes() {
    let hash = |n: u64| with(n.wrapping_mul(0x0100_0000_01b3).mix(), 443);
    let mut filter = Filter::new(&(0..39_000).map(hash).collect::<Vec<_>>());
    filter.add(&(39_000..40_000).map(hash).collect::<Vec<_>>());
    assert!((0..40_000).all(|n| filter.passes(hash(n))));
    let passed = (40_000..80_000).filter(|n| filter.passes(hash(*n))).count();
    assert!(passed < 40_000 / 20, "{passed} pass");
    let other = (0..40_000_u64).filter(|n| filter.passes(with(n.wrapping_mul(0x0100_0000_01b3).mix(), 444)));
    assert!(other.count() < 40_000 / 20, "the same keys with another service");
    let small = Filter::new(&(0..9).map(hash).collect::<Vec<_>>());
    assert!(small.passes(hash(10)) && small.bytes() == 0);
}

#[test]
fn a_changed_map_shares_what_it_does_not_change() {
    let entries: Vec<_> = (0..10_000_u32).map(|n| (n, value(n))).collect();
    let old = Map::new(&entries).unwrap();
    let mut new = old.clone();
    new.change(&[5, 77_777], &[(20_000, value(1)), (9, value(3))]);
    assert_eq!((new.get(5), new.get(20_000), new.get(9)), (None, Some(value(1)), Some(value(3))));
    assert_eq!((old.get(5), old.get(20_000), old.get(9)), (Some(value(5)), None, Some(value(9))));
    let shared = old.shards.iter().zip(&new.shards).filter(|(old, new)| Arc::ptr_eq(old, new)).count();
    assert!(shared >= old.shards.len() - 4, "{shared} of {}", old.shards.len());
}

type Change = (Vec<(u64, u64)>, Vec<((u64, u64), u32)>);

fn change() -> impl Strategy<Value = Change> {
    let key = || (0_u64..9, 0_u64..99);
    let put = proptest::collection::vec((key(), 1_u32..), 0..9);
    (proptest::collection::vec(key(), 0..9), put)
}

proptest! {
    #[test]
    fn agrees_with_the_standard_map(
        held in proptest::collection::hash_map((0_u64..9, 0_u64..99), 1_u32.., 0..300),
        changes in proptest::collection::vec(change(), 0..20),
    ) {
        let mut held: HashMap<_, _> = held.into_iter().map(|(k, v)| (k, value(v))).collect();
        let mut map = Map::new(&held.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>()).unwrap();
        let asked: Vec<_> = (0..9).flat_map(|a| (0..99).map(move |b| (a, b))).collect();
        prop_assert!(asked.iter().all(|key| map.get(*key) == held.get(key).copied()));
        for (remove, put) in changes {
            let put: Vec<_> = put.into_iter().map(|(k, v)| (k, value(v))).collect();
            map.change(&remove, &put);
            held.retain(|key, _| !remove.contains(key));
            held.extend(put);
            prop_assert!(asked.iter().all(|key| map.get(*key) == held.get(key).copied()));
        }
    }
}
