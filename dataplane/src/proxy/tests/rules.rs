use std::thread;

use super::*;
use crate::clock::Now;
use crate::policy::{GateMode, HitAction};
use crate::records::{Ending, FlowEvent, Occasion};
use crate::verdict::{DropReason, RuleId, Verdict};

const RESET: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);
/// The first rule of a [`Sample`].
const FIRST: RuleId = RuleId::FIRST;

fn events(rig: &Rig) -> Vec<FlowEvent> {
    core::iter::from_fn(|| rig.records.next_event()).collect()
}

/// Whether nobody has connected to a server within a moment.
fn is_lonely(server: &TcpListener) -> bool {
    sleep(Duration::from_millis(50));
    server.set_nonblocking(true).unwrap();
    let nobody = server.accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    server.set_nonblocking(false).unwrap();
    nobody
}

#[test]
fn a_denied_client_is_reset_before_the_server_hears_of_it() {
    let rejecting = || sample().rule(Who::Workload(1), Who::Workload(2), TCP, HitAction::Reject).build();
    for (name, table, on_deny, end, refusal, drop, rule) in [
        (
            "default",
            friendly(OnRevoke::Cut),
            OnDeny::Reset,
            RESET,
            Refusal::Policy,
            DropReason::Policy,
            RuleId::DEFAULT_DENY,
        ),
        (
            "default, closed",
            friendly(OnRevoke::Cut),
            OnDeny::Close,
            Ok(0),
            Refusal::Policy,
            DropReason::Policy,
            RuleId::DEFAULT_DENY,
        ),
        ("rejected", rejecting(), OnDeny::Close, RESET, Refusal::Rejected, DropReason::Rejected, FIRST),
    ] {
        let server = server();
        let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
        config.on_deny = on_deny;
        let rig = Rig::with(config);
        rig.publish(table);
        assert_eq!(answer(STRANGER, rig.address), end, "{name}");
        assert!(is_lonely(&server), "{name}");
        assert_eq!(rig.refused(refusal), 1, "{name}");
        let events = events(&rig);
        assert_eq!(events.len(), 1, "{name}: {events:?}");
        assert_eq!((events[0].occasion, events[0].rule), (Occasion::Denied, rule), "{name}");
        let record = rig.records.next_drop().unwrap();
        assert_eq!((record.reason, record.rule, record.wire), (drop, Some(rule), WireId(3)), "{name}");
        assert_eq!(record.flow.unwrap().service, TCP.0 | u32::from(rig.address.port()), "{name}");
        assert_eq!(rig.counters.dropped(drop).get(), 1, "{name}");
        rig.stop();
    }
}

#[test]
fn without_a_policy_nobody_gets_in() {
    let server = server();
    let config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    let listeners = open_listeners(&config).unwrap();
    let publisher = Publisher::new(1);
    let counts = Arc::new(ProxyCounters::new(1));
    let parts = ProxyParts {
        worker: 0,
        reader: publisher.reader(0),
        flows: Arc::new(FlowTable::new(64).unwrap()),
        counters: Arc::default(),
        records: Arc::default(),
        proxy: Arc::clone(&counts),
    };
    let proxy = Proxy::start(config, listeners, vec![parts]).unwrap();
    assert_eq!(answer(FRIEND, proxy.status().listen[0]), RESET);
    assert_eq!(counts.refused(Refusal::NoPolicy).get(), 1);
    assert!(is_lonely(&server));
    proxy.stop(Duration::ZERO);
}

