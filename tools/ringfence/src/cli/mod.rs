//! The command tree and where each command is done.

mod check;
mod diff;
mod import;
mod life;
mod map;
mod offline;
mod policy;
mod policy_args;
mod print;
mod proxies;
mod records;
mod run;
mod show;
mod test;
mod workload;
mod told;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use policy_args::{
    Candidate, CandidateArgs, ConfirmArgs, DropArgs, PolicyCommand, PublishArgs, RollbackArgs, StageArgs,
};

pub(crate) use map::MapArgs;
pub(crate) use workload::WorkloadCommand;

use crate::outcome::Outcome;
use crate::{demo, replay};

/// Label policy for network segments, enforced on the wire.
///
/// One binary: `ringfence run` is the daemon, everything else asks it over its socket or works on policy files by
/// itself.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, after_help = TOUR)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const TOUR: &str = "\
First steps:
  ringfence demo                                see it work, in namespaces of its own (root)
  ringfence check policy.yaml                   is this policy right?
  ringfence explain --policy policy.yaml web-1 db-1 tcp/5432
                                                what would happen, and which rule decides?
  ringfence run --config ringfence.yaml         enforce it

Exit status: 0 done; 1 refused or failed, with a message on stderr; 2 bad usage.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a lab of namespaces, enforce the sample policy on real traffic, show what happened.
    #[command(
        after_help = "Examples:\n  ringfence demo\n  ringfence demo --check   # status 1 if any expectation fails"
    )]
    Demo(demo::Args),
    /// Run the daemon in the foreground until SIGTERM or ^C.
    #[command(after_help = "Examples:
  ringfence run --config /etc/ringfence/ringfence.yaml
  ringfence run --config ringfence.yaml --policy-from-config   # forget what was published last
  ringfence run --config ringfence.yaml --take-over            # in the place of the one that runs

SIGHUP publishes the policy files that the configuration names again.")]
    Run(RunArgs),
    /// Would this policy be published? Every error with file, line, column and what was legal; rules that contradict
    /// each other and assertions that do not hold, with a flow that shows it; rules that never decide anything.
    #[command(after_help = "Examples:
  ringfence check policy.yaml
  ringfence check policies/ inventory.yaml --json")]
    Check(CheckArgs),
    /// The verdict for one packet, the rule that decides, and why.
    #[command(after_help = "Examples:
  ringfence explain --policy policy.yaml web-1 db-1 tcp/5432
  ringfence explain web-1 10.0.0.9 icmp/8 --json                # asks the daemon")]
    Explain(ExplainArgs),
    /// Who reaches whom: the verdict for every pair of workloads.
    #[command(after_help = "Examples:
  ringfence matrix --policy policy.yaml tcp/443
  ringfence matrix tcp/5432 --csv > reach.csv                   # asks the daemon")]
    Matrix(MatrixArgs),
    /// What changes between two policies, in label terms: who may speak to whom, and may no longer.
    #[command(after_help = "Examples:
  ringfence diff --policy old.yaml --against new.yaml
  ringfence diff --policy policies/ --against draft/ --json       # for a review in CI

Status 0 whether or not anything changes. BY names the rule before and after, for one flow of the row.")]
    Diff(DiffArgs),
    /// Print the manifests of other systems as a native policy that means the same.
    #[command(after_help = "Examples:
  ringfence import cluster.yaml > policy.yaml
  kubectl get pods,namespaces,networkpolicies -A -o yaml > cluster.yaml

Read are pods and what makes them, namespaces, nodes; NetworkPolicy, ClusterNetworkPolicy, AdminNetworkPolicy,
BaselineAdminNetworkPolicy; the policies of Cilium and Calico at layers 3 and 4. What is not known is refused with its
place. Every command with --policy takes the manifests themselves too.")]
    Import(ImportArgs),
    /// Run a capture through the very packet path: one JSON line for each packet.
    #[command(after_help = "Examples:
  ringfence replay --policy policy.yaml capture.pcapng
  ringfence replay --policy policies/ --inside 10.1.0.0/16 capture.pcap")]
    Replay(replay::Args),
    /// What the daemon is doing: wires, proxies, workers, policy in force.
    Status(ReadArgs),
    /// The live flows, with the labels of both ends and the rule that let them in.
    #[command(after_help = "Examples:
  ringfence flows --workload web-1 --port 5432
  ringfence flows --label app=shop --limit 1000 --json")]
    Flows(FlowsArgs),
    /// The flows there were, summed up, and whether any were missed. Kept across restarts.
    #[command(after_help = "Examples:
  ringfence records --verdict deny --label app=shop
  ringfence records --rule default/deny --limit 1000 --json")]
    Records(FlowsArgs),
    /// Which applications depend on which, what policy says of it, and what a draft says.
    #[command(after_help = "Examples:
  ringfence map                                     # applications, tiers inside
  ringfence map --since 15m --label env=prod --draft next
  ringfence map --by app,env --format svg --output map.svg
  ringfence map --format dot | dot -Tpdf > map.pdf")]
    Map(MapArgs),
    /// The rules in force, with their hits since the daemon started.
    Rules(ReadArgs),
    /// The workloads of the policy in force.
    Workloads(ReadArgs),
    /// Add, relabel and remove workloads of the running daemon, beside the policy's files.
    #[command(subcommand)]
    Workload(WorkloadCommand),
    /// What was dropped: a counter for each reason, and the most frequent (rule, source, destination, service).
    Drops(ReadArgs),
    /// Stage, compare, simulate, publish, confirm and roll back policies of the running daemon.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the JSON Schema of policy files, for editors.
    #[command(after_help = "Example:\n  ringfence schema > ringfence.schema.json")]
    Schema,
    /// Print the version.
    Version,
}

