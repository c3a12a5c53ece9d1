//! Clients that the kernel refuses, because policy has denied one like them.

use std::thread;

use lab::skip_unprivileged;

use super::*;
use crate::flow::Orientation;
use crate::records::{FlowEvent, Occasion};
use crate::verdict::{DropReason, Epoch, RuleId};

const RESET: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);
const REFUSED: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionRefused);

fn rig(listen: &str, change: impl FnOnce(&mut ProxyConfig)) -> (Rig, TcpListener) {
    let server = if listen.starts_with('[') { TcpListener::bind("[::1]:0").unwrap() } else { server() };
    let mut config = config(listen, &[server.local_addr().unwrap()]);
    change(&mut config);
    (Rig::with(config), server)
}

fn denied(rig: &Rig) -> Vec<FlowEvent> {
    let events = core::iter::from_fn(|| rig.records.next_event());
    events.filter(|event| event.occasion == Occasion::Denied).collect()
}

#[test]
fn whom_policy_denies_the_kernel_refuses_and_the_proxy_accounts_for() {
    if skip_unprivileged() {
        return;
    }
    for (listen, to, source) in
        [("127.0.0.1:0", "", STRANGER), ("0.0.0.0:0", "127.0.0.1", STRANGER), ("[::1]:0", "", "::1")]
    {
        let (rig, _server) = rig(listen, |_| {});
        rig.publish(sample().build());
        assert_eq!(rig.proxy.as_ref().unwrap().status().workers[0].refuses_early, Ok(true), "{listen}");
        let mut address = rig.address;
        if !to.is_empty() {
            address.set_ip(to.parse().unwrap());
        }
        assert_eq!(answer(source, address), RESET, "{listen}: the first is accepted");
        for _ in 0..5 {
            assert_eq!(answer(source, address), REFUSED, "{listen}");
        }
        eventually("all are accounted for", || rig.refused(Refusal::Policy) == 6);
        assert_eq!([rig.counts.accepted.get(), rig.counts.early.get()], [1, 5], "{listen}");
        let events = denied(&rig);
        let own_port = |event: &FlowEvent| match event.initiator {
            Orientation::FromFirst => event.key.first_port,
            Orientation::FromSecond => event.key.second_port,
        };
        let mut ports: Vec<u16> = events.iter().map(own_port).collect();
        ports.dedup();
        assert_eq!((events.len(), ports.len()), (6, 6), "{listen}: {events:?}");
        for event in &events {
            assert_eq!((event.rule, event.epoch), (RuleId::DEFAULT_DENY, events[0].epoch), "{listen}");
            assert_eq!(event.packets, events[0].packets, "{listen}");
        }
        let drops: Vec<_> = core::iter::from_fn(|| rig.records.next_drop()).collect();
        assert_eq!(drops.len(), 6, "{listen}");
        for drop in drops {
            assert_eq!(
                (drop.reason, drop.rule),
                (DropReason::Policy, Some(RuleId::DEFAULT_DENY)),
                "{listen}"
            );
        }
        rig.stop();
    }
}

/// What was denied is allowed as soon as the publish has returned, and the other way round.
#[test]
fn a_newer_policy_is_in_force_at_once() {
    if skip_unprivileged() {
        return;
    }
    let (rig, server) = rig("127.0.0.1:0", |_| {});
    for _ in 0..20 {
        rig.publish(sample().build());
        assert_eq!(answer(FRIEND, rig.address), RESET);
        assert_eq!(answer(FRIEND, rig.address), REFUSED);
        rig.publish(friendly(OnRevoke::Cut));
        let (mut client, mut served) = rig.pair(&server);
        passes(&mut client, &mut served, b"let in");
    }
    rig.stop();
}