/// What policy is asked about: the address connected to if it is a workload's, else the back end's, or what is told.
#[test]
fn the_destination_is_the_listener_the_back_end_or_what_is_told() {
    let only = |port: u16| {
        let service = TCP.0 | u32::from(port);
        sample().allow(Who::Workload(0), Who::Workload(2), (service, service)).build()
    };
    for (name, listen, told) in [
        ("the listener is a workload", "127.0.0.1:0", None),
        ("the listener is nobody", "127.0.0.77:0", None),
        ("a wildcard is nobody", "0.0.0.0:0", None),
        ("told", "127.0.0.1:0", Some(7777)),
    ] {
        let server = server();
        let mut config = config(listen, &[server.local_addr().unwrap()]);
        config.policy_destination = told.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let rig = Rig::with(config);
        let backend = server.local_addr().unwrap().port();
        let port = match (name, told) {
            (_, Some(port)) => port,
            ("the listener is a workload", _) => rig.address.port(),
            _ => backend,
        };
        let to = if rig.address.ip().is_unspecified() {
            ([127, 0, 0, 1], rig.address.port()).into()
        } else {
            rig.address
        };
        rig.publish(only(port));
        let mut client = from(FRIEND, to).unwrap();
        let (mut served, _) = server.accept().unwrap();
        passes(&mut client, &mut served, b"x");
        rig.publish(only(1));
        assert_eq!(end_of(&mut client), RESET, "{name}: cut");
        assert_eq!(answer(FRIEND, to), RESET, "{name}: denied");
        rig.stop();
    }
}

#[test]
fn a_publish_cuts_idle_connections_and_those_that_connect() {
    let server = server();
    let rig = Rig::new(&server);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"before");
    let other = friendly(OnRevoke::Cut);
    rig.publish(other);
    passes(&mut client, &mut served, b"still allowed");
    rig.publish(sample().build());
    assert_eq!([end_of(&mut client), end_of(&mut served)], [RESET, RESET]);
    eventually("it is over", || rig.ended(Fate::Revoked) == 1);
    let events = events(&rig);
    let told: Vec<_> = events.iter().map(|event| (event.occasion, event.verdict)).collect();
    let expected = [
        (Occasion::Opened, Verdict::Allow),
        (Occasion::Redecided, Verdict::Deny),
        (Occasion::Ended(Ending::Cut), Verdict::Allow),
    ];
    assert_eq!(told, expected);
    assert_eq!(events[2].bytes.iter().sum::<u64>(), 19);
    assert_eq!(rig.counters.flows_cut.get(), 1);
    rig.stop();
}

/// No byte that comes after the publish has returned is relayed, whoever is faster.
#[test]
fn nothing_passes_after_a_publish() {
    let server = server();
    let rig = Rig::new(&server);
    for round in 0..20 {
        rig.publish(friendly(OnRevoke::Cut));
        let (mut client, mut served) = rig.pair(&server);
        passes(&mut client, &mut served, b"x");
        rig.publish(sample().build());
        let _ = client.write_all(b"too late");
        assert_eq!(end_of(&mut served), RESET, "round {round}");
    }
    rig.stop();
}

#[test]
fn a_revoked_connection_drains_or_is_kept_as_its_rule_says() {
    let server = server();
    let rig = Rig::new(&server);
    rig.publish(friendly(OnRevoke::Drain(1)));
    let (mut client, mut served) = rig.pair(&server);
    let begun = Instant::now();
    rig.publish(sample().build());
    passes(&mut client, &mut served, b"draining");
    assert_eq!(end_of(&mut client), RESET);
    assert!(begun.elapsed() > Duration::from_millis(900), "cut after {:?}", begun.elapsed());
    assert_eq!(rig.ended(Fate::Revoked), 1);

    rig.publish(friendly(OnRevoke::Keep));
    let (mut client, mut served) = rig.pair(&server);
    rig.publish(sample().build());
    rig.publish(sample().build());
    sleep(Duration::from_millis(100));
    passes(&mut client, &mut served, b"kept");
    assert_eq!(answer(FRIEND, rig.address), RESET, "a new one is denied");
    let rules: Vec<_> = events(&rig)
        .iter()
        .filter(|event| event.occasion == Occasion::Redecided)
        .map(|event| event.rule)
        .collect();
    assert!(rules.contains(&RuleId::KEPT) && rules.contains(&RuleId::DRAINING), "{rules:?}");
    rig.stop();
}

