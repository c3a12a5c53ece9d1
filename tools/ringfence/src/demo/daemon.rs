//! The daemon of the demo: this very program, as users run it, in the namespace where the wires are.

use std::cmp::Reverse;
use std::fs::File;
use std::net::IpAddr;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::config::Folder;
use super::error::DemoError;
use super::interrupt::Interrupt;
use super::stage::{Drops, Enforcer};
use super::topology::Network;
use crate::client;
use crate::outcome::Failure;

/// How long the daemon may take from its start until it answers with its wires working.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to end when asked to: where all CPUs are busy, the kernel takes a second or more to detach each
/// XDP program (`synchronize_rcu_expedited` below `veth_napi_del_range`), and there are twelve.
const END_WITHIN: Duration = Duration::from_secs(60);

/// A policy that the daemon took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Its epoch.
    pub(crate) epoch: u32,
}

/// The daemon and its files. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Daemon<'a> {
    network: &'a Network,
    folder: &'a Folder,
    interrupt: Interrupt,
    child: Option<Child>,
}

impl<'a> Daemon<'a> {
    /// Writes the policy, starts the daemon and waits until it answers.
    pub(crate) fn launch(
        network: &'a Network,
        folder: &'a Folder,
        interrupt: Interrupt,
        policy: &str,
    ) -> Result<Self, DemoError> {
        let mut daemon = Self { network, folder, interrupt, child: None };
        daemon.write_policy(policy)?;
        daemon.start()?;
        Ok(daemon)
    }

    /// Replaces the file that the configuration names; the running daemon does not look at it.
    pub(crate) fn write_policy(&self, text: &str) -> Result<(), DemoError> {
        std::fs::write(self.folder.policy(), text).map_err(|error| DemoError::Io("write the policy", error))
    }

