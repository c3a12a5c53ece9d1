//! The same requests over a loopback address: who is let in, and within which limits.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{POLICY, Server, Settings, answer, publish_body};
use crate::config::{Admission, Http};
use crate::socket::loopback::Loopback;

fn on(listen: &str) -> Settings {
    let listen = listen.parse().unwrap();
    let http = Http { listen, namespace: None, read: Admission::Token, metrics: Admission::Token };
    Settings { http: Some(http), ..Settings::default() }
}

impl Server {
    fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address.unwrap()).unwrap()
    }

    /// One request over the loopback address. Headers of one's own replace `host`.
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(key, _)| *key == "host") {
            write!(head, "host: {}\r\n", self.address.unwrap()).unwrap();
        }
        headers.iter().for_each(|(key, value)| write!(head, "{key}: {value}\r\n").unwrap());
        let mut stream = self.dial();
        let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
        answer(&mut stream)
    }

    fn token(&self) -> String {
        let token = std::fs::read_to_string(self.folder.join("state/http.token")).unwrap();
        format!("Bearer {}", token.trim())
    }

    /// Signs in with a code from the Unix socket.
    fn session(&self, body: &str) -> String {
        let (status, code) = self.ask("POST", "/v1/session/codes", body);
        assert_eq!(status, 200, "{code}");
        let code = format!("Bearer {}", code["code"].as_str().unwrap());
        let (status, session) = self.call("POST", "/v1/session", &[("authorization", &code)], "");
        assert_eq!(status, 200, "{session}");
        format!("Bearer {}", session["secret"].as_str().unwrap())
    }
}

#[test]
fn rights_are_those_of_what_is_shown() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::start(on(listen));
        let (token, full, bounded) =
            (server.token(), server.session(""), server.session("{\"read_only\": true}"));
        let publish = publish_body(POLICY, "over loopback");
        let (status, path, policy) = ("/v1/status", "/v1/session/codes", "/v1/policy");
        for (name, shown, method, path, body, expected) in [
            ("nothing", "", "GET", status, "", 401),
            ("nothing", "", "POST", policy, &*publish, 401),
            ("nonsense", "Bearer x", "GET", status, "", 401),
            ("the token", &*token, "GET", status, "", 200),
            ("the token", &token, "POST", policy, &publish, 403),
            ("the token", &token, "POST", path, "", 403),
            ("a bounded session", &bounded, "GET", status, "", 200),
            ("a bounded session", &bounded, "POST", policy, &publish, 403),
            ("a session", &full, "POST", policy, &publish, 200),
            ("a session", &full, "POST", path, "", 403),
            ("a session", &full, "DELETE", "/v1/session", "", 200),
            ("a session that is over", &full, "GET", status, "", 401),
        ] {
            let shown = ("authorization", shown);
            let shown: &[_] = if shown.1.is_empty() { &[] } else { &[shown] };
            let (got, told) = server.call(method, path, shown, body);
            assert_eq!(got, expected, "{listen}: {name}, {method} {path}: {told}");
        }
        let history = server.get("/v1/policy/history");
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(history["history"][0]["uid"], uid, "the author is who signed the browser in");
        assert_eq!(server.get("/v1/status")["page"], format!("http://{}/", server.address.unwrap()));
    }
}

#[test]
fn foreign_pages_are_refused_whatever_they_show() {
    let server = Server::start(on("127.0.0.1:0"));
    let session = server.session("");
    let shown = ("authorization", session.as_str());
    let own = format!("http://{}", server.address.unwrap());
    for (name, header, status) in [
        ("own origin", ("origin", own.as_str()), 200),
        ("another name for this host", ("host", "localhost:9999"), 200),
        ("rebound", ("host", "evil.example"), 421),
        ("another origin", ("origin", "http://evil.example"), 403),
        ("another port", ("origin", "http://127.0.0.1:1"), 403),
        ("another site", ("sec-fetch-site", "cross-site"), 403),
    ] {
        for (method, path, body) in
            [("GET", "/v1/status", ""), ("POST", "/v1/policy", &publish_body(POLICY, ""))]
        {
            let (got, told) = server.call(method, path, &[shown, header], body);
            assert_eq!(got, status, "{name}, {method}: {told}");
        }
    }
    let (status, told) = server.ask("POST", "/v1/policy", &publish_body(POLICY, ""));
    assert_eq!((status, &told["epoch"]), (200, &json!(3)), "the two that were let through, and this");
}

