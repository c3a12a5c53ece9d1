//! nginx behind the proxy, curl and wrk before it.

use std::fs;
use std::net::SocketAddr;

use crate::common::Folder;
use crate::daemon::Daemon;
use crate::program::{Service, command, finish, free, run, text, wait};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [127.0.81.10, 127.0.0.1, \"::1\"]}
  - {name: batch, labels: {role: batch}, addresses: [127.0.81.11]}
  - {name: site, labels: {role: site}, addresses: [127.0.81.20]}
rules:
  - {name: web-to-site, from: {role: web}, to: {role: site}, service: tcp}
";

/// nginx with a page, a file of some megabytes, and a place to upload to.
pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) at: SocketAddr,
    _nginx: Service,
}

impl Site {
    pub(crate) fn start(name: &str, ip: &str) -> Self {
        let folder = Folder::new(name);
        let at = free(ip);
        let file: Vec<u8> = (0..251).cycle().take(6_000_000).collect();
        folder.write("large", &file);
        folder.write("page", "hello from the site\n");
        let root = folder.path().display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = folder.write(
            "nginx.conf",
            format!(
                "{user}\ndaemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n  log_format bytes \"$request_uri $request_length\";\n  access_log {root}/access.log bytes;\n  client_body_temp_path {root}/b;\n  \
                 proxy_temp_path {root}/p;\n  fastcgi_temp_path {root}/f;\n  uwsgi_temp_path {root}/u;\n  \
                 scgi_temp_path {root}/s;\n  client_max_body_size 50m;\n  keepalive_requests 1000000;\n  \
                 server {{\n    listen {at};\n    root {root};\n    \
                 location /upload {{\n      proxy_method GET;\n      proxy_pass_request_body off;\n      \
                 proxy_set_header Content-Length \"\";\n      proxy_pass http://{at}/page;\n    }}\n  }}\n}}\n"
            ),
        );
        let mut nginx = command("nginx", "nginx-light", None);
        nginx.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(config);
        let service = Service::start(&mut nginx, &folder, at);
        Self { folder, at, _nginx: service }
    }

    /// Requests that nginx has answered.
    fn seen(&self) -> usize {
        self.log().lines().count()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap()
    }
}

fn curl() -> std::process::Command {
    let mut curl = command("curl", "curl", None);
    curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
    curl
}

#[test]
#[ignore = "needs nginx-light, curl and wrk"]
fn curl_gets_the_same_bytes_and_who_is_denied_gets_none() {
    let site = Site::start("web-curl", "127.0.81.30");
    let at = free("127.0.81.20");
    let daemon = Daemon::start("web-curl", &[(at, site.at)], "", POLICY);
    let large = site.folder.path().join("large");
    for (name, arguments) in [
        ("one connection", &["--interface", "127.0.81.10"][..]),
        ("slowly", &["--interface", "127.0.81.10", "--limit-rate", "8M"]),
        ("compressed is not", &["--interface", "127.0.81.10", "-H", "Accept-Encoding: identity"]),
    ] {
        let output = finish(curl().args(arguments).arg(format!("http://{at}/large")));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == fs::read(&large).unwrap(), "{name}: the bytes are not the same");
    }
    let upload = curl()
        .args(["--interface", "127.0.81.10", "--data-binary"])
        .arg(format!("@{}", large.display()))
        .arg(format!("http://{at}/upload"))
        .output()
        .unwrap();
    assert_eq!(text(&upload), "hello from the site\n");
    // The request as nginx read it: its header and the whole file.
    wait("nginx logs the upload", || {
        site.log().lines().any(|line| {
            line.strip_prefix("/upload ").is_some_and(|bytes| bytes.parse::<u64>().unwrap() > 6_000_000)
        })
    });

    let seen = site.seen();
    for denied in ["127.0.81.11", "127.0.81.12"] {
        let output = finish(curl().args(["--interface", denied]).arg(format!("http://{at}/page")));
        // 7: refused; 52: no answer; 56: reset while it waited for one; 55: reset while it sent.
        assert!(matches!(output.status.code(), Some(7 | 52 | 55 | 56)), "{denied}: {}", text(&output));
        assert!(output.stdout.is_empty(), "{denied}");
    }
    assert_eq!(site.seen(), seen, "the server saw a request of a client that policy denies");
    let refused = daemon.proxy()["refused"].as_array().unwrap().clone();
    let denied = refused.iter().find(|one| one["reason"] == "policy").unwrap();
    assert_eq!(denied["count"], 2);
}

#[test]
#[ignore = "needs nginx-light, curl and wrk"]
fn the_same_over_ipv6() {
    let site = Site::start("web-six", "127.0.81.31");
    let at = free("::1");
    let seen_as = "    as: 127.0.81.20:80\n";
    let daemon = Daemon::start("web-six", &[(at, site.at)], seen_as, POLICY);
    let page = || finish(curl().args(["-6", "--globoff"]).arg(format!("http://{at}/page")));
    assert_eq!(text(&page()), "hello from the site\n");
    daemon.publish(&POLICY.replace(", \"::1\"]", "]"));
    assert!(matches!(page().status.code(), Some(7 | 52 | 55 | 56)), "{}", text(&page()));
    daemon.publish(POLICY);
    assert_eq!(text(&page()), "hello from the site\n");
}

#[test]
#[ignore = "needs nginx-light, curl and wrk"]
fn wrk_sees_no_error() {
    let site = Site::start("web-wrk", "127.0.81.32");
    let at = free("127.0.81.20");
    let daemon = Daemon::start("web-wrk", &[(at, site.at)], "", POLICY);
    for (connections, header) in [("1", "Accept: */*"), ("100", "Accept: */*"), ("32", "Connection: close")] {
        let mut wrk = command("wrk", "wrk", None);
        wrk.args(["-t", "1", "-c", connections, "-d", "1s", "--timeout", "10s", "-H", header]);
        let said = run(wrk.arg(format!("http://{at}/page")));
        // Printed only if there are any.
        assert!(
            !said.contains("Socket errors") && !said.contains("Non-2xx"),
            "{connections} {header}: {said}"
        );
        let requests =
            said.lines().find(|line| line.contains("requests in")).unwrap_or_else(|| panic!("{said}"));
        let count: u64 = requests.split_whitespace().next().unwrap().parse().unwrap();
        assert!(count >= 20, "{connections} {header}: {said}");
    }
    assert!(site.seen() >= 60);
    wait("all connections end", || daemon.proxy()["open"] == 0);
}
