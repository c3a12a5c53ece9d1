//! Transparent proxies on a router between clients and a server, set up by the very commands of
//! `config/proxy/README.md`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lab::{End, Namespace, skip_unprivileged, veth};

use crate::SOON;
use crate::common::Daemon;

const README: &str = include_str!("../../../../config/proxy/README.md");

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [10.0.1.10, \"fd00:1::10\"]}
  - {name: batch, labels: {role: batch}, addresses: [10.0.1.11, \"fd00:1::11\"]}
  - {name: db, labels: {role: db}, addresses: [10.0.2.10, \"fd00:2::10\"]}
rules:
  - {name: web-to-db, from: {role: web}, to: {role: db}, service: tcp/5432}
";

/// A client's host, the router with the daemon, and a server's host.
struct Lab {
    clients: Namespace,
    router: Namespace,
    servers: Namespace,
}

impl Lab {
    fn build(prefix: &str) -> Self {
        let host = |name: &str| Namespace::create(&format!("{prefix}-{name}")).unwrap();
        let (clients, router, servers) = (host("clients"), host("router"), host("servers"));
        veth(&End::new(&clients, "eth0"), &End::new(&router, "inner")).unwrap();
        veth(&End::new(&servers, "eth0"), &End::new(&router, "outer")).unwrap();
        for (host, link, net, numbers) in [
            (&clients, "eth0", 1, &[10, 11][..]),
            (&router, "inner", 1, &[1]),
            (&router, "outer", 2, &[1]),
            (&servers, "eth0", 2, &[10]),
        ] {
            for number in numbers {
                host.address(link, &format!("10.0.{net}.{number}/24")).unwrap();
                host.address(link, &format!("fd00:{net}::{number}/64")).unwrap();
            }
        }
        router.forward().unwrap();
        for (host, net) in [(&clients, 1), (&servers, 2)] {
            host.ip(&format!("route add default via 10.0.{net}.1")).unwrap();
            host.ip(&format!("route add default via fd00:{net}::1")).unwrap();
        }
        Self { clients, router, servers }
    }

    /// Runs the commands of a section of the page, on the router.
    fn set_up(&self, section: &str) {
        let (_, text) = README.split_once(&format!("\n## {section}\n")).unwrap();
        let text = text.split("\n## ").next().unwrap();
        let prose = text.split("```").step_by(2).flat_map(str::lines);
        let commands: Vec<&str> = prose.filter_map(|line| line.strip_prefix("    ")).collect();
        assert!(!commands.is_empty(), "{section} has no commands");
        for command in commands {
            let mut words = command.split_whitespace();
            let mut run = self.router.command(words.next().unwrap().as_ref());
            run.args(words).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
            let output = run.output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Connects from an address to another; what the server said, if anything: the address that it saw.
    fn ask(&self, from: IpAddr, to: SocketAddr) -> Option<String> {
        let asked = self.clients.run(|| {
            let family = if to.is_ipv4() {
                rustix::net::AddressFamily::INET
            } else {
                rustix::net::AddressFamily::INET6
            };
            let flags = rustix::net::SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(family, rustix::net::SocketType::STREAM, flags, None)?;
            rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
            rustix::net::connect(&socket, &to)?;
            let mut stream = std::net::TcpStream::from(socket);
            stream.set_read_timeout(Some(SOON))?;
            let mut said = String::new();
            stream.read_to_string(&mut said).map(|_| said)
        });
        match asked.unwrap() {
            Ok(said) if !said.is_empty() => Some(said),
            Ok(_) => None,
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) =>
            {
                None
            }
            Err(error) => panic!("{from} -> {to}: {error}"),
        }
    }
}

/// Runs `body` while the server tells everybody the address that it sees; returns how many came.
fn with_server(lab: &Lab, body: impl FnOnce()) -> u64 {
    let listener = lab.servers.run(|| TcpListener::bind("[::]:5432").unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((mut stream, peer)) => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let _ = stream.write_all(peer.ip().to_canonical().to_string().as_bytes());
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        body();
        stop.store(true, Ordering::SeqCst);
    });
    count.into_inner()
}

fn transparent(name: &str, section: &str, proxy: &str, keep_source: bool, kept: bool) {
    let lab = Lab::build(&format!("rf-{name}"));
    lab.set_up(section);
    let keep = format!("    keep_source: {keep_source}\n    limits: {{connections: 256}}\n");
    let mut daemon = Daemon::prepare(name, POLICY, &format!("proxies:\n  - name: databases\n{proxy}{keep}"));
    daemon.run_in(&lab.router);
    let came = with_server(&lab, || {
        for net in ["10.0.1.", "fd00:1::"] {
            let at = |number: u8| format!("{net}{number}").parse::<IpAddr>().unwrap();
            let server =
                if at(1).is_ipv4() { "10.0.2.10:5432" } else { "[fd00:2::10]:5432" }.parse().unwrap();
            let router = if at(1).is_ipv4() { "10.0.2.1" } else { "fd00:2::1" };
            let expected = if kept { at(10).to_string() } else { router.to_owned() };
            assert_eq!(lab.ask(at(10), server), Some(expected), "{name}: web");
            assert_eq!(lab.ask(at(11), server), None, "{name}: batch");
        }
    });
    assert_eq!(came, 2, "{name}: the server heard of a client that policy denies");
    let status = daemon.json(&["status"]);
    assert_eq!(crate::refused(&status, "policy"), 2, "{name}");
    assert!(daemon.text(&["records"]).contains("web-to-db"), "{name}");
    assert!(daemon.text(&["drops"]).contains("databases"), "{name}");
}

/// The configuration that a section of the page shows, without its first two lines.
fn shown(section: &str) -> String {
    let (_, text) = README.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, yaml) = text.split_once("```yaml\nproxies:\n  - name: databases\n").unwrap();
    yaml.split("```").next().unwrap().to_owned()
}

#[test]
#[ignore = "needs nftables"]
fn tproxy_leads_where_the_client_wanted_to() {
    if skip_unprivileged() {
        return;
    }
    transparent("tproxy", "TPROXY", &shown("TPROXY"), false, false);
}

#[test]
#[ignore = "needs nftables"]
fn tproxy_keeps_the_clients_address() {
    if skip_unprivileged() {
        return;
    }
    transparent("tpkeep", "TPROXY", &shown("TPROXY"), true, true);
}

#[test]
#[ignore = "needs nftables"]
fn redirect_leads_where_the_client_wanted_to() {
    if skip_unprivileged() {
        return;
    }
    transparent("redirect", "REDIRECT", &shown("REDIRECT"), false, false);
}