#[test]
fn the_page_is_there_for_whoever_calls_it_by_its_name() {
    let server = Server::start(on("127.0.0.1:0"));
    let raw = |mut stream: Box<dyn ReadWrite>, host: &str, path: &str| {
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    for (name, stream, host) in [
        ("loopback", Box::new(server.dial()) as Box<dyn ReadWrite>, "localhost"),
        ("the socket", Box::new(server.connect()), "x"),
    ] {
        let text = raw(stream, host, "/");
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("<title>ringfence"), "{name}: {text}");
        for header in [
            "content-type: text/html",
            "content-security-policy: default-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(text.contains(header), "{name}: {header}: {text}");
        }
    }
    assert!(raw(Box::new(server.dial()), "evil.example", "/").starts_with("HTTP/1.1 421"));
    assert!(
        raw(Box::new(server.dial()), "localhost", "/page/main.js").contains("content-type: text/javascript")
    );
    let refused = raw(Box::new(server.dial()), "localhost", "/v1/status");
    assert!(refused.contains("www-authenticate: Bearer") && refused.contains("nosniff"), "{refused}");
}

/// A stream of either kind.
trait ReadWrite: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> ReadWrite for T {}

#[test]
fn anyone_reads_where_the_configuration_says_so() {
    let mut settings = on("127.0.0.1:0");
    settings.http.as_mut().unwrap().read = Admission::Anyone;
    let server = Server::start(settings);
    assert_eq!(server.call("GET", "/v1/status", &[], "").0, 200);
    assert_eq!(
        server.call("GET", "/v1/status", &[("authorization", "Bearer x")], "").0,
        401,
        "shown, and wrong"
    );
    assert_eq!(server.call("POST", "/v1/policy", &[], &publish_body(POLICY, "")).0, 403);
    let (_, who) = server.call("GET", "/v1/session", &[], "");
    assert_eq!((&who["may_change"], &who["uid"]), (&json!(false), &Value::Null));

    let mut settings = on("127.0.0.1:0");
    settings.http.as_mut().unwrap().metrics = Admission::Anyone;
    let server = Server::start(settings);
    let token = server.token();
    for (path, shown, status) in [
        ("/metrics", None, 200),
        ("/metrics", Some(token.as_str()), 200),
        ("/metrics", Some("Bearer x"), 401),
        ("/v1/status", None, 401),
        ("/v1/map", None, 401),
    ] {
        let shown: Vec<_> = shown.map(|shown| ("authorization", shown)).into_iter().collect();
        assert_eq!(server.call("GET", path, &shown, "").0, status, "{path} {shown:?}");
    }
}

#[test]
fn limits_hold_for_whoever_is_nobody() {
    let server =
        Server::start(Settings { timeout: Duration::from_millis(100), connections: 2, ..on("127.0.0.1:0") });
    let long = format!("/v1/status?{}", "x".repeat(20 << 10));
    assert!(matches!(server.call("GET", &long, &[], "").0, 414 | 431), "a long target");
    let header = "x".repeat(20 << 10);
    assert_eq!(server.call("GET", "/v1/status", &[("x", &header)], "").0, 431, "a long header");
    // Bodies that are announced and never sent: nobody waits for them.
    for path in ["/v1/policy", "/v1/session"] {
        let mut stream = server.dial();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).0, 401, "{path}");
    }
    // Heads that do not come hold their places for as long as the timeout, and no longer.
    let mut slow = [server.dial(), server.dial()];
    for stream in &mut slow {
        stream.write_all(b"GET /v1/sta").unwrap();
    }
    assert_eq!(server.call("GET", "/v1/status", &[], "").0, 401, "after the timeout");
    for stream in &mut slow {
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed");
    }
    assert_eq!(server.ask("GET", "/v1/session", "").0, 200, "the socket has places of its own");
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = |namespace: Option<&str>| Http {
        listen: taken.local_addr().unwrap(),
        namespace: namespace.map(Into::into),
        read: Admission::Token,
        metrics: Admission::Token,
    };
    for (settings, words) in [(http(None), "http.listen"), (http(Some("/nonexistent/ns")), "/nonexistent/ns")]
    {
        let error = Loopback::bind(&settings).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("127.0.0.1:"), "{error}");
    }
    // A namespace that is there, be it one's own, takes the right to enter it.
    let own = Http { listen: "127.0.0.1:0".parse().unwrap(), ..http(Some("/proc/self/ns/net")) };
    match Loopback::bind(&own) {
        Ok(listener) => drop(TcpStream::connect(listener.address()).unwrap()),
        Err(error) => {
            assert!(!rustix::process::geteuid().is_root(), "{error}");
            assert!(error.to_string().contains("/proc/self/ns/net"), "{error}");
        }
    }
}
