//! The configurations: each candidate with one thread, TCP only, the same back ends in turn, and, where it can judge, an
//! allow for one network of clients and a refusal for everybody else. What else is set is what the peer's own guide
//! asks for with tens of thousands of connections.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::Path;

use serde_json::json;

use super::Candidate;
use crate::measure::CPU_CANDIDATE;

/// Pipes that who splices may hold.
pub(super) const PIPES: u32 = 800;
/// The network that is allowed.
const ALLOWED: &str = "10.1.0.0";

/// What a configuration must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub folder: &'a Path,
    pub listen: SocketAddrV4,
    pub servers: &'a [SocketAddrV4],
    /// Connections that it must be able to hold.
    pub connections: u32,
}

impl Asked<'_> {
    /// Writes the files of `candidate` and returns its arguments; none if it is no process.
    pub(super) fn write(self, candidate: Candidate) -> io::Result<Option<Vec<String>>> {
        let Self { folder, listen, servers, .. } = self;
        let path = |name: &str| folder.join(name).display().to_string();
        let put = |name: &str, text: String| fs::write(folder.join(name), text).map(|()| path(name));
        let relay = |way: &str| {
            let mut arguments = vec!["relay".into(), way.into(), listen.to_string()];
            arguments.extend(servers.iter().map(ToString::to_string));
            arguments
        };
        Ok(Some(match candidate {
            Candidate::Ringfence | Candidate::RingfenceAccepts => {
                put("policy.yaml", policy(listen))?;
                let early = if candidate == Candidate::Ringfence { "auto" } else { "off" };
                let config = put("ringfence.yaml", self.ringfence(early))?;
                vec!["run".into(), "--config".into(), config]
            }
            Candidate::HaproxySplice | Candidate::Haproxy => {
                let splice = candidate == Candidate::HaproxySplice;
                vec!["-db".into(), "-f".into(), put("haproxy.cfg", self.haproxy(splice))?]
            }
            Candidate::Nginx => {
                let config = put("nginx.conf", self.nginx())?;
                vec![
                    "-p".into(),
                    folder.display().to_string(),
                    "-e".into(),
                    "stderr".into(),
                    "-c".into(),
                    config,
                ]
            }
            Candidate::Envoy => {
                let config = put("envoy.json", self.envoy())?;
                ["-c", &config, "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
                    .map(str::to_owned)
                    .to_vec()
            }
            Candidate::Sozu => {
                vec!["-c".into(), put("sozu.toml", self.sozu())?, "start".into()]
            }
            Candidate::RelaySplice => relay("splice"),
            Candidate::RelayCopy => relay("copy"),
            Candidate::Direct | Candidate::Load => return Ok(None),
        }))
    }

    fn haproxy(self, splice: bool) -> String {
        let Self { listen, servers, connections, .. } = self;
        let mut text = format!(
            "global\n  nbthread 1\n  maxconn {connections}\n  maxpipes {PIPES}\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 1h\n  timeout server 1h\n{}listen bench\n  bind {listen} backlog 65535\n  \
         tcp-request connection accept if {{ src {ALLOWED}/16 }}\n  tcp-request connection reject\n  \
         balance roundrobin\n",
            if splice { "  option splice-auto\n" } else { "" }
        );
        for (number, server) in servers.iter().enumerate() {
            let _ = writeln!(text, "  server s{number} {server}");
        }
        text
    }

    fn nginx(self) -> String {
        let Self { folder, listen, servers, connections } = self;
        let upstream: String =
            servers.iter().map(|server| format!("    server {server} max_fails=0;\n")).collect();
        format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\ndaemon off;\nworker_processes 1;\n\
         worker_rlimit_nofile {files};\nerror_log stderr crit;\npid {pid};\n\
         events {{ worker_connections {files}; multi_accept on; }}\n\
         stream {{\n  upstream servers {{\n{upstream}  }}\n  server {{\n    listen {listen} backlog=65535;\n    \
         allow {ALLOWED}/16;\n    deny all;\n    proxy_pass servers;\n    proxy_buffer_size 64k;\n    \
         proxy_timeout 1h;\n  }}\n}}\n",
            files = 2 * connections + 100,
            pid = folder.join("nginx.pid").display(),
        )
    }

    /// A refusal by filter chain: who matches none is closed at accept, before there is anything to the back end. (Its
    /// network RBAC filter asks only when the client has sent something.)
    fn envoy(self) -> String {
        let Self { listen, servers, connections, .. } = self;
        let socket = |address: &SocketAddrV4| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
        let endpoints: Vec<_> =
            servers.iter().map(|server| json!({"endpoint": {"address": socket(server)}})).collect();
        let most = 2 * connections;
        let proxy = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "bench",
            "cluster": "servers",
        });
        let config = json!({"static_resources": {
            "listeners": [{
                "name": "bench",
                "address": socket(&listen),
                "tcp_backlog_size": 65535,
                "filter_chains": [{
                    "filter_chain_match": {
                        "source_prefix_ranges": [{"address_prefix": ALLOWED, "prefix_len": 16}]
                    },
                    "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
                }],
            }],
            "clusters": [{
                "name": "servers",
                "type": "STATIC",
                "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [
                    {"max_connections": most, "max_pending_requests": most, "max_requests": most}
                ]},
                "load_assignment": {"cluster_name": "servers", "endpoints": [{"lb_endpoints": endpoints}]},
            }],
        }});
        config.to_string()
    }

    fn sozu(self) -> String {
        let Self { folder, listen, servers, connections } = self;
        let servers: Vec<String> =
            servers.iter().map(|server| format!("  {{ address = \"{server}\" }},\n")).collect();
        format!(
            "command_socket = \"{socket}\"\nsaved_state = \"{state}\"\nlog_level = \"error\"\nlog_target = \"stderr\"\n\
         worker_count = 1\nworker_automatic_restart = false\nhandle_process_affinity = false\n\
         max_connections = {connections}\nmax_buffers = {buffers}\nbuffer_size = 16393\n\
         front_timeout = 3600\nback_timeout = 3600\nactivate_listeners = true\n\n\
         [[listeners]]\nprotocol = \"tcp\"\naddress = \"{listen}\"\n\n\
         [clusters.bench]\nprotocol = \"tcp\"\nload_balancing = \"ROUND_ROBIN\"\n\
         frontends = [ {{ address = \"{listen}\" }} ]\nbackends = [\n{servers}]\n",
            socket = folder.join("sozu.sock").display(),
            state = folder.join("state.json").display(),
            buffers = 2 * connections,
            servers = servers.concat(),
        )
    }

    fn ringfence(self, early: &str) -> String {
        let Self { listen, servers, connections, .. } = self;
        let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
        format!(
            "policy: [policy.yaml]\nstate_dir: state\nsocket: {{path: s.sock}}\nflows: {{capacity: {flows}}}\n\
             proxies:\n  - name: bench\n    listen: [\"{listen}\"]\n    connect: [{}]\n    \
             health: {{check: off}}\n    early_refusal: {early}\n    limits: {{connections: {connections}}}\n    cores: [{CPU_CANDIDATE}]\n",
            servers.join(", "),
            // A connection is a flow; the default is made for wires.
            flows = (2 * connections).next_power_of_two(),
        )
    }
}

fn policy(listen: SocketAddrV4) -> String {
    format!(
        "ringfence: 1\nnetworks:\n  - {{name: clients, labels: {{role: client}}, cidrs: [{ALLOWED}/16]}}\n\
         workloads:\n  - {{name: bench, labels: {{role: server}}, addresses: [{ip}]}}\n\
         rules:\n  - {{name: clients-to-servers, from: {{role: client}}, to: {{role: server}}, service: tcp/{port}}}\n",
        ip = listen.ip(),
        port = listen.port(),
    )
}
