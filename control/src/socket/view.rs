//! What the read requests answer, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::proxies::ProxyView;
use crate::engine::Awaiting;
use crate::observe::export::ExporterView;
use crate::store::{DraftMeta, Meta, StoredFile};

/// How the daemon is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// The version of the program.
    pub version: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The policy in force; none means that everything is dropped.
    pub policy: Option<PolicyStatus>,
    /// Set while the policy in force waits to be confirmed.
    pub awaiting: Option<Awaiting>,
    /// The drafts beside it, with what they would have decided.
    pub drafts: Vec<DraftView>,
    /// What an operator should know about the start.
    pub notices: Vec<String>,
    /// Where the map page is, if a loopback address is listened on.
    pub page: Option<String>,
    /// The wires.
    pub wires: Vec<WireView>,
    /// The proxies.
    pub proxies: Vec<ProxyView>,
    /// The workers, by number.
    pub workers: Vec<WorkerView>,
    /// Counts of all workers together.
    pub totals: Totals,
    /// Where flow events are sent to.
    pub exporters: Vec<ExporterView>,
    /// The most flows at a time, if there is a flow table.
    pub flow_capacity: Option<usize>,
}

/// The policy in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyStatus {
    /// What the history says of it.
    #[serde(flatten)]
    pub meta: Meta,
    /// How long compiling it took, ms.
    pub compile_ms: f64,
    /// The size of its table, bytes.
    pub table_bytes: usize,
    /// The epoch that flows and records carry: it rises with drafts too, `epoch` with policies only.
    pub table_epoch: u32,
    /// Whether every worker decides by it.
    pub taken: bool,
}

/// A policy whose verdicts are counted beside those of the enforced one, and never acted on.
#[derive(Debug, Serialize, ToSchema)]
pub struct DraftView {
    /// What the store says of it.
    #[serde(flatten)]
    pub meta: DraftMeta,
    /// Rules in it, the built-in ones and the defaults included.
    pub rules: usize,
    /// Workloads in it.
    pub workloads: usize,
    /// The size of its table, bytes.
    pub table_bytes: usize,
    /// Decisions that it would have made since it was staged in this process.
    pub decisions: u64,
    /// Of those, the rules and defaults that would have made them, the most frequent first; at most 1,000.
    pub hits: Vec<DraftHit>,
}

/// How often a rule of a draft would have decided.
#[derive(Debug, Serialize, ToSchema)]
pub struct DraftHit {
    /// The rule or default.
    pub rule: String,
    /// How often.
    pub hits: u64,
}

/// Every draft.
#[derive(Debug, Serialize, ToSchema)]
pub struct DraftList {
    /// The drafts: first the one that the enforced policy's own staged rules make, then by name.
    pub drafts: Vec<DraftView>,
}

/// A wire.
#[derive(Debug, Serialize, ToSchema)]
pub struct WireView {
    /// Its name.
    pub name: String,
    /// The port towards the workloads.
    pub inside: PortView,
    /// The port towards the network.
    pub outside: PortView,
    /// Workers of it that run.
    pub workers_alive: usize,
    /// Workers of it.
    pub workers: usize,
}

