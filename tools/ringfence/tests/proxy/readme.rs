//! The README's first look at a proxy, as it is written there.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::SOON;
use crate::common::signal_to;

const README: &str = include_str!("../../../../README.md");

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        signal_to(&self.0, Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs python3 and curl"]
fn the_readmes_first_look_is_real() {
    let (_, section) = README.split_once("\n## Where no wire can be put\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let commands: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let [server, daemon, export, web, batch, drops, status] = commands.as_slice() else {
        panic!("{commands:?}")
    };
    let _ = std::fs::remove_dir_all("/tmp/ringfence-example");
    let bin = Path::new(env!("CARGO_BIN_EXE_ringfence")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        shell.env("PATH", &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell
    };
    let start = |command: &str| {
        let command = command.strip_suffix(" &").unwrap();
        Running(shell(&format!("exec {command}")).spawn().unwrap())
    };
    let (_server, _daemon) = (start(server), start(daemon));
    for address in ["127.0.0.30:8080", "127.0.0.20:8000"] {
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nobody listens on {address}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    let ask = |command: &str| -> Output {
        shell(&format!("{export}\n{command}")).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
    };
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let deadline = Instant::now() + SOON;
    while text(&ask(status)).contains("unhealthy") {
        assert!(Instant::now() < deadline, "the server does not become healthy");
    }
    let page = ask(web);
    assert!(page.status.success() && text(&page).contains("Directory listing"), "{page:?}");
    // 56 is "failure in receiving network data": the reset.
    assert_eq!(ask(batch).status.code(), Some(56));
    let dropped = text(&ask(drops));
    assert!(dropped.contains("default/deny") && dropped.contains("batch"), "{dropped}");
    let shown = text(&ask(status));
    assert!(shown.contains("front -> 127.0.0.30:8080") && shown.contains("healthy"), "{shown}");
    drop((_server, _daemon));
    std::fs::remove_dir_all("/tmp/ringfence-example").unwrap();
}
