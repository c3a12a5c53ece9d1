//! The arguments of `ringfence policy …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ProposeArgs, ReadArgs, life};

/// The life cycle of a policy.
#[derive(Debug, Subcommand)]
#[command(after_help = "A change made safely:
  ringfence policy stage next policy.yaml      # evaluated beside the enforced policy, never acted on
  ringfence policy drafts                      # what it would have decided
  ringfence policy diff --draft next           # who may speak to whom, and may no longer
  ringfence policy simulate --draft next       # which recorded flows change, which live ones die
  ringfence policy publish --draft next --max-cut 0 --confirm-within 60s
  ringfence policy confirm                     # or it reverts by itself")]
pub(crate) enum PolicyCommand {
    /// Stage a draft: its verdicts are counted beside those of the enforced policy, and never acted on.
    #[command(after_help = "Example:
  ringfence policy stage next policy.yaml -m 'no more telnet'

At most eight drafts; they survive a restart. A draft of the same name is replaced.")]
    Stage(StageArgs),
    /// The drafts, with what they would have decided.
    #[command(after_help = "Example:\n  ringfence policy drafts --json")]
    Drafts(ReadArgs),
    /// Drop a draft.
    #[command(alias = "unstage", after_help = "Example:\n  ringfence policy drop next")]
    Drop(DropArgs),
    /// Rules for what was seen: the fewest label rules that allow what no rule allows yet, with what else they would
    /// allow.
    #[command(after_help = "Examples:
  ringfence policy propose > proposed.yaml                  # stands beside the policy's own files
  ringfence policy propose --label app=shop --since 1h --tightness app
  ringfence policy propose --stage next                     # the policy in force with these rules, as a draft

Counted are tuples of source workload, destination workload and service; unseen ones are what a rule allows beyond what
was seen.")]
    Propose(ProposeArgs),
    /// What a policy would change against the one in force, in label terms.
    #[command(after_help = "Examples:
  ringfence policy diff policy.yaml
  ringfence policy diff --draft next --json")]
    Diff(CandidateArgs),
    /// Replay recorded flows through a policy's own table, and list the live flows that it would end.
    #[command(after_help = "Examples:
  ringfence policy simulate policy.yaml
  ringfence policy simulate --draft next --json

The answer says how many events the record missed: without any, it is complete from its start to its end.")]
    Simulate(CandidateArgs),
    /// Replace the policy in force; when this returns, every worker decides by the new one.
    #[command(after_help = "Examples:
  ringfence policy publish policy.yaml --message 'open the shop'
  ringfence policy publish --draft next --max-cut 0 --require-simulation --confirm-within 60s

With --confirm-within, the policy before comes back by itself unless `ringfence policy confirm` is called in time,
whatever becomes of this session or of the daemon.")]
    Publish(PublishArgs),
    /// Keep the policy in force that was published with --confirm-within.
    #[command(after_help = "Example:\n  ringfence policy confirm")]
    Confirm(ConfirmArgs),
    /// Put the policy that is on trial (`publish --canary`) in force for every workload.
    #[command(
        after_help = "Example:\n  ringfence policy publish new.yaml --canary app=shop\n  ringfence policy promote"
    )]
    Promote(ReadArgs),
    /// Publish an earlier policy again, by the epoch that `history` shows.
    #[command(after_help = "Example:\n  ringfence policy rollback 7")]
    Rollback(RollbackArgs),
    /// Run the tests that policy files carry: a line for each, status 1 if any fails or the policy would be refused.
    #[command(after_help = "Examples:
  ringfence policy test policy.yaml
  ringfence policy test tests/ --policy policy.yaml --policy inventory.yaml --junit report.xml")]
    Test(TestArgs),
    /// Every policy that was published: epoch, time, hash, by whom, what was edited.
    #[command(after_help = "Example:\n  ringfence policy history --json")]
    History(ReadArgs),
    /// Print the source text of the policy in force.
    #[command(after_help = "Example:\n  ringfence policy show > policy.yaml")]
    Show(ReadArgs),
}

/// A policy that is not in force: files, or a draft.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["files", "draft"])]
pub(crate) struct Candidate {
    /// Policy files and directories; together they are one policy.
    #[arg(value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// A draft of the daemon; `staged` for the rules that the policy in force marks so.
    #[arg(long, value_name = "NAME")]
    pub(crate) draft: Option<String>,
}

/// Arguments of `policy diff` and `policy simulate`.
#[derive(Debug, Args)]
pub(crate) struct CandidateArgs {
    #[command(flatten)]
    pub(crate) candidate: Candidate,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `policy stage`.
#[derive(Debug, Args)]
pub(crate) struct StageArgs {
    /// Its name: lower-case letters, digits, `.`, `_` and `-`.
    pub(crate) name: String,
    /// Policy files and directories; together they are one policy.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Why; kept with it.
    #[arg(long, short, default_value = "")]
    pub(crate) message: String,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `policy drop`.
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// The draft's name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `policy publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) candidate: Candidate,
    /// Why; kept in the history.
    #[arg(long, short, default_value = "")]
    pub(crate) message: String,
    /// Refuse if another policy is in force than that of this epoch.
    #[arg(long, value_name = "EPOCH")]
    pub(crate) if_epoch: Option<u32>,
    /// Refuse if more live flows than this would end.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_cut: Option<u64>,
    /// Refuse unless the record of flows is complete, and count recorded flows that would be denied under --max-cut
    /// too (0 unless told).
    #[arg(long)]
    pub(crate) require_simulation: bool,
    /// Put it in force only for the workloads that this selects, as `app=shop,role=web` or `{app: shop}`; the policy in
    /// force keeps the rest. `policy promote` then puts it in force everywhere.
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) canary: Option<String>,
    /// Revert by itself unless confirmed in this time, as 90s, 10m or 1h.
    #[arg(long, value_name = "TIME", value_parser = life::time)]
    pub(crate) confirm_within: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `policy confirm`.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Only if the policy that waits has this epoch.
    pub(crate) epoch: Option<u32>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `policy rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The epoch of the policy to publish again.
    pub(crate) epoch: u32,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `policy test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Files and directories with tests; together with `--policy` they are one policy.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Policy file or directory that the tests are about; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub(crate) policy: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the results as JUnit XML too.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}
