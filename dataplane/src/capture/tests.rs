use crate::address::Address;
use crate::headers::{self, Headers, Network};

use super::*;

const AT: Now = Now::from_nanos(5_000_000_000);

fn sieve(change: impl FnOnce(&mut Filter)) -> Arc<Sieve> {
    let mut filter = Filter { fates: Fates::Any, snap_len: 64, ..Filter::default() };
    change(&mut filter);
    Arc::new(Sieve::new(filter))
}

fn packet() -> Vec<u8> {
    testkit::Packet::tcp("10.0.0.1:999", "10.0.0.2:443").syn().payload([7; 100]).build()
}

fn sight(ip: Option<&Ip>) -> Sight<'_> {
    let (fate, epoch, rule) = (Fate::Dropped(DropReason::Policy), Epoch(3), Some(RuleId(9)));
    Sight { at: AT, wire: WireId(1), side: Side::Inside, fate, epoch, rule, ip, order: 0 }
}

fn ip_of(bytes: &[u8]) -> Ip {
    match headers::parse(bytes) {
        Ok(Headers { network: Network::Ip(ip), .. }) => ip,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_that_is_given_must_hold() {
    let bytes = packet();
    let ip = ip_of(&bytes);
    let address = |last| Address::v4([10, 0, 0, last]);
    let prefix = |last: u8, len: u32| {
        let mask = u128::MAX << (32 - len);
        (address(last).bits() & mask, mask)
    };
    type Change = fn(&mut Filter);
    let one = |a, p| Ends::new(a, p);
    let table: &[(&str, Change, bool)] = &[
        ("nothing", |_| (), true),
        ("dropped", |f| f.fates = Fates::Dropped, true),
        ("forwarded", |f| f.fates = Fates::Forwarded, false),
        ("its reason", |f| f.reasons = Filter::reason_bit(DropReason::Policy), true),
        ("another reason", |f| f.reasons = Filter::reason_bit(DropReason::Revoked), false),
        ("its wire", |f| f.wire = Some(WireId(1)), true),
        ("another wire", |f| f.wire = Some(WireId(0)), false),
        ("its side", |f| f.side = Some(Side::Inside), true),
        ("the other side", |f| f.side = Some(Side::Outside), false),
        ("its protocol", |f| f.protocol = Some(6), true),
        ("another protocol", |f| f.protocol = Some(17), false),
        ("its source port", |f| f.port = Some(999), true),
        ("its destination port", |f| f.port = Some(443), true),
        ("another port", |f| f.port = Some(80), false),
    ];
    for (name, change, expected) in table {
        assert_eq!(sieve(change).admits(&sight(Some(&ip))), *expected, "{name}");
    }
    for (name, epoch, rule, expected) in
        [("its rule", 3, 9, true), ("another rule", 3, 10, false), ("a rule of another policy", 4, 10, true)]
    {
        let sieve = sieve(|_| ());
        sieve.name_rule(Epoch(epoch), RuleId(rule));
        assert_eq!(sieve.admits(&sight(Some(&ip))), expected, "{name}");
    }
    for (name, ends, expected) in [
        ("one end", vec![one(vec![address(2), address(9)], vec![])], true),
        ("neither", vec![one(vec![address(3)], vec![])], false),
        ("both", vec![one(vec![address(1)], vec![]), one(vec![address(2)], vec![])], true),
        ("only one of two", vec![one(vec![address(1)], vec![]), one(vec![address(3)], vec![])], false),
        ("a prefix", vec![one(vec![], vec![prefix(0, 24)])], true),
        ("another prefix", vec![one(vec![], vec![prefix(128, 25)])], false),
    ] {
        let sieve = sieve(|f| f.ends = ends);
        assert_eq!(sieve.admits(&sight(Some(&ip))), expected, "{name}");
        assert!(!sieve.admits(&sight(None)), "{name}: no addresses could be read");
    }
    let forwarded = Sight { fate: Fate::Forwarded, ..sight(Some(&ip)) };
    assert!(sieve(|_| ()).admits(&forwarded));
    let reasons = sieve(|f| f.reasons = Filter::reason_bit(DropReason::Policy));
    assert!(!reasons.admits(&forwarded), "what is forwarded has no reason");
    assert!(sieve(|_| ()).admits(&sight(None)));
}

#[test]
fn copies_are_cut_and_what_has_no_room_is_counted() {
    let bytes = packet();
    let ip = ip_of(&bytes);
    let lane = Lane::new(sieve(|_| ()), 3);
    for _ in 0..5 {
        lane.offer(&sight(Some(&ip)), &bytes);
    }
    lane.offer(&Sight { side: Side::Outside, ..sight(Some(&ip)) }, &bytes);
    assert_eq!(lane.counts(Side::Inside), Counts { matched: 5, limited: 0, lost: 2 });
    assert_eq!(lane.counts(Side::Outside), Counts { matched: 1, limited: 0, lost: 1 });
    let copy = lane.next().unwrap();
    assert_eq!((copy.len, copy.bytes.as_slice(), copy.lost_before), (bytes.len(), &bytes[..64], 0));
    assert_eq!((copy.dropped, copy.side()), (Some(DropReason::Policy), Side::Inside));
    lane.give_back(copy);
    lane.offer(&sight(Some(&ip)), &bytes[..20]);
    let all: Vec<_> = std::iter::from_fn(|| lane.next()).collect();
    assert_eq!(all.iter().map(|copy| copy.lost_before).collect::<Vec<_>>(), [0, 0, 2]);
    assert_eq!(all.last().unwrap().bytes, &bytes[..20]);
    assert!(all.iter().all(|copy| copy.bytes.capacity() == 64), "nothing was allocated");
}

#[test]
fn a_rate_holds_for_all_workers_and_each_second() {
    let sieve = sieve(|f| f.rate = 4);
    let lanes = [Lane::new(Arc::clone(&sieve), 100), Lane::new(sieve, 100)];
    for (second, expected) in [(0, 4), (0, 4), (1, 8), (7, 12)] {
        let at = AT.plus_millis(second * 1000);
        for lane in &lanes {
            (0..3).for_each(|_| lane.offer(&Sight { at, ..sight(None) }, &[0; 60]));
        }
        let sums = lanes.iter().map(|lane| lane.counts(Side::Inside));
        let copied: u64 = sums.map(|one| one.matched - one.limited - one.lost).sum();
        assert_eq!(copied, expected, "second {second}");
    }
}

#[test]
fn a_tap_is_open_while_a_capture_runs() {
    let tap = Tap::default();
    assert!(tap.current().is_none());
    let lane = Arc::new(Lane::new(sieve(|_| ()), 1));
    tap.open(Arc::clone(&lane));
    let held = tap.current().unwrap();
    assert!(Arc::ptr_eq(&held, &lane));
    tap.close();
    assert!(tap.current().is_none());
    assert_eq!(Arc::strong_count(&lane), 2, "a worker is still at it");
    drop(held);
    assert_eq!(Arc::strong_count(&lane), 1);
}
