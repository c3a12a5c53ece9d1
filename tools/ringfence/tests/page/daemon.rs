//! A daemon without wires that listens on a loopback address and knows of flows from a file.

use std::sync::atomic::{AtomicU32, Ordering};

use control::store::{Limits, Store};
use serde_json::Value;

pub(crate) use crate::common::Daemon;

impl Daemon {
    /// Starts one with a policy and a record of flows, at any free port.
    pub(crate) fn start(policy: &str, records: &Value) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut daemon = Self::prepare(&number.to_string(), policy, "http: {listen: 127.0.0.1:0}\n");
        let (store, _) = Store::open(&daemon.file("state"), Limits::default()).unwrap();
        store.flow_records().save(records.to_string().as_bytes()).unwrap();
        drop(store);
        daemon.run();
        daemon
    }

    /// The page's address with a code for one browser.
    pub(crate) fn page(&self, arguments: &[&str]) -> String {
        self.json(&[&["page"], arguments].concat())["url"].as_str().unwrap().to_owned()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.json(&["status"])["policy"]["epoch"].as_u64().unwrap()
    }

    /// Where it listens, without the path.
    pub(crate) fn origin(&self) -> String {
        let address = self.json(&["status"])["page"].as_str().unwrap().to_owned();
        address.trim_end_matches('/').to_owned()
    }
}