#[test]
fn a_gate_that_observes_lets_pass_and_tells() {
    let server = server();
    let rig = Rig::new(&server);
    let observed = Sample::new()
        .workload(&[FRIEND])
        .mode(GateMode::Observe)
        .workload(&["127.0.0.1"])
        .mode(GateMode::Observe)
        .build();
    rig.publish(observed);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"x");
    assert_eq!(rig.counters.potentially_blocked.get(), 1);
    assert_eq!(events(&rig)[0].potential, Some(RuleId::DEFAULT_DENY));
    rig.stop();
}

#[test]
fn drafts_are_asked_and_change_nothing() {
    let server = server();
    let rig = Rig::new(&server);
    let drafts = vec![(7, Arc::new(sample().build()))];
    let epoch = rig.publisher.publish_with(friendly(OnRevoke::Cut), drafts).epoch;
    rig.proxy.as_ref().unwrap().waker().wake();
    eventually("the epoch", || rig.publisher.reported() == [Some(epoch)]);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"x");
    let snapshot = rig.publisher.current().unwrap();
    assert_eq!([snapshot.drafts[0].hits.total(), snapshot.hits.total()], [1, 1]);
    assert_ne!(events(&rig)[0].drafts.differing(crate::verdict::Answer::Allow), 0);
    drop(snapshot);
    rig.stop();
}

#[test]
fn connections_stand_in_the_flow_table() {
    let server = server();
    let rig = Rig::new(&server);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"hello");
    passes(&mut served, &mut client, b"hi");
    let view = || rig.flows.views(Now::read()).collect::<Vec<_>>();
    eventually("the table is told of the bytes", || view()[0].bytes.iter().sum::<u64>() == 7);
    let flow = view()[0];
    let (source, destination) = flow.key.addresses(flow.initiator);
    assert_eq!(
        (source.to_ip(), destination.to_ip()),
        (FRIEND.parse().unwrap(), "127.0.0.1".parse::<std::net::IpAddr>().unwrap())
    );
    assert_eq!((flow.key.wire, flow.rule, flow.cut), (WireId(3), FIRST, false));
    drop((client, served));
    eventually("it leaves the table", || view().is_empty());
    let events = events(&rig);
    assert_eq!(events.last().unwrap().occasion, Occasion::Ended(Ending::Finished));
    assert_eq!(events.last().unwrap().bytes.iter().sum::<u64>(), 7);
    rig.stop();
}

#[test]
fn ipv6_is_the_same() {
    let server = TcpListener::bind("[::1]:0").unwrap();
    let mut config = config("[::1]:0", &[server.local_addr().unwrap()]);
    config.policy_destination = Some("[fd00::5]:80".parse().unwrap());
    let rig = Rig::with(config);
    let mut client = from("::1", rig.address).unwrap();
    let (mut served, _) = server.accept().unwrap();
    passes(&mut client, &mut served, &[1; 50_000]);
    passes(&mut served, &mut client, &[2; 50_000]);
    rig.publish(sample().build());
    assert_eq!(end_of(&mut client), RESET);
    assert_eq!(answer("::1", rig.address), RESET);
    rig.stop();
}

/// Publishes while connections come and go: hits and decisions agree, and nobody is left behind.
#[test]
fn decisions_are_counted_once_while_policies_change() {
    let server = server();
    let rig = Rig::new(&server);
    let to = rig.address;
    let clients = thread::spawn(move || {
        for _ in 0..150 {
            if let Ok(mut client) = from(FRIEND, to) {
                let _ = client.write_all(b"x");
                let _ = client.read(&mut [0; 1]);
            }
        }
    });
    let echo = server.try_clone().unwrap();
    thread::spawn(move || {
        for stream in echo.incoming().flatten() {
            patient(&stream);
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    let mut round = 0;
    while !clients.is_finished() {
        round += 1;
        rig.publish(if round % 2 == 0 { friendly(OnRevoke::Cut) } else { sample().build() });
        sleep(Duration::from_millis(3));
    }
    clients.join().unwrap();
    rig.stop();
}
