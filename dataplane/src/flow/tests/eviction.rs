//! Who goes when the table is full, and what a flood can do.

use super::*;

/// Brings a fresh flow into `class`. All are opened at second 1.
fn make(table: &FlowTable, n: u32, class: Class) -> FlowKey {
    let tcp = matches!(class, Class::HalfOpen | Class::Closed);
    let key = key(if tcp { protocol::TCP } else { protocol::UDP }, n);
    let opened = if class == Class::Expired { at(1) } else { at(40) };
    let handle = insert(table, &key, opened).unwrap().handle;
    match class {
        Class::Closed => {
            handle.observe_tcp(SERVER, &segment(RST | ACK, 0, 101), 60, opened).unwrap();
        }
        Class::Assured => handle.observe(SERVER, 60, opened).unwrap(),
        Class::Expired | Class::HalfOpen | Class::Unreplied => {}
    }
    key
}

#[test]
fn the_least_missed_class_goes_first() {
    use Class::{Assured, Closed, Expired, HalfOpen, Unreplied};
    let cases: [(&str, &[Class], Option<Class>); 6] = [
        ("expired before all", &[Assured, Unreplied, HalfOpen, Closed, Expired], Some(Expired)),
        ("closed next", &[Assured, Unreplied, HalfOpen, Closed], Some(Closed)),
        ("half-open next", &[Assured, Unreplied, HalfOpen], Some(HalfOpen)),
        ("unreplied last", &[Assured, Unreplied], Some(Unreplied)),
        ("assured never", &[Assured], None),
        ("only half-open", &[HalfOpen], Some(HalfOpen)),
    ];
    for (name, classes, expected) in cases {
        // Sixteen slots: both sets are every key's.
        let table = table(16);
        let keys: Vec<FlowKey> =
            (0..16u32).map(|n| make(&table, n, classes[n as usize % classes.len()])).collect();
        assert_eq!(table.views(at(1)).count().max(table.views(at(40)).count()), {
            let expired = classes.iter().filter(|class| **class == Expired).count();
            if expired == 0 { 16 } else { table.views(at(1)).count() }
        });
        let outcome = insert(&table, &udp(1000), at(40));
        match expected {
            Some(class) => {
                let evicted = outcome.unwrap().evicted.unwrap();
                assert_eq!(evicted.class, class, "{name}");
                assert!(keys.contains(&evicted.view.key), "{name}");
                assert!(find(&table, &evicted.view.key, at(40)).is_none(), "{name}");
                assert!(find(&table, &udp(1000), at(40)).is_some(), "{name}");
            }
            None => assert_eq!(outcome.unwrap_err(), DropReason::FlowTableFull, "{name}"),
        }
        assert_sound(&table, at(40));
    }
}

#[test]
fn a_cut_flow_goes_before_a_half_open_one() {
    let table = table(16);
    for n in 0..16 {
        make(&table, n, if n == 5 { Class::Assured } else { Class::HalfOpen });
    }
    cut(&mut find(&table, &udp(5), at(40)).unwrap(), 2, 1).unwrap();
    let evicted = insert(&table, &udp(1000), at(40)).unwrap().evicted.unwrap();
    assert_eq!((evicted.class, evicted.view.key), (Class::Closed, udp(5)));
}

#[test]
fn within_a_class_the_next_to_expire_goes() {
    let table = table(16);
    for n in 0..16u32 {
        insert(&table, &udp(n), at(10 + u64::from((n + 7) % 16))).unwrap();
    }
    let evicted = insert(&table, &udp(1000), at(30)).unwrap().evicted.unwrap();
    assert_eq!(evicted.view.key, udp(9));
}

/// Two choices of eight ways place every flow up to seven tenths, and all but a hundredth at nine tenths.
#[test]
fn the_table_can_be_used_nearly_whole() {
    let table = table(8192);
    let place = |n: u32| match insert(&table, &udp(n), at(1)) {
        Ok(inserted) => inserted.handle.observe(SERVER, 1, at(1)).is_ok(),
        Err(reason) => {
            assert_eq!(reason, DropReason::FlowTableFull);
            false
        }
    };
    let refused = |flows: core::ops::Range<u32>| flows.filter(|n| !place(*n)).count();
    assert_eq!(refused(0..5734), 0, "seven tenths");
    assert!(refused(5734..7372) < 74, "nine tenths");
    assert_sound(&table, at(1));
}

/// Somebody who knew the secret could aim at one set: it costs the flows of that set and nothing else.
#[test]
fn colliding_keys_stay_in_their_sets() {
    let table = table(1 << 12);
    let kept: Vec<FlowKey> = (0..500).map(udp).collect();
    for key in &kept {
        insert(&table, key, at(1)).unwrap().handle.observe(SERVER, 1, at(1)).unwrap();
    }
    let sets = |key: &FlowKey| {
        let hash = table.hash(key).0;
        (hash & 511, hash >> 24 & 511)
    };
    let aim = sets(&udp(1_000_000));
    let aimed: Vec<FlowKey> = (1_000_000..).map(udp).filter(|key| sets(key) == aim).take(3).collect();
    assert_eq!(aimed.len(), 3);
    // The same two sets over and over: sixteen slots, however many keys.
    let one_set: Vec<FlowKey> = (1_000_000..1_200_000).map(udp).filter(|key| sets(key).0 == aim.0).collect();
    assert!(one_set.len() > 300);
    for key in aimed.iter().chain(&one_set) {
        assert!(insert(&table, key, at(1)).is_ok());
    }
    for key in &kept {
        assert!(find(&table, key, at(1)).is_some(), "an assured flow fell to the flood");
    }
    assert_sound(&table, at(1));
}

/// Without the secret the same keys land all over the table.
#[test]
fn another_secret_spreads_the_same_keys() {
    let (known, fresh) = (table(1 << 12), FlowTable::new(1 << 12).unwrap());
    let aimed: Vec<FlowKey> = (0..200_000).map(udp).filter(|key| known.hash(key).0 & 511 == 3).collect();
    let mut loads = [0usize; 512];
    for key in &aimed {
        loads[usize::try_from(fresh.hash(key).0 & 511).unwrap()] += 1;
    }
    let worst = loads.into_iter().max().unwrap();
    assert!(worst < 12, "{} keys that collided under one secret: {worst} in one set", aimed.len());
}

/// A SYN flood fills the table with half-open flows; flows that are open stay, and new ones get in.
#[test]
fn a_syn_flood_evicts_itself() {
    let table = table(256);
    let kept: Vec<FlowKey> = (0..64).map(|n| key(protocol::TCP, n)).collect();
    for key in &kept {
        establish(&table, key, at(1));
    }
    for n in 1000..20_000 {
        let inserted = insert(&table, &key(protocol::TCP, n), at(2)).unwrap();
        assert!(inserted.evicted.is_none_or(|evicted| evicted.class == Class::HalfOpen));
    }
    for key in &kept {
        assert!(find(&table, key, at(2)).is_some());
    }
    establish(&table, &key(protocol::TCP, 30_000), at(3));
    assert_sound(&table, at(3));
}
