//! What the owner of a proxy can choose, each choice seen from outside.

use std::process::Command;

use lab::skip_unprivileged;

use crate::common::ready;
use crate::daemon::{Daemon, POLICY};
use crate::traffic::{Client, Said, Server, connect, say};
use crate::{CONFIG, refused};

/// A connection that is relayed, and stays.
fn held(daemon: &Daemon, from: &str) -> Client {
    let mut client = connect(daemon.at(), from).unwrap();
    assert_eq!(client.talk(b"here"), Said::Back(b"here".to_vec()), "{from}");
    client
}

#[test]
fn a_source_has_as_many_connections_as_it_may() {
    let server = Server::start();
    let config = CONFIG.replace("connections: 1024", "connections: 1024, per_source: 2");
    let daemon = Daemon::start("source", &config, &server);
    let mut web = vec![held(&daemon, "127.0.77.10"), held(&daemon, "127.0.77.10")];
    assert_eq!(say(daemon.at(), "127.0.77.10", b"a third"), Said::Reset);
    assert_eq!(refused(&daemon.json(&["status"]), "source_limit"), 1);
    assert_eq!(say(daemon.at(), "127.0.77.13", b"others"), Said::Back(b"others".to_vec()));
    assert_eq!(web.pop().unwrap().finish(), Said::Closed);
    daemon.wait(|status| status["proxies"][0]["open"] == 1);
    assert_eq!(say(daemon.at(), "127.0.77.10", b"another"), Said::Back(b"another".to_vec()));
}

#[test]
fn the_server_with_the_fewest_connections_gets_the_next() {
    for (balance, third_goes_to) in [("least-connections", 1), ("round-robin", 0)] {
        let servers = [Server::start(), Server::start()];
        let both = format!("\"127.0.77.30:SERVER\", \"{}\"", servers[1].address());
        let config = CONFIG.replace("\"127.0.77.30:SERVER\"", &both) + &format!("    balance: {balance}\n");
        let daemon = Daemon::start(balance, &config, &servers[0]);
        let counts = || servers.each_ref().map(Server::connections);
        let _first = held(&daemon, "127.0.77.10");
        let second = held(&daemon, "127.0.77.10");
        assert_eq!(counts(), [1, 1], "{balance}");
        assert_eq!(second.finish(), Said::Closed);
        daemon.wait(|status| status["proxies"][0]["open"] == 1);
        let _third = held(&daemon, "127.0.77.10");
        let mut expected = [1, 1];
        expected[third_goes_to] += 1;
        assert_eq!(counts(), expected, "{balance}");
    }
}

#[test]
fn all_workers_of_a_proxy_enforce_what_is_published() {
    let server = Server::start();
    let daemon = Daemon::start("workers", &format!("{CONFIG}    workers: 3\n"), &server);
    let mut clients: Vec<_> = (0..60).map(|_| held(&daemon, "127.0.77.10")).collect();
    let status = daemon.json(&["status"]);
    let front = &status["proxies"][0];
    assert_eq!([&front["workers"], &front["workers_alive"], &front["open"]], [3, 3, 60], "{front}");
    daemon.publish(&POLICY.replace("from: {role: web}", "from: {role: none}"));
    for client in &mut clients {
        assert_eq!(client.talk(b"after"), Said::Reset, "publish has returned");
    }
    for _ in 0..20 {
        assert_eq!(say(daemon.at(), "127.0.77.10", b"again"), Said::Reset);
        assert_eq!(say(daemon.at(), "127.0.77.13", b"again"), Said::Back(b"again".to_vec()));
    }
    daemon.wait(|status| refused(status, "policy") == 20);
    assert_eq!(server.connections(), 80);
}

#[test]
fn a_denied_client_is_reset_or_sees_an_end_and_trying_again_changes_nothing() {
    for (choice, said) in [
        ("on_deny: close", Said::Closed),
        ("on_deny: reset", Said::Reset),
        ("early_refusal: off", Said::Reset),
    ] {
        let server = Server::start();
        let daemon = Daemon::start("deny", &format!("{CONFIG}    {choice}\n"), &server);
        for count in 1..=5 {
            // It says nothing: the kernel resets a connection whose bytes nobody has read, whoever closes it.
            let end = connect(daemon.at(), "127.0.77.11").map_or(Said::Reset, Client::finish);
            assert_eq!(end, said, "{choice}");
            daemon.wait(|status| refused(status, "policy") == count);
        }
        let status = daemon.json(&["status"]);
        let front = &status["proxies"][0];
        let early = front["refused_early"].as_u64().unwrap();
        let possible = choice == "on_deny: reset" && !skip_unprivileged();
        assert_eq!(front["refuses_early"] == "yes", possible, "{choice}: {front}");
        assert_eq!(early, if possible { 4 } else { 0 }, "{choice}: {front}");
        let drops = daemon.json(&["drops"]);
        assert!(drops.to_string().contains("default/deny"), "{choice}: {drops}");
        assert_eq!(server.connections(), 0, "{choice}");
    }
}

#[test]
fn without_privileges_it_works_and_says_what_it_lacks() {
    // Taking them away takes some.
    if skip_unprivileged() {
        return;
    }
    let server = Server::start();
    let mut daemon = Daemon::prepare("plain", CONFIG, &server);
    let mut command = Command::new("setpriv");
    command.args([
        "--bounding-set=-all",
        "--inh-caps=-all",
        env!("CARGO_BIN_EXE_ringfence"),
        "run",
        "--config",
    ]);
    command.arg(daemon.file("ringfence.yaml"));
    daemon.child = Some(ready(&mut command));
    for _ in 0..3 {
        assert_eq!(say(daemon.at(), "127.0.77.11", b"denied"), Said::Reset);
    }
    let status = daemon.json(&["status"]);
    let front = &status["proxies"][0];
    assert_eq!(front["refuses_early"], "it needs CAP_BPF and CAP_NET_ADMIN");
    assert_eq!((&front["refused_early"], refused(&status, "policy")), (&0.into(), 3), "{front}");
}
