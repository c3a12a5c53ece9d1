//! `ringfence workload …`: the inventory of a running daemon.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ReadArgs;
use super::print::{self, out};
use crate::client::{self, escaped};
use crate::outcome::{Failure, Outcome};

/// A change of the inventory.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkloadCommand {
    /// Add a workload, or replace the one of this name.
    #[command(after_help = "Example:
  ringfence workload set web-7 --address 10.0.0.7 --address fd00::7 --label app=shop --label role=web

The change goes through the gate of a policy: refused if an assertion would not hold. It outlives publishes.")]
    Set(SetArgs),
    /// Change labels of a workload.
    #[command(after_help = "Examples:
  ringfence workload label web-7 env=prod          # in place of the values it has
  ringfence workload label web-7 app=shop app=crm  # two values
  ringfence workload label web-7 env-              # without the key")]
    Label(LabelArgs),
    /// Remove a workload.
    #[command(after_help = "Example:\n  ringfence workload remove web-7")]
    Remove(RemoveArgs),
}

/// Arguments of `workload set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Its name.
    pub(crate) name: String,
    /// One of its addresses; may be repeated.
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(crate) address: Vec<String>,
    /// One of its labels; may be repeated, also for one key. Without any, it is in quarantine.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// One of its Ethernet addresses; may be repeated.
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Vec<String>,
    /// The wire it is behind.
    #[arg(long, value_name = "WIRE")]
    pub(crate) wire: Option<String>,
    /// Refuse if more live flows than this would end.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_cut: Option<u64>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `workload label`.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Its name.
    pub(crate) name: String,
    /// `KEY=VALUE` sets, `KEY-` removes.
    #[arg(required = true, value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Refuse if more live flows than this would end.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_cut: Option<u64>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// Arguments of `workload remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

type Labels = BTreeMap<String, BTreeSet<String>>;

/// Keys to set, and keys to remove.
fn labels(words: &[String]) -> Result<(Labels, Vec<String>), Failure> {
    let (mut set, mut gone) = (Labels::new(), Vec::new());
    for word in words {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => {
                set.entry(key.to_owned()).or_default().insert(value.to_owned());
            }
            (None, Some(key)) if !key.is_empty() => gone.push(key.to_owned()),
            _ => {
                return Err(Failure::Usage(format!(
                    "`{word}` is no label: write KEY=VALUE, or KEY- to remove it"
                )));
            }
        }
    }
    Ok((set, gone))
}

/// Does `command`.
pub(super) fn run(command: &WorkloadCommand) -> Outcome {
    let path = |name: &str| format!("/v1/workloads/{}", escaped(name));
    let (read, answer) = match command {
        WorkloadCommand::Set(args) => {
            let (set, gone) = labels(&args.label)?;
            if let Some(key) = gone.first() {
                return Err(Failure::Usage(format!("`{key}-` has no meaning here: write KEY=VALUE")));
            }
            let mut workload = json!({"addresses": args.address});
            if !set.is_empty() {
                workload["labels"] = json!(set);
            }
            if !args.mac.is_empty() {
                workload["macs"] = json!(args.mac);
            }
            if let Some(wire) = &args.wire {
                workload["wire"] = json!(wire);
            }
            let body = json!({"workload": workload, "max_cut": args.max_cut});
            (&args.read, client::put(&args.read.daemon.socket, &path(&args.name), &body)?)
        }
        WorkloadCommand::Label(args) => {
            let (set, gone) = labels(&args.labels)?;
            let body = json!({"set": set, "remove": gone, "max_cut": args.max_cut});
            let path = format!("{}/labels", path(&args.name));
            (&args.read, client::post(&args.read.daemon.socket, &path, &body)?)
        }
        WorkloadCommand::Remove(args) => {
            (&args.read, client::delete(&args.read.daemon.socket, &path(&args.name))?)
        }
    };
    if read.json { print::json(&answer) } else { out(&told(&answer)) }
}

fn told(answer: &Value) -> String {
    format!(
        "workload {}: in force after {:.1} ms (compiled in {:.1} ms, proved in {:.1} ms)\n",
        answer["workload"].as_str().unwrap_or(""),
        answer["taken_ms"].as_f64().unwrap_or(0.0),
        answer["compile_ms"].as_f64().unwrap_or(0.0),
        answer["prove_ms"].as_f64().unwrap_or(0.0),
    )
}
