//! What a configuration file may say, what it may not, and what the shipped one says.

use std::path::Path;

use super::accounts::Accounts;
use super::*;

mod proxies;

pub(super) fn parse(text: &str) -> Result<Config, Diagnostics> {
    let source = SourceFile { name: "ringfence.yaml".into(), text: text.into() };
    Config::parse(source, Path::new("/etc/ringfence"))
}

#[test]
fn the_shipped_file_loads_and_its_defaults_are_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/ringfence.yaml");
    let shipped = Config::load(&path).unwrap_or_else(|e| panic!("{e}"));
    let [wire] = shipped.wires.as_slice() else { panic!("one wire") };
    assert_eq!((wire.inside.interface.as_str(), wire.outside.interface.as_str()), ("eth1", "eth2"));
    let minimal = "wires: [{name: segment-a, inside: {interface: eth1}, outside: {interface: eth2}}]";
    let minimal = parse(minimal).unwrap();
    let shipped = Config { policy: Vec::new(), ..shipped };
    assert_eq!(shipped, minimal, "what the file shows as default is not what leaving it out means");
}

#[test]
fn nothing_is_needed() {
    for text in ["", "# only a comment\n", "wires: []\n", "{}"] {
        let config = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        assert!(config.wires.is_empty() && config.policy.is_empty(), "{text:?}");
        assert_eq!(config.socket.mode, 0o660);
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = parse("policy: [a.yaml, /b]\nstate_dir: state\nsocket: {path: s}\n").unwrap();
    assert_eq!(config.policy, [Path::new("/etc/ringfence/a.yaml"), Path::new("/b")]);
    assert_eq!(config.state_dir, Path::new("/etc/ringfence/state"));
    assert_eq!(config.socket.path, Path::new("/etc/ringfence/s"));
}

#[test]
fn exporters_are_off_unless_told_and_have_defaults() {
    assert_eq!(parse("export: {}").unwrap().export, crate::observe::export::Config::default());
    let text = "export: {ipfix: {collector: \"[::1]:4739\"}, jsonl: {path: flows.jsonl, events: [ended]}}";
    let config = parse(text).unwrap().export;
    let (ipfix, jsonl) = (config.ipfix.unwrap(), config.jsonl.unwrap());
    assert_eq!(ipfix.collector, "[::1]:4739".parse().unwrap());
    assert_eq!((ipfix.protocol.name(), ipfix.domain, ipfix.enterprise), ("udp", 1, 32_473));
    assert_eq!((ipfix.message_bytes, ipfix.templates), (1400, Duration::from_secs(60)));
    assert_eq!(ipfix.settings.events, crate::observe::export::told::OCCASIONS);
    assert_eq!(jsonl.path, Path::new("/etc/ringfence/flows.jsonl"));
    assert_eq!((jsonl.rotate_bytes, jsonl.keep, jsonl.settings.queue), (64 << 20, 8, 65_536));
    assert_eq!(jsonl.settings.events, ["ended"]);
}

#[test]
fn loopback_is_asked_for() {
    assert_eq!(parse("").unwrap().http, None);
    for (text, listen) in
        [("127.0.0.1:7077", "127.0.0.1:7077"), ("127.8.8.8:0", "127.8.8.8:0"), ("[::1]:80", "[::1]:80")]
    {
        let http =
            parse(&format!("http: {{listen: \"{text}\", metrics: anyone, namespace: ns}}\n")).unwrap().http;
        let expected = Http {
            listen: listen.parse().unwrap(),
            namespace: Some("/etc/ringfence/ns".into()),
            read: Admission::Token,
            metrics: Admission::Anyone,
        };
        assert_eq!(http, Some(expected), "{text}");
    }
}

/// Name, text, then line, column and a part of the message of each fault.
pub(super) type Refusal = (&'static str, &'static str, &'static [(u32, u32, &'static str)]);