#[test]
fn some_are_accepted_before_they_are_refused() {
    if skip_unprivileged() {
        return;
    }
    type Change = fn(&mut ProxyConfig);
    let cases: [(&str, Change, Result<usize, io::ErrorKind>); 3] = [
        ("an orderly close needs a connection", |config| config.on_deny = OnDeny::Close, Ok(0)),
        ("not wanted", |config| config.early = false, RESET),
        (
            "the answer depends on whose turn it is",
            |config| {
                config.listen = vec!["127.0.0.77:0".parse().unwrap()];
                config.backends.push(config.backends[0]);
            },
            RESET,
        ),
    ];
    for (name, change, end) in cases {
        let (rig, _server) = rig("127.0.0.1:0", change);
        rig.publish(sample().build());
        for _ in 0..3 {
            assert_eq!(answer(STRANGER, rig.address), end, "{name}");
        }
        assert_eq!(rig.counts.early.get(), 0, "{name}");
        rig.stop();
    }
}

/// A trusted peer speaks for others: it is never refused for what one of them may not do.
#[test]
fn a_trusted_peer_is_always_heard() {
    if skip_unprivileged() {
        return;
    }
    let stranger = Address::from(STRANGER.parse::<core::net::IpAddr>().unwrap());
    let (rig, server) =
        rig("127.0.0.1:0", |config| config.trusted = vec![Prefix { address: stranger, bits: 32 }]);
    let speak_for = |client: &str| {
        let mut peer = from(STRANGER, rig.address).unwrap();
        let header = format!("PROXY TCP4 {client} 127.0.0.1 4000 {}\r\n", rig.address.port());
        peer.write_all(header.as_bytes()).unwrap();
        peer
    };
    for _ in 0..3 {
        assert_eq!(end_of(&mut speak_for(STRANGER)), RESET);
        let mut peer = speak_for(FRIEND);
        let (mut served, _) = server.accept().unwrap();
        passes(&mut peer, &mut served, b"for a friend");
    }
    rig.stop();
}

/// Clients that try without pause while policies come and go: each attempt has one fate, and is decided once.
#[test]
fn every_attempt_is_accounted_for_once() {
    if skip_unprivileged() {
        return;
    }
    const CLIENTS: usize = 3;
    const ATTEMPTS: u64 = 400;
    let (rig, server) = rig("127.0.0.1:0", |_| {});
    rig.publish(sample().build());
    thread::scope(|scope| {
        let acceptor = scope.spawn(|| {
            // Ends with the word of a client that is let in last.
            server.set_nonblocking(true).unwrap();
            let end = Instant::now() + 3 * LONG;
            while Instant::now() < end {
                let Ok((mut served, _)) = server.accept() else {
                    sleep(Duration::from_millis(1));
                    continue;
                };
                served.set_nonblocking(false).unwrap();
                let mut word = [0; 1];
                if served.read(&mut word).is_ok_and(|read| read == 1) && word == *b"!" {
                    return;
                }
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..ATTEMPTS {
                        // Let in, it says nothing, and the server closes after it.
                        if let Ok(mut stream) = from(FRIEND, rig.address) {
                            let _ = stream.shutdown(std::net::Shutdown::Write);
                            let _ = end_of(&mut stream);
                        }
                    }
                })
            })
            .collect();
        let mut allowed = false;
        while clients.iter().any(|client| !client.is_finished()) {
            allowed = !allowed;
            rig.publish(if allowed { friendly(OnRevoke::Cut) } else { sample().build() });
            sleep(Duration::from_millis(3));
        }
        rig.publish(friendly(OnRevoke::Cut));
        rig.client().write_all(b"!").unwrap();
        acceptor.join().unwrap();
    });
    eventually("all are over", || rig.counts.live.get() + rig.counts.pending.get() == 0);
    let attempts = CLIENTS as u64 * ATTEMPTS + 1;
    let (accepted, early) = (rig.counts.accepted.get(), rig.counts.early.get());
    assert!(early > 0 && accepted > 1, "{accepted} {early}");
    // A client that closes while it is being reset is seen by the kernel once more, as somebody who has no connection.
    assert!((attempts..attempts + accepted).contains(&(accepted + early)), "{accepted} {early}");
    let rig = rig.stop();
    let epochs: Vec<Epoch> = rig.publisher.kept().iter().map(|snapshot| snapshot.epoch).collect();
    assert!(epochs.len() > 2, "{epochs:?}");
}