/// A port.
#[derive(Debug, Serialize, ToSchema)]
pub struct PortView {
    /// Its interface.
    pub interface: String,
    /// Where the program runs and who copies.
    pub mode: &'static str,
    /// `up`, `down` or `gone`.
    pub state: &'static str,
    /// Queues served.
    pub queues: u32,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Frames the kernel lost before a worker saw them: ring full, or no buffer.
    pub lost_before_worker: u64,
    /// Frames the device dropped after it took them.
    pub lost_by_device: u64,
    /// Frames that no worker was there for, and that were dropped.
    pub fallback_dropped: u64,
    /// Frames that no worker was there for, and that were sent on unjudged.
    pub fallback_passed: u64,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerView {
    /// Its number.
    pub number: usize,
    /// Its wire or proxy.
    pub wire: String,
    /// Its queue on both ports; of a proxy, its number there.
    pub queue: u32,
    /// The epoch it decides by; none while it does not read policy.
    pub epoch: Option<u32>,
    /// Its counts.
    pub counts: Totals,
}

/// Counts of one worker, or of all.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Totals {
    /// Frames received, both sides.
    pub received: u64,
    /// Bytes of those frames.
    pub received_bytes: u64,
    /// Frames forwarded, both sides.
    pub forwarded: u64,
    /// Frames dropped, any reason.
    pub dropped: u64,
    /// Frames made to tell a sender that its frame was refused.
    pub made: u64,
    /// Frames that were not made, because there would have been too many.
    pub answers_suppressed: u64,
    /// Fragments held at this moment.
    pub held: u64,
    /// Policy decisions; equals the sum of all hits of rules and defaults.
    pub decisions: u64,
    /// Packets of a flow that was known and current.
    pub flow_hits: u64,
    /// Packets of a flow that was decided again.
    pub flow_stale: u64,
    /// Packets of no known flow.
    pub flow_misses: u64,
    /// Flows opened.
    pub flows_opened: u64,
    /// Flows evicted.
    pub flows_evicted: u64,
    /// Flows cut because a newer policy denies them.
    pub flows_cut: u64,
    /// Packets that a gate in mode `observe` would have dropped.
    pub potentially_blocked: u64,
    /// Flow events there were: told to the flow records, or lost.
    pub flow_events: u64,
    /// Drops that no record tells of, for want of room; the counts of reasons have them.
    pub drop_records_lost: u64,
    /// Flow events that the flow records miss.
    pub flow_events_lost: u64,
}

/// A page of the workloads in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Workloads {
    /// The epoch of the policy in force.
    pub epoch: Option<u32>,
    /// How many there are in all.
    pub total: usize,
    /// The page.
    pub workloads: Vec<WorkloadView>,
    /// The `after` of the next page, if there is one.
    pub next: Option<usize>,
}

/// A workload.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkloadView {
    /// Its name.
    pub name: String,
    /// Its labels; none means quarantine.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// Its addresses.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// The wire it is behind, if told.
    pub wire: Option<String>,
    /// Whether it is in quarantine.
    pub quarantine: bool,
}

/// The source of the policy in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicySource {
    /// What the history says of it.
    #[serde(flatten)]
    pub meta: Meta,
    /// Its files.
    pub files: Vec<StoredFile>,
}

/// Every policy that is kept, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// The epoch in force.
    pub epoch: Option<u32>,
    /// The policies.
    pub history: Vec<Meta>,
}

/// A page of the live flows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flows {
    /// The flows.
    pub flows: Vec<FlowEntry>,
    /// Whether there were more that match; narrow the filter or raise `limit`.
    pub more: bool,
}

/// A live flow.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowEntry {
    /// The wire or proxy.
    pub wire: String,
    /// Who opened it.
    pub source: FlowEnd,
    /// To whom.
    pub destination: FlowEnd,
    /// The service, as `tcp/443`.
    pub service: String,
    /// `allow`, or `deny` for a flow that was cut and is not forgotten yet.
    pub verdict: &'static str,
    /// The rule or default that decided it.
    pub rule: Option<String>,
    /// The rule or default that would deny it if its endpoint were enforced.
    pub potential: Option<String>,
    /// The epoch it was decided under.
    pub epoch: u32,
    /// The TCP state, or whether there was a reply.
    pub state: String,
    /// Seconds since it was opened.
    pub age_s: u32,
    /// Seconds until it expires if nothing more comes.
    pub expires_s: u32,
    /// Packets from source to destination, and back.
    pub packets: [u64; 2],
    /// Bytes from source to destination, and back.
    pub bytes: [u64; 2],
}

/// One end of a flow.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowEnd {
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Its port; none for protocols without.
    pub port: Option<u16>,
    /// What it is called.
    pub who: crate::observe::names::Who,
    /// The labels of that.
    pub labels: BTreeMap<String, BTreeSet<String>>,
}