    /// Starts it.
    pub(crate) fn start(&mut self) -> Result<(), DemoError> {
        let failed = |error| DemoError::Io("start the daemon", error);
        let program = std::env::current_exe().map_err(failed)?;
        let log = File::create(self.folder.log()).map_err(failed)?;
        let mut command = self.network.wire.command(program.as_os_str());
        command.arg("run").arg("--config").arg(self.folder.config());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log).stdin(Stdio::null());
        self.child = Some(command.spawn().map_err(failed)?);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), DemoError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.status().is_ok() {
                return Ok(());
            }
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                return Err(DemoError::Daemon(format!("the daemon did not start: {}", self.last_words())));
            }
            if self.interrupt.sleep(Duration::from_millis(20)) {
                return Err(DemoError::Interrupted);
            }
        }
    }

    /// Kills it without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end, as `systemctl stop` would. `None` if it does not in time.
    pub(crate) fn stop(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let pid = Pid::from_raw(child.id().try_into().ok()?)?;
        kill_process(pid, Signal::TERM).ok()?;
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                self.child = None;
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Puts a policy in force. The inner error is the daemon's refusal, in one line.
    pub(crate) fn publish(&self, text: &str, message: &str) -> Result<Result<Published, String>, DemoError> {
        let body = json!({ "files": [{ "name": "policy.yaml", "text": text }], "message": message });
        match client::post(&self.folder.socket(), "/v1/policy", &body) {
            Ok(answer) => number(&answer, "epoch").map(|epoch| Ok(Published { epoch })),
            // A daemon that still answers has refused; one that does not has failed.
            Err(failure) => self.status().map(|_| Err(one_line(&failure))),
        }
    }

    /// The epoch of the policy in force.
    pub(crate) fn epoch(&self) -> Result<u32, DemoError> {
        number(&self.status()?["policy"], "epoch")
    }

    /// The hash of the policy in force.
    pub(crate) fn policy_hash(&self) -> Result<String, DemoError> {
        Ok(text(&self.status()?["policy"]["policy_hash"]))
    }

    /// The address of its map page, with a code that signs one browser in.
    pub(crate) fn page(&self) -> Result<String, DemoError> {
        let answer = client::post(&self.folder.socket(), "/v1/session/codes", &json!({}));
        answer.map(|code| text(&code["url"])).map_err(|failure| DemoError::Daemon(one_line(&failure)))
    }

    /// What its log says about starting from the last good policy.
    pub(crate) fn says_last_good(&self) -> Option<String> {
        let log = std::fs::read_to_string(self.folder.log()).unwrap_or_default();
        let words = "starting from the last good policy";
        log.contains(words).then(|| words.to_owned())
    }

    /// The rule or default that decided last between these two, as the flow records tell it.
    pub(crate) fn recorded(
        &self,
        source: IpAddr,
        destination: IpAddr,
        service: &str,
    ) -> Result<String, DemoError> {
        // Those seen last come first.
        let answer = self.get(&format!("/v1/records?limit=1000&address={source}"))?;
        let record = list(&answer, "records").iter().find(|record| {
            is(&record["source"]["address"], source)
                && is(&record["destination"]["address"], destination)
                && serves(&record["service"], service)
        });
        Ok(record.map_or_else(|| "nothing is recorded".into(), |record| text(&record["rule"])))
    }

    fn status(&self) -> Result<Value, DemoError> {
        self.get("/v1/status")
    }

    fn get(&self, path: &str) -> Result<Value, DemoError> {
        client::get(&self.folder.socket(), path).map_err(|failure| DemoError::Daemon(one_line(&failure)))
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Enforcer for Daemon<'_> {
    fn let_in_by(&self, source: IpAddr, destination: IpAddr, service: &str) -> Result<String, DemoError> {
        let answer = self.get("/v1/flows?limit=10000")?;
        let flows = list(&answer, "flows").iter().filter(|flow| {
            is(&flow["source"]["address"], source)
                && is(&flow["destination"]["address"], destination)
                && serves(&flow["service"], service)
                && flow["verdict"] == "allow"
        });
        // Connections of earlier questions are remembered for a while: the newest decision is the one asked for.
        let flow = flows.max_by_key(|flow| (flow["epoch"].as_u64(), Reverse(flow["age_s"].as_u64())));
        Ok(flow.map_or_else(|| "no flow is known".into(), |flow| text(&flow["rule"])))
    }

    fn dropped_by(
        &self,
        source: IpAddr,
        destination: IpAddr,
        service: &str,
        before: &Drops,
    ) -> Result<String, DemoError> {
        let answer = self.get("/v1/drops")?;
        let grown = list(&answer, "top").iter().filter(|one| {
            let count = before.get(&kind(one)).copied().unwrap_or(0);
            one["count"].as_u64().is_some_and(|now| now > count)
                && is(&one["last_source"], source)
                && is(&one["last_destination"], destination)
                && serves(&one["service"], service)
        });
        let said = grown.map(|one| {
            let (reason, rule) = (text(&one["reason"]), text(&one["rule"]));
            if rule.is_empty() { reason } else { format!("{rule} ({reason})") }
        });
        let mut said: Vec<_> = said.collect();
        said.dedup();
        Ok(if said.is_empty() { "no drop is recorded".into() } else { said.join(", ") })
    }

    fn drops(&self) -> Result<Drops, DemoError> {
        let answer = self.get("/v1/drops")?;
        let counts = list(&answer, "top").iter().map(|one| (kind(one), one["count"].as_u64().unwrap_or(0)));
        Ok(counts.collect())
    }
}

/// What tells one entry of the drops from the others.
fn kind(entry: &Value) -> String {
    let fields = ["reason", "rule", "wire", "side", "source", "destination", "service"];
    fields.map(|name| entry[name].to_string()).join(" ")
}

fn list<'v>(answer: &'v Value, name: &str) -> &'v [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is(value: &Value, address: IpAddr) -> bool {
    value.as_str().is_some_and(|text| text.parse() == Ok(address))
}

/// Whether a service is the one meant: the daemon tells the code of an ICMP message, too.
fn serves(value: &Value, service: &str) -> bool {
    let rest = value.as_str().and_then(|text| text.strip_prefix(service));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What happened and where, without the source text around it.
fn one_line(failure: &Failure) -> String {
    let (Failure::Failed(message) | Failure::Usage(message)) = failure else { return "failed".into() };
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or("failed");
    match lines.find_map(|line| line.strip_prefix("--> ")) {
        Some(place) => format!("{place}: {what}"),
        None => what.to_owned(),
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn number(value: &Value, name: &str) -> Result<u32, DemoError> {
    let found = value[name].as_u64().and_then(|number| number.try_into().ok());
    found.ok_or_else(|| DemoError::Daemon(format!("the daemon's answer has no {name}: {value}")))
}
