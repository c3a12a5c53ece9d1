//! Arguments of the commands that look at flows, rules and drops.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use dataplane::verdict::DropReason;

use super::ReadArgs;

/// Which flows, live, recorded or as they happen; all that is given must hold.
#[derive(Debug, Args)]
pub(crate) struct FlowFilter {
    /// At most so many flows; 100 unless told, and no limit with --follow.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: Option<u32>,
    /// Only flows with this workload at either end.
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Only flows with this address at either end.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// Only flows with this label at either end; several, separated by commas, for one end.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Option<String>,
    /// Only flows opened by: labels, a workload, net:NAME, an address, a prefix, or `unknown`; all, with commas.
    #[arg(long, value_name = "END")]
    pub(crate) from: Option<String>,
    /// Only flows opened to: as --from.
    #[arg(long, value_name = "END")]
    pub(crate) to: Option<String>,
    /// Only flows to this port.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Only flows of this protocol or service: tcp, tcp/443, udp/8000-8099, icmp, gre, 47.
    #[arg(long, value_name = "SERVICE", visible_alias = "protocol")]
    pub(crate) service: Option<String>,
    /// Only flows with this verdict; a live flow that was cut counts as denied, and none is rejected.
    #[arg(long, value_parser = ["allow", "deny", "reject", "potentially-blocked"])]
    pub(crate) verdict: Option<String>,
    /// Only flows that this rule or default decided.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Only flows on this wire; not for records.
    #[arg(long, value_name = "NAME")]
    pub(crate) wire: Option<String>,
}

impl FlowFilter {
    /// As a query's parameters; `limit` unless told otherwise.
    pub(super) fn parameters(&self, limit: Option<u32>) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("limit", self.limit.or(limit).map(|limit| limit.to_string())),
            ("workload", self.workload.clone()),
            ("address", self.address.map(|address| address.to_string())),
            ("label", self.label.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("service", self.service.clone()),
            ("verdict", self.verdict.clone()),
            ("rule", self.rule.clone()),
            ("wire", self.wire.clone()),
        ]
    }
}

/// In which order flows are listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FlowOrder {
    /// Most bytes first.
    Bytes,
    /// Most packets first.
    Packets,
    /// Youngest first.
    Age,
}

/// Arguments of `flows`.
#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    #[command(flatten)]
    pub(crate) filter: FlowFilter,
    /// In this order; in no order unless told.
    #[arg(long, value_enum, conflicts_with = "follow")]
    pub(crate) sort: Option<FlowOrder>,
    /// Tell of flows as they begin, end and are denied, until ^C; with --limit, until so many were told.
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `records`.
#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    #[command(flatten)]
    pub(crate) filter: FlowFilter,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// In which order rules are listed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum RuleOrder {
    /// As they are evaluated.
    #[default]
    Order,
    /// Most hits first.
    Hits,
    /// Last hit first.
    Last,
    /// By name.
    Name,
}

/// Arguments of `rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// Only rules that never decided anything, neither counted since the start nor in the flow records.
    #[arg(long)]
    pub(crate) unused: bool,
    /// Only rules that can never decide anything: others before them take all they match, or nothing matches.
    #[arg(long)]
    pub(crate) shadowed: bool,
    /// Only rules of this tier; `default` for the defaults.
    #[arg(long, value_name = "TIER")]
    pub(crate) tier: Option<String>,
    /// Only rules whose name holds this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// In this order.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: RuleOrder,
    /// At most so many rules.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `drops`.
#[derive(Debug, Args)]
pub(crate) struct DropsArgs {
    /// Only drops for this reason.
    #[arg(long, value_name = "REASON", value_parser = DropReason::ALL.iter().map(|one| one.name()).collect::<Vec<_>>())]
    pub(crate) reason: Option<String>,
    /// Only drops by this rule or default.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Only drops with this workload at either end.
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Only drops with this label at either end; several, separated by commas, for one end.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Option<String>,
    /// Only drops of what was sent by: labels, a workload, net:NAME, an address, a prefix, or `unknown`.
    #[arg(long, value_name = "END")]
    pub(crate) from: Option<String>,
    /// Only drops of what was sent to: as --from.
    #[arg(long, value_name = "END")]
    pub(crate) to: Option<String>,
    /// Only drops of what was sent to this port.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Only drops of this protocol or service: tcp, tcp/443, udp/8000-8099, icmp, gre, 47.
    #[arg(long, value_name = "SERVICE", visible_alias = "protocol")]
    pub(crate) service: Option<String>,
    /// Only drops on this wire.
    #[arg(long, value_name = "NAME")]
    pub(crate) wire: Option<String>,
    /// At most so many rows of each table.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// For so many of the most frequent drops by policy, the smallest change that would allow them; 0 to 20.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub(crate) suggest: u32,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

impl DropsArgs {
    pub(super) fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("reason", self.reason.clone()),
            ("rule", self.rule.clone()),
            ("workload", self.workload.clone()),
            ("label", self.label.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("service", self.service.clone()),
            ("wire", self.wire.clone()),
            ("limit", Some(self.limit.to_string())),
            ("suggest", Some(self.suggest.to_string())),
        ]
    }
}