const REFUSALS: &[Refusal] = &[
    ("unknown key", "state_dri: /x\n", &[(1, 1, "state_dri")]),
    ("unknown key inside", "socket:\n  moed: \"0600\"\n", &[(2, 3, "moed")]),
    ("missing", "wires:\n  - name: a\n    inside: {interface: e}\n", &[(3, 5, "outside")]),
    ("not a mapping", "- a\n", &[(1, 1, "")]),
    ("not yaml", "cores: [\n", &[(1, 8, "unclosed")]),
    ("duplicate key", "cores: []\ncores: []\n", &[(2, 1, "cores")]),
    ("number", "flows: {capacity: many}\n", &[(1, 19, "")]),
    ("low", "flows: {capacity: 1}\n", &[(1, 19, "1024 to 67108864")]),
    ("high", "publish_timeout_ms: 600001\n", &[(1, 21, "10 to 600000")]),
    ("mode", "socket: {mode: \"0999\"}\n", &[(1, 16, "permission")]),
    ("setuid", "socket: {mode: \"4660\"}\n", &[(1, 16, "permission")]),
    ("group", "socket: {group: no-such-group}\n", &[(1, 17, "no-such-group")]),
    ("not loopback", "http: {listen: \"0.0.0.0:7077\"}\n", &[(1, 16, "loopback")]),
    ("not loopback, mapped", "http: {listen: \"[::ffff:127.0.0.1]:7077\"}\n", &[(1, 16, "loopback")]),
    ("a name", "http: {listen: \"localhost:7077\"}\n", &[(1, 16, "loopback")]),
    ("no port", "http: {listen: 127.0.0.1}\n", &[(1, 16, "loopback")]),
    ("no address", "http: {read: anyone}\n", &[(1, 8, "listen")]),
    ("admission", "http: {listen: \"[::1]:1\", read: all, metrics: no}\n", &[(1, 33, "all"), (1, 47, "no")]),
    ("user", "access: {read: {users: [no-such-user]}}\n", &[(1, 25, "no-such-user")]),
    (
        "frames",
        "wires: [{name: a, inside: {interface: a}, outside: {interface: b}, frames_per_queue: 5000}]\n",
        &[(1, 86, "power of two")],
    ),
    ("collector", "export: {ipfix: {collector: \"collector.example:4739\"}}\n", &[(1, 29, "collector")]),
    (
        "collector without port",
        "export: {ipfix: {collector: 10.0.0.1}}\n",
        &[(1, 29, "cannot be `10.0.0.1`")],
    ),
    ("no collector", "export: {ipfix: {domain: 1}}\n", &[(1, 18, "collector")]),
    (
        "exporters",
        "export:
  ipfix: {collector: \"[::1]:4739\", transport: sctp, message_bytes: 1199, events: [opened, closed]}
  jsonl: {path: f, rotate_mebibytes: 0, keep: 1001, queue: 3, events: [denied, denied]}
",
        &[
            (2, 47, "`export.ipfix.transport` cannot be `sctp`"),
            (2, 68, "1200 to 65000"),
            (2, 91, "there are no events `closed`"),
            (3, 38, "`export.jsonl.rotate_mebibytes`"),
            (3, 47, "0 to 1000"),
            (3, 60, "1024 to 1048576"),
            (3, 80, "`denied` is named twice"),
        ],
    ),
    ("core", "cores: [0, 1024]\n", &[(1, 12, "0 to 1023")]),
    (
        "all faults at once",
        "wires:
- {name: a b, inside: {interface: e0}, outside: {interface: e/1, mode: fast}, queues: 65}
- {name: b, inside: {interface: e0}, outside: {interface: e2}, fail: ajar}
- {name: b, inside: {interface: e3}, outside: {interface: sixteen-letters-}}
",
        &[
            (2, 10, "name of a wire"),
            (2, 61, "name of an interface"),
            (2, 72, "`mode` cannot be `fast`"),
            (2, 87, "1 to 64"),
            (3, 33, "`e0` is used twice"),
            (3, 70, "`fail` cannot be `ajar`"),
            (4, 10, "`b` is used twice"),
            (4, 59, "name of an interface"),
        ],
    ),
];

#[test]
fn every_fault_has_its_place() {
    assert_places(REFUSALS);
}

/// Each text is refused with exactly these faults.
pub(super) fn assert_places(refusals: &[Refusal]) {
    let mut wrong = Vec::new();
    for (name, text, faults) in refusals {
        let found = parse(text).expect_err(name);
        let found: Vec<_> = found.iter().map(|d| (d.line, d.column, d.message.as_str())).collect();
        let fits = |(found, wanted): (&(u32, u32, &str), &(u32, u32, &str))| {
            (found.0, found.1) == (wanted.0, wanted.1) && found.2.contains(wanted.2)
        };
        if found.len() != faults.len() || !found.iter().zip(*faults).all(fits) {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_missing_file_is_a_diagnostic() {
    let error = Config::load(Path::new("/nonexistent/ringfence.yaml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ringfence.yaml"), "{error}");
}

#[test]
fn accounts_are_found_by_name_and_number() {
    let accounts = Accounts::of(
        "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:100::/:/bin/sh\n",
        "root:x:0:\nops:x:200:ann,bob,gone\nempty:x:201:\nodd\n",
    );
    assert_eq!(accounts.user("ann"), Some(1000));
    assert_eq!(accounts.user("4711"), Some(4711));
    assert_eq!(accounts.user("x"), None);
    assert_eq!(accounts.group("ops"), Some(200));
    assert_eq!(accounts.group("odd"), None);
    for (gid, members) in [(200, vec![1000, 1001]), (201, vec![]), (999, vec![])] {
        assert_eq!(accounts.members(gid).collect::<Vec<_>>(), members, "{gid}");
    }
    let ops = Principals { users: [1000].into(), groups: [200].into() };
    for (uid, gid, allowed) in [(1000, 1, true), (1, 200, true), (1, 1, false), (200, 1000, false)] {
        assert_eq!(ops.contains(uid, gid), allowed, "{uid}:{gid}");
    }
}
