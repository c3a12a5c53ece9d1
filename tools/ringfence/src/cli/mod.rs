//! The command tree and where each command is done.

mod capture;
mod check;
mod completions;
mod diff;
mod drops;
mod flows;
mod follow;
mod hint;
mod import;
mod life;
mod map;
mod offline;
mod page;
mod policy;
mod policy_args;
pub(crate) mod print;
mod proxies;
mod propose;
mod records;
mod rules;
mod run;
mod show;
mod test;
mod workload;
mod told;
mod view_args;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use policy_args::{
    Candidate, CandidateArgs, ConfirmArgs, DropArgs, PolicyCommand, PublishArgs, RollbackArgs, StageArgs,
};

pub(crate) use completions::{CompletionsArgs, ManArgs};
pub(crate) use life::time;
pub(crate) use map::MapArgs;
pub(crate) use propose::ProposeArgs;
pub(crate) use view_args::{DropsArgs, FlowsArgs, RecordsArgs, RulesArgs};
pub(crate) use workload::WorkloadCommand;

use crate::outcome::Outcome;
use crate::{demo, replay, top};

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
  ringfence top                                 see it at work

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
    #[command(after_help = "Examples:\n  ringfence status\n  ringfence status --json | jq .totals")]
    Status(ReadArgs),
    /// The address of the map page, with a code that signs one browser in, with your rights. Needs `http.listen` in the
    /// daemon's configuration.
    #[command(after_help = "Examples:
  ringfence page                 # open what it prints; the code is good once, for five minutes
  ringfence page --read-only     # for a screen on the wall")]
    Page(PageArgs),
    /// The live flows, with the labels of both ends and the rule that let them in; or flows as they come and go.
    #[command(after_help = "Examples:
  ringfence flows --workload web-1 --port 5432
  ringfence flows --from app=shop,role=web --to net:office --sort bytes
  ringfence flows --verdict potentially-blocked            # what enforcing would drop
  ringfence flows --follow --verdict deny                  # as it happens, until ^C
  ringfence flows --follow --limit 100 --json              # a hundred JSON lines

With --follow a line `lost` says how many events were missed, and by whom.")]
    Flows(FlowsArgs),
    /// The flows there were, summed up, and whether any were missed. Kept across restarts.
    #[command(after_help = "Examples:
  ringfence records --verdict deny --label app=shop
  ringfence records --from unknown --service tcp
  ringfence records --rule default/deny --limit 1000 --json")]
    Records(RecordsArgs),
    /// Which applications depend on which, what policy says of it, and what a draft says.
    #[command(after_help = "Examples:
  ringfence map                                     # applications, tiers inside
  ringfence map --since 15m --label env=prod --draft next
  ringfence map --by app,env --format svg --output map.svg
  ringfence map --format dot | dot -Tpdf > map.pdf")]
    Map(MapArgs),
    /// The rules in force: hits, when they last decided, what else they match, and which are unused or shadowed.
    #[command(after_help = "Examples:
  ringfence rules --sort hits --limit 20
  ringfence rules --unused                   # neither counted nor recorded: candidates for removal
  ringfence rules --shadowed --tier application --json

Hits count since the daemon's start, under any epoch; hits and defaults together are all decisions. A rule is unused
if neither they nor the flow records, which outlive restarts, know of it. ALSO counts recorded flows that the rule
matches and another rule decided.")]
    Rules(RulesArgs),
    /// The workloads of the policy in force.
    #[command(
        after_help = "Examples:\n  ringfence workloads\n  ringfence workloads --json | jq -r '.workloads[].name'"
    )]
    Workloads(ReadArgs),
    /// Add, relabel and remove workloads of the running daemon, beside the policy's files.
    #[command(subcommand)]
    Workload(WorkloadCommand),
    /// What was dropped: why, by which rule, between whom, and the smallest change that would allow it.
    #[command(after_help = "Examples:
  ringfence drops
  ringfence drops --reason policy --to role=db --suggest 5
  ringfence drops --from unknown --service tcp --limit 50 --json

The counts by reason are exact. The lists know what is recorded; what is not is counted below them.")]
    Drops(DropsArgs),
    /// The daemon at work, live: rates of wires and workers, the busiest flows, drops and rules.
    #[command(after_help = "Examples:
  ringfence top
  ringfence top --interval 5s --filter app=shop
  ringfence top --once                        # one frame as text, for scripts
  ringfence top --json | jq '.drops[0]'       # the same figures

Keys: ? shows them all. The flows are the 500 with most bytes, by what they carry now. LOAD is what the kernel says a
worker's thread uses of a core, where the daemon is on this machine.")]
    Top(top::Args),
    /// Copy packets, dropped ones unless told, into a pcapng file whose comments say what became of each and why.
    #[command(after_help = "Examples:
  ringfence capture                                     # dropped packets, a line each
  ringfence capture --dropped --reason policy --rule default/deny --workload db --count 100 -w drops.pcapng
  ringfence capture --any --port 5432 --duration 10s -w - | tshark -r - -T fields -e frame.comment

Packets carry what people say, so this needs the right to change. A copy that finds
no room is lost and counted, in the file and at the end; packets never wait.")]
    Capture(capture::Args),
    /// Stage, compare, simulate, publish, confirm and roll back policies of the running daemon.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the JSON Schema of policy files, for editors.
    #[command(after_help = "Example:\n  ringfence schema > ringfence.schema.json")]
    Schema,
    /// Print a script that completes commands and options in a shell.
    #[command(after_help = "Examples:
  ringfence completions bash > /etc/bash_completion.d/ringfence
  ringfence completions zsh > ~/.zfunc/_ringfence
  ringfence completions fish > ~/.config/fish/completions/ringfence.fish")]
    Completions(CompletionsArgs),
    /// Print a manual page, of all of ringfence or of one command.
    #[command(after_help = "Examples:
  ringfence man | man -l -
  ringfence man policy publish > ringfence-policy-publish.1")]
    Man(ManArgs),
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

/// Arguments of `page`.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Whoever signs in may read, and never change anything.
    #[arg(long)]
    pub(crate) read_only: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
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
        Command::Page(args) => page::page(&args),
        Command::Flows(args) => flows::flows(&args),
        Command::Records(args) => records::records(&args),
        Command::Map(args) => map::map(&args),
        Command::Rules(args) => rules::rules(&args),
        Command::Workloads(args) => show::workloads(&args),
        Command::Workload(command) => workload::run(&command),
        Command::Drops(args) => drops::drops(&args),
        Command::Top(args) => top::run(&args),
        Command::Capture(args) => capture::capture(&args),
        Command::Policy(command) => match command {
            PolicyCommand::Stage(args) => life::stage(&args),
            PolicyCommand::Drafts(args) => life::drafts(&args),
            PolicyCommand::Drop(args) => life::unstage(&args),
            PolicyCommand::Propose(args) => propose::propose(&args),
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
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
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
