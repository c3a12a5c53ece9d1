//! The packet path over memory: policy as text, packets by builder, and what must become of each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod drafts;
mod events;
mod fragments;
mod identity;
mod refusal;
mod revocation;
mod stateful;
mod updates;

use control::policy::valid::Rule;
use control::policy::{CompileOptions, Compiled, SourceFile, compile, load_texts};
use dataplane::verdict::{DropReason, RuleId, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

/// Two workloads inside (`web`, `db`), everybody else outside.
pub(crate) const INVENTORY: &str = r#"
ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [10.0.0.1, "fd00::1"], macs: ["02:04:0a:00:00:01", "02:06:00:00:00:01"], wire: w}
  - {name: db, labels: {role: db}, addresses: [10.0.0.2, "fd00::2"], wire: elsewhere}
  - {name: fresh, labels: {}, addresses: [10.0.0.3, "fd00::3"], wire: w}
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {zone: office}}
"#;

/// `INVENTORY` with these rules, compiled for a process whose only wire is `w`.
pub(crate) fn compiled(rules: &str) -> Compiled {
    compiled_with(rules, |_| {})
}

/// The same, each rule changed by `change` first.
pub(crate) fn compiled_with(rules: &str, change: impl FnMut(&mut Rule)) -> Compiled {
    compiled_text(format!("{INVENTORY}{rules}"), change)
}

/// A whole policy, compiled for a process whose only wire is `w`, each rule changed by `change` first.
pub(crate) fn compiled_text(text: String, change: impl FnMut(&mut Rule)) -> Compiled {
    let file = SourceFile { name: "test.yaml".to_owned(), text };
    let mut loaded = load_texts(&[file]).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    loaded.policy.tiers.iter_mut().flat_map(|tier| &mut tier.rules).for_each(change);
    let wires = ["w".to_owned()];
    compile(&loaded.policy, &CompileOptions { wires: &wires, ..CompileOptions::default() }).unwrap()
}

/// Web may open anything to db; nothing else is allowed.
pub(crate) const WEB_TO_DB: &str = "
rules:
  - {name: web-to-db, from: {role: web}, to: {role: db}, service: any}
";

pub(crate) fn rig(rules: &str) -> Rig {
    Rig::new(compiled(rules).table, &RigOptions::default())
}

pub(crate) fn reason(fate: &Fate) -> Option<DropReason> {
    fate.reason()
}

#[test]
fn before_the_first_policy_nothing_passes() {
    let mut rig = Rig::without_policy(&RigOptions::default());
    let fate = rig.send(Side::Inside, &Packet::udp("10.0.0.1:1", "10.0.0.2:2").build());
    assert_eq!(fate, Fate::Dropped(DropReason::NoPolicy, None));
}

#[test]
fn a_drop_names_the_rule_or_the_default() {
    let compiled = compiled(
        "
rules:
  - {name: no-telnet, from: any, to: {role: db}, service: tcp/23, action: override-deny}
  - {name: web-to-db, from: {role: web}, to: {role: db}, service: any}
",
    );
    let names: Vec<String> = compiled.rules.iter().map(|rule| rule.name.to_string()).collect();
    let named = |id: RuleId| names[id.0 as usize].as_str();
    let mut rig = Rig::new(compiled.table, &RigOptions::default());
    for (name, side, packet, expected) in [
        ("a rule", Side::Inside, Packet::tcp("10.0.0.1:9", "10.0.0.2:23").syn(), "no-telnet"),
        ("the default", Side::Outside, Packet::tcp("192.0.2.9:9", "10.0.0.1:80").syn(), "default/deny"),
        ("quarantine", Side::Inside, Packet::tcp("10.0.0.3:9", "10.0.0.2:80").syn(), "default/quarantine"),
        (
            "unknown to unknown",
            Side::Outside,
            Packet::tcp("8.8.8.8:9", "9.9.9.9:80").syn(),
            "default/unmanaged",
        ),
    ] {
        match rig.send(side, &packet.build()) {
            Fate::Dropped(DropReason::Policy, Some(rule)) => {
                assert_eq!(named(rule), expected, "{name}: {names:?}")
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(rig.publisher.current().unwrap().hits.total(), rig.counters.decisions.get());
}

#[test]
fn other_ethertypes_pass_only_by_name() {
    let lldp = Packet::ether_type(0x88cc, [0; 40]).build();
    let table: &[(&str, &str, Option<DropReason>)] =
        &[("not named", WEB_TO_DB, Some(DropReason::EtherType)), ("named", "ether_types: [lldp]\n", None)];
    for (name, rules, expected) in table {
        assert_eq!(reason(&rig(rules).send(Side::Inside, &lldp)), *expected, "{name}");
    }
}

#[test]
fn frames_pass_unchanged_and_unfinished_checksums_are_completed() {
    let mut rig = rig(WEB_TO_DB);
    for packet in [
        Packet::udp("10.0.0.1:5", "10.0.0.2:5").payload(b"odd"),
        Packet::udp("[fd00::1]:5", "[fd00::2]:5").payload(b"even"),
        Packet::udp("10.0.0.1:6", "10.0.0.2:6").payload(b"tagged").vlan(7),
        Packet::udp("10.0.0.1:7", "10.0.0.2:7").payload(b"twice").qinq(7, 8),
        Packet::sctp("10.0.0.1:8", "10.0.0.2:8"),
        Packet::ip("10.0.0.1", "10.0.0.2", 47).payload(b"gre"),
    ] {
        let whole = packet.clone().build();
        assert_eq!(rig.send(Side::Inside, &whole), Fate::Forwarded(whole.clone()), "as it came");
    }
    for packet in [Packet::udp("10.0.0.1:9", "10.0.0.2:9"), Packet::tcp("[fd00::1]:9", "[fd00::2]:9").syn()] {
        let partial = packet.clone().partial_checksum().build();
        assert_eq!(rig.send(Side::Inside, &partial), Fate::Forwarded(packet.build()), "completed");
    }
    assert_eq!(rig.counters.checksums_finished.get(), 2);
}