/// Where the daemon is.
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", env = "RINGFENCE_SOCKET", default_value = control::config::DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
}

/// Arguments of the commands that only read.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) daemon: Daemon,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration file; every key is explained in config/ringfence.yaml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Start from the configuration's policy files even if another policy was published since.
    #[arg(long)]
    pub(crate) policy_from_config: bool,
    /// Take the place of the daemon that runs with the same socket and state, if there is one: no client of a proxy is
    /// refused, and open connections go on. Wires are interrupted as by a restart.
    #[arg(long)]
    pub(crate) take_over: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Policy files and directories; together they are one policy.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Print the diagnostics as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Manifests and directories of them; together they are one policy.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print JSON: the text as `policy`, and what was warned of as `diagnostics`.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Policy file or directory; may be repeated. Without it, the daemon is asked.
    #[arg(long, value_name = "PATH")]
    pub(crate) policy: Vec<PathBuf>,
    /// Who initiates: an address or the name of a workload.
    pub(crate) source: String,
    /// Who answers: an address or the name of a workload.
    pub(crate) destination: String,
    /// Protocol and port (tcp/443), ICMP type (icmp/8, icmpv6/128) or protocol (gre, 47).
    pub(crate) service: String,
    /// Under the policy and inventory of this epoch, as records and `history` carry it: asks the daemon.
    #[arg(long, value_name = "EPOCH", conflicts_with = "policy")]
    pub(crate) epoch: Option<u32>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// Policy file or directory; may be repeated. Without it, the daemon is asked.
    #[arg(long, value_name = "PATH")]
    pub(crate) policy: Vec<PathBuf>,
    /// Protocol and port (tcp/443), ICMP type (icmp/8, icmpv6/128) or protocol (gre, 47).
    pub(crate) service: String,
    /// Print CSV: a line for each pair.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The old policy: file or directory; may be repeated.
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) policy: Vec<PathBuf>,
    /// The new policy: file or directory; may be repeated.
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) against: Vec<PathBuf>,
    /// Compare at most so many pairs of label tuples (4 million unless told); what is left out is said.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pairs: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `flows` and `records`.
#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    /// At most so many flows.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Only flows with this workload at either end.
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Only flows with this address at either end.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// Only flows with this label at either end.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Option<String>,
    /// Only flows to this port.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Only flows with this verdict; a live flow that was cut counts as denied, and none is rejected.
    #[arg(long, value_parser = ["allow", "deny", "reject"])]
    pub(crate) verdict: Option<String>,
    /// Only flows that this rule or default decided.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Does `command`.
pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Import(args) => import::import(&args),
        Command::Explain(args) => offline::explain(&args),
        Command::Matrix(args) => offline::matrix(&args),
        Command::Diff(args) => diff::offline(&args),
        Command::Status(args) => show::status(&args),
        Command::Flows(args) => show::flows(&args),
        Command::Records(args) => records::records(&args),
        Command::Map(args) => map::map(&args),
        Command::Rules(args) => show::rules(&args),
        Command::Workloads(args) => show::workloads(&args),
        Command::Workload(command) => workload::run(&command),
        Command::Drops(args) => show::drops(&args),
        Command::Policy(command) => match command {
            PolicyCommand::Stage(args) => life::stage(&args),
            PolicyCommand::Drafts(args) => life::drafts(&args),
            PolicyCommand::Drop(args) => life::unstage(&args),
            PolicyCommand::Diff(args) => life::diff(&args),
            PolicyCommand::Simulate(args) => life::simulate(&args),
            PolicyCommand::Confirm(args) => life::confirm(&args),
            PolicyCommand::Publish(args) => policy::publish(&args),
            PolicyCommand::Promote(args) => policy::promote(&args),
            PolicyCommand::Rollback(args) => policy::rollback(&args),
            PolicyCommand::Test(args) => test::test(&args),
            PolicyCommand::History(args) => policy::history(&args),
            PolicyCommand::Show(args) => policy::show(&args),
        },
        Command::Schema => print::json(&control::policy::json_schema()),
        Command::Version => print::out(&format!("ringfence {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
