//! Transparent listeners, with a real firewall between a client's and a server's network.

use std::process::Command;

use lab::{End, Namespace, veth};

use super::*;

/// Client 10.9.1.2 / fd09:1::2, the machine in the middle, server 10.9.2.2 / fd09:2::2.
struct Net {
    client: Namespace,
    middle: Namespace,
    server: Namespace,
}

impl Net {
    fn new(name: &str) -> Self {
        let create =
            |end: &str| Namespace::create(&format!("rf-proxy-{}-{name}-{end}", std::process::id())).unwrap();
        let net = Self { client: create("c"), middle: create("m"), server: create("s") };
        for (host, port, network) in [(&net.client, "in0", 1), (&net.server, "out0", 2)] {
            veth(&End::new(host, "eth0"), &End::new(&net.middle, port)).unwrap();
            for (v4, v6, link, end) in [(2, 2, "eth0", host), (1, 1, port, &net.middle)] {
                end.address(link, &format!("10.9.{network}.{v4}/24")).unwrap();
                end.ip(&format!("-6 addr add fd09:{network}::{v6}/64 dev {link} nodad")).unwrap();
            }
            host.ip(&format!("route add default via 10.9.{network}.1")).unwrap();
            host.ip(&format!("-6 route add default via fd09:{network}::1")).unwrap();
        }
        net.middle.forward().unwrap();
        net
    }

    /// Loads rules into the firewall of the middle, and lets it keep what is marked.
    fn firewall(&self, rules: &str) {
        for family in ["", "-6 "] {
            self.middle.ip(&format!("{family}rule add fwmark 1 lookup 100")).unwrap();
            self.middle.ip(&format!("{family}route add local default dev lo table 100")).unwrap();
        }
        let load = || Command::new("nft").arg(rules).output().unwrap();
        let loaded = self.middle.run(load).unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    }
}

const RULES: &str = "table inet proxy {
  chain mangle {
    type filter hook prerouting priority mangle;
    meta l4proto tcp socket transparent 1 meta mark set 1 accept
    tcp dport 80 meta nfproto ipv4 meta mark set 1 tproxy ip to :15001 accept
    tcp dport 80 meta nfproto ipv6 meta mark set 1 tproxy ip6 to :15001 accept
  }
  chain nat {
    type nat hook prerouting priority dstnat;
    tcp dport 81 redirect to :15002
  }
}";

fn table() -> PolicyTable {
    let sample = Sample::new().workload(&["10.9.1.2", "fd09:1::2"]).workload(&["10.9.2.2", "fd09:2::2"]);
    sample.allow(Who::Workload(0), Who::Workload(1), (6 << 16 | 80, 6 << 16 | 81)).build()
}

#[test]
#[ignore = "needs nftables"]
fn clients_reach_the_server_they_meant() {
    if lab::skip_unprivileged() {
        return;
    }
    let net = Net::new("t");
    net.firewall(RULES);
    for (mode, port, keep, v6) in [
        (ListenMode::Tproxy, 80, false, false),
        (ListenMode::Tproxy, 80, true, false),
        (ListenMode::Tproxy, 80, true, true),
        (ListenMode::Redirect, 81, false, false),
        (ListenMode::Redirect, 81, true, true),
    ] {
        let name = format!("{mode:?} {keep} {v6}");
        let any = if v6 { "[::]" } else { "0.0.0.0" };
        let listen = format!("{any}:{}", if mode == ListenMode::Tproxy { 15001 } else { 15002 });
        let mut config = config(&listen, &[]);
        config.mode = mode;
        config.keep_source = keep;
        let rig = net.middle.run(|| Rig::with(config)).unwrap();
        rig.publish(table());
        let (client, server) = if v6 { ("[fd09:1::2]", "[fd09:2::2]") } else { ("10.9.1.2", "10.9.2.2") };
        let to: SocketAddr = format!("{server}:{port}").parse().unwrap();
        let listener = net.server.run(|| TcpListener::bind(to)).unwrap().unwrap();
        let mut stream = net.client.run(|| TcpStream::connect_timeout(&to, LONG)).unwrap().unwrap();
        patient(&stream);
        let (mut served, peer) = listener.accept().unwrap();
        patient(&served);
        passes(&mut stream, &mut served, &[1; 100_000]);
        passes(&mut served, &mut stream, &[2; 100_000]);
        let expected =
            if keep { client.to_owned() } else { client.replace("1.2", "2.1").replace("1::2", "2::1") };
        let of_peer: SocketAddr = format!("{expected}:{}", peer.port()).parse().unwrap();
        assert_eq!(peer.ip(), of_peer.ip(), "{name}");
        let flow = rig.flows.views(crate::clock::Now::read()).next().unwrap();
        let (source, destination) = flow.key.addresses(flow.initiator);
        let ends = (source.to_ip(), destination.to_ip());
        assert_eq!(ends, (stream.local_addr().unwrap().ip(), to.ip()), "{name}");
        // Policy is asked about the server, not about the machine in the middle.
        rig.publish(sample().build());
        assert_eq!(end_of(&mut stream), Err(io::ErrorKind::ConnectionReset), "{name}");
        // Whoever connects to the listener itself is not sent round in circles.
        rig.publish(table());
        let own: SocketAddr =
            listen.replace(any, if v6 { "[fd09:1::1]" } else { "10.9.1.1" }).parse().unwrap();
        // The reset may be there before the client has looked whether it is connected.
        let end = net.client.run(|| TcpStream::connect_timeout(&own, LONG)).unwrap().map_err(|e| e.kind());
        let end = end.and_then(|mut stream| {
            patient(&stream);
            end_of(&mut stream)
        });
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset), "{name}");
        assert_eq!(rig.refused(Refusal::NoDestination), 1, "{name}");
        rig.stop();
    }
}
