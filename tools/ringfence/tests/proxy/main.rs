//! Proxies as their users meet them: the daemon as a process, clients and servers with sockets of their own, addresses
//! of the loopback network as workloads. Only the transparent ones need a privilege.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod choices;
mod daemon;
mod life;
mod readme;
mod takeover;
mod traffic;
mod transparent;

use std::time::Duration;

use daemon::Daemon;
use serde_json::Value;
use traffic::{Said, Server, connect, say};

const CONFIG: &str = "
proxies:
  - name: front
    listen: [\"127.0.77.20:PORT\"]
    connect: [\"127.0.77.30:SERVER\"]
    health: {check: off}
    limits: {connections: 1024}
";

/// The refusals of the first proxy, by reason.
fn refused(status: &Value, reason: &str) -> u64 {
    let all = status["proxies"][0]["refused"].as_array().unwrap();
    all.iter().find(|one| one["reason"] == reason).map_or(0, |one| one["count"].as_u64().unwrap())
}

#[test]
fn policy_is_asked_before_the_server_hears_of_it_and_everything_shows() {
    let server = Server::start();
    let daemon = Daemon::start("shows", CONFIG, &server);
    assert_eq!(say(daemon.at(), "127.0.77.10", b"hello"), Said::Back(b"hello".to_vec()));
    assert_eq!(server.connections(), 1);
    assert_eq!(say(daemon.at(), "127.0.77.11", b"hello"), Said::Reset);
    assert_eq!(say(daemon.at(), "127.0.77.12", b"hello"), Said::Reset);
    assert_eq!(server.connections(), 1, "the server heard of a connection that policy denies");

    let mut open = connect(daemon.at(), "127.0.77.10").unwrap();
    assert_eq!(open.talk(b"one"), Said::Back(b"one".to_vec()));
    let status = daemon.json(&["status"]);
    let front = &status["proxies"][0];
    assert_eq!(
        (&front["name"], front["open"].as_u64(), front["accepted"].as_u64()),
        (&"front".into(), Some(1), Some(4))
    );
    assert_eq!(refused(&status, "policy"), 2);
    assert_eq!(front["servers"][0]["connected"], 2);
    assert!(front["bytes_from_clients"].as_u64().unwrap() >= 8);
    assert_eq!(status["workers"][0]["wire"], "front");
    for (arguments, words) in [
        (&["status"][..], "front"),
        (&["flows"], "web-to-db"),
        (&["flows"], "127.0.77.20"),
        (&["drops"], "default/deny"),
        (&["records"], "web-to-db"),
        (&["records", "--verdict", "deny"], "default/deny"),
        (&["rules"], "web-to-db"),
    ] {
        let shown = daemon.text(arguments);
        assert!(shown.contains(words), "{arguments:?}: {shown}");
    }
    let rules = daemon.json(&["rules"]);
    let hits = rules["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == "web-to-db").unwrap();
    assert_eq!(hits["hits"], 2);
    assert_eq!(rules["decisions"], 4);
    assert_eq!(open.talk(b"two"), Said::Back(b"two".to_vec()), "looking changes nothing");
}

#[test]
fn a_rule_that_goes_takes_its_connections_along_and_no_others() {
    let server = Server::start();
    let daemon = Daemon::start("cut", CONFIG, &server);
    let mut web = connect(daemon.at(), "127.0.77.10").unwrap();
    let mut crm = connect(daemon.at(), "127.0.77.13").unwrap();
    for client in [&mut web, &mut crm] {
        assert_eq!(client.talk(b"before"), Said::Back(b"before".to_vec()));
    }
    daemon.publish(
        &daemon::POLICY.replace("name: web-to-db, from: {role: web}", "name: web-to-db, from: {role: none}"),
    );
    assert_eq!(web.talk(b"after"), Said::Reset, "publish has returned, so the connection is cut");
    assert_eq!(crm.talk(b"after"), Said::Back(b"after".to_vec()));
    assert_eq!(say(daemon.at(), "127.0.77.10", b"again"), Said::Reset);
    // Labels count as policy.
    let labelled = daemon.ask(&["workload", "label", "crm", "role=other"]);
    assert!(labelled.status.success(), "{}", String::from_utf8_lossy(&labelled.stderr));
    assert_eq!(crm.talk(b"more"), Said::Reset);
}

#[test]
fn unhealthy_servers_get_nothing_and_a_proxy_without_any_says_so() {
    let server = Server::start();
    let health = "{interval_ms: 100, timeout_ms: 200, rise: 2, fall: 2}";
    let daemon = Daemon::start("health", &CONFIG.replace("{check: off}", health), &server);
    let healthy = |wanted: bool| {
        daemon.wait(|status| status["proxies"][0]["servers"][0]["healthy"] == wanted);
    };
    healthy(true);
    assert_eq!(say(daemon.at(), "127.0.77.10", b"a"), Said::Back(b"a".to_vec()));
    let place = server.address();
    drop(server);
    healthy(false);
    assert_eq!(say(daemon.at(), "127.0.77.10", b"b"), Said::Reset);
    assert_eq!(refused(&daemon.json(&["status"]), "no_backend"), 1);
    let _server = Server::start_at(place);
    healthy(true);
    assert_eq!(say(daemon.at(), "127.0.77.10", b"c"), Said::Back(b"c".to_vec()));
}

#[test]
fn identity_survives_a_hop_by_the_proxy_protocol() {
    let server = Server::start();
    let config = format!("{CONFIG}    proxy_protocol: {{in: v1v2, trusted: [127.0.77.12/32], out: v1}}\n");
    let daemon = Daemon::start("hop", &config, &server);
    // A peer that is not trusted is who it is; its server is told so.
    let Said::Back(told) = say(daemon.at(), "127.0.77.10", b"x\n") else { panic!("refused") };
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("PROXY TCP4 127.0.77.10 127.0.77.20 ") && told.ends_with("\r\nx\n"), "{told:?}");
    // The trusted one speaks for others, and only as far as policy lets those.
    for (claimed, allowed) in [("127.0.77.10", true), ("127.0.77.11", false)] {
        let mut hop = connect(daemon.at(), "127.0.77.12").unwrap();
        let said = hop.talk(format!("PROXY TCP4 {claimed} 127.0.77.20 4000 5432\r\ny\n").as_bytes());
        match said {
            Said::Back(told) if allowed => {
                let told = String::from_utf8(told).unwrap();
                assert!(told.starts_with("PROXY TCP4 127.0.77.10 ") && told.ends_with("\r\ny\n"), "{told:?}");
            }
            Said::Reset if !allowed => {}
            other => panic!("{claimed}: {other:?}"),
        }
    }
    assert_eq!(
        say(daemon.at(), "127.0.77.12", b"GET / HTTP/1.1\r\n\r\n"),
        Said::Reset,
        "it must say for whom"
    );
    assert_eq!(refused(&daemon.json(&["status"]), "header_invalid"), 1);
}

/// Longer than anything here takes, unless it does not come.
const SOON: Duration = Duration::from_secs(60);
