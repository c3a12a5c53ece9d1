//! `ringfence policy propose`: rules for what was seen, to standard output or straight into a draft.

use clap::Args;
use serde_json::{Value, json};

use super::ReadArgs;
use super::print::{self, count, list, out, word};
use crate::client::{self, query};
use crate::outcome::{Failure, Outcome};

/// Arguments of `policy propose`.
#[derive(Debug, Args)]
pub(crate) struct ProposeArgs {
    /// Which selectors rules may have: workloads by name; every key; every key but the tiers'; the first key.
    #[arg(long, value_parser = ["workload", "tier", "app", "wide"], default_value = "tier")]
    tightness: String,
    /// The label keys that selectors ask for, the most important first.
    #[arg(long, value_name = "KEYS", default_value = "app,role,env,loc")]
    keys: String,
    /// Those of them that tell tiers of one application apart.
    #[arg(long, value_name = "KEYS", default_value = "role")]
    tier: String,
    /// Only flows that were seen since: 15m ago (s, m, h, d), or 2026-11-22T17:40:11Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only flows that were first seen until then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only flows with this label at either end; several, with commas between them, must all hold.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Option<String>,
    /// Only flows that such an end opened: KEY=VALUE with commas between several, net:NAME, unlabelled or unknown.
    #[arg(long, value_name = "END")]
    from: Option<String>,
    /// Only flows to such an end.
    #[arg(long, value_name = "END")]
    to: Option<String>,
    /// Only flows about this service, as tcp/443.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Flows that were denied, too.
    #[arg(long)]
    include_denied: bool,
    /// Flows that a rule of the policy in force allows already, too.
    #[arg(long)]
    all: bool,
    /// Stage the policy in force with the proposed rules as a draft of this name.
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    #[command(flatten)]
    read: ReadArgs,
}

/// Prints or stages what the daemon proposes.
pub(super) fn propose(args: &ProposeArgs) -> Outcome {
    let flag = |set: bool| set.then(|| "true".to_owned());
    let path = query(
        "/v1/propose",
        &[
            ("tightness", Some(args.tightness.clone())),
            ("keys", Some(args.keys.clone())),
            ("tier", Some(args.tier.clone())),
            ("since", args.since.clone()),
            ("until", args.until.clone()),
            ("label", args.label.clone()),
            ("from", args.from.clone()),
            ("to", args.to.clone()),
            ("service", args.service.clone()),
            ("include_denied", flag(args.include_denied)),
            ("all", flag(args.all)),
        ],
    );
    let socket = &args.read.daemon.socket;
    let answer = client::get(socket, &path)?;
    let nothing = list(&answer["rules"]).is_empty();
    if args.read.json {
        print::json(&answer)?;
    } else if args.stage.is_none() {
        out(answer["yaml"].as_str().unwrap_or(""))?;
    }
    eprint!("{}", summary(&answer));
    if let Some(refusal) = answer["refusal"].as_str() {
        return Err(Failure::Failed(format!(
            "the policy in force and these rules do not go together: {refusal}"
        )));
    }
    match &args.stage {
        Some(_) if nothing => Err(Failure::Failed("nothing is staged".into())),
        Some(name) => stage(args, name, &answer),
        None => Ok(()),
    }
}

/// What it comes to.
fn summary(answer: &Value) -> String {
    let rules = list(&answer["rules"]);
    let sum = |key: &str| rules.iter().filter_map(|rule| rule[key].as_u64()).sum::<u64>();
    let mut text = format!(
        "{}: {} tuples, {} of them unseen; of {} flows, {} are allowed already",
        if rules.len() == 1 { "1 rule".to_owned() } else { format!("{} rules", rules.len()) },
        print::thousands(sum("tuples")),
        print::thousands(sum("unseen")),
        count(&answer["flows"]),
        count(&answer["already_allowed"]),
    );
    if answer["denied"].as_u64().is_some_and(|denied| denied > 0) {
        text.push_str(&format!(", {} were denied (see --include-denied)", count(&answer["denied"])));
    }
    text.push('\n');
    let refused = list(&answer["not_proposable"]);
    for one in refused.iter().take(5) {
        text.push_str(&format!(
            "not proposed: {} -> {} {}, {} flows: {}\n",
            word(&one["source"]),
            word(&one["destination"]),
            word(&one["service"]),
            count(&one["flows"]),
            word(&one["why"])
        ));
    }
    if refused.len() > 5 {
        text.push_str(&format!("not proposed: {} more\n", refused.len() - 5));
    }
    text
}

/// Stages the policy in force with the proposed file beside its own.
fn stage(args: &ProposeArgs, name: &str, answer: &Value) -> Outcome {
    let socket = &args.read.daemon.socket;
    let now = client::get(socket, "/v1/policy")?;
    if now["epoch"] != answer["epoch"] {
        return Err(Failure::Failed("another policy came in force meanwhile: propose again".into()));
    }
    let mut files = list(&now["files"]).to_vec();
    files.push(json!({"name": answer["name"], "text": answer["yaml"]}));
    let message = format!("proposed at tightness {}", args.tightness);
    let body = json!({"name": name, "files": files, "message": message});
    let staged = client::post(socket, "/v1/policy/drafts", &body)?;
    if args.read.json { Ok(()) } else { super::life::staged(&staged) }
}
