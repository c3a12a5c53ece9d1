//! A daemon without wires that listens on a loopback address and knows of flows from a file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use control::store::{Limits, Store};
use serde_json::Value;

/// A daemon and its folder; both end with the test.
pub(crate) struct Daemon {
    pub(crate) folder: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one with a policy and a record of flows, at any free port.
    pub(crate) fn start(policy: &str, records: &Value) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ringfence-map-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), policy).unwrap();
        let config =
            "policy: [policy.yaml]\nstate_dir: state\nsocket: {path: s.sock}\nhttp: {listen: 127.0.0.1:0}\n";
        fs::write(folder.join("ringfence.yaml"), config).unwrap();
        let (store, _) = Store::open(&folder.join("state"), Limits::default()).unwrap();
        store.flow_records().save(records.to_string().as_bytes()).unwrap();
        drop(store);
        let mut daemon = Self { folder, child: None };
        daemon.run();
        daemon
    }

    /// Starts it again if it ended; at the port it had, if `port` is not 0.
    pub(crate) fn run(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(["run", "--config"])
            .arg(self.folder.join("ringfence.yaml"))
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("it ended before it was ready: {log}") };
            log.push_str(&line);
            if line.contains("ready") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What a client command prints as JSON.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .arg("--json")
            .env("RINGFENCE_SOCKET", self.folder.join("s.sock"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}"))
    }

    /// The page's address with a code for one browser.
    pub(crate) fn page(&self, arguments: &[&str]) -> String {
        let asked: Vec<&str> = ["page"].iter().chain(arguments).copied().collect();
        self.ask(&asked)["url"].as_str().unwrap().to_owned()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.ask(&["status"])["policy"]["epoch"].as_u64().unwrap()
    }

    /// Where it listens, without the path.
    pub(crate) fn origin(&self) -> String {
        let address = self.ask(&["status"])["page"].as_str().unwrap().to_owned();
        address.trim_end_matches('/').to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
