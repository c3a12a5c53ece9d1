//! `ringfence explain｜matrix`: on policy files, or on what the daemon enforces.

use std::io::Write;
use std::path::PathBuf;

use control::policy::{CompileOptions, Compiled, Loaded, compile, load, service};
use dataplane::policy::ServiceKey;
use serde_json::{Value, json};

use super::print::{self, out, word};
use super::{ExplainArgs, MatrixArgs, told};
use crate::client;
use crate::outcome::{Failure, Outcome};

/// Loads files; faults are shown on stderr.
pub(super) fn loaded(paths: &[PathBuf]) -> Result<Loaded, Failure> {
    load(paths).map_err(|faults| {
        eprint!("{}", faults.render(print::color()));
        Failure::Told
    })
}

/// Loads and compiles.
pub(super) fn compiled(paths: &[PathBuf]) -> Result<(Loaded, Compiled), Failure> {
    let loaded = loaded(paths)?;
    let compiled = compile(&loaded.policy, &CompileOptions::default()).map_err(Failure::failed)?;
    Ok((loaded, compiled))
}

/// The service key of one flow; anything else is bad usage.
fn service(text: &str) -> Result<ServiceKey, Failure> {
    let key = service::parse_one(text).map_err(|error| Failure::Usage(error.to_string()))?;
    let [_, protocol, high, low] = key.to_be_bytes();
    Ok(ServiceKey::new(protocol, u16::from_be_bytes([high, low])))
}

/// One flow, explained.
pub(super) fn explain(args: &ExplainArgs) -> Outcome {
    let key = service(&args.service)?;
    let answer = if args.policy.is_empty() {
        let parameters = [
            ("source", Some(args.source.clone())),
            ("destination", Some(args.destination.clone())),
            ("service", Some(args.service.clone())),
            ("epoch", args.epoch.map(|epoch| epoch.to_string())),
        ];
        client::get(&args.read.daemon.socket, &client::query("/v1/explain", &parameters))?
    } else {
        let (loaded, compiled) = compiled(&args.policy)?;
        let explained =
            control::policy::explain(&loaded.policy, compiled.named(), &args.source, &args.destination, key);
        json!(explained.map_err(Failure::failed)?)
    };
    if args.read.json { print::json(&answer) } else { out(&told::explanation(&answer)) }
}

/// Every pair of workloads.
pub(super) fn matrix(args: &MatrixArgs) -> Outcome {
    let key = service(&args.service)?;
    if args.policy.is_empty() {
        let format = if args.csv { "csv" } else { "json" };
        let parameters = [("service", Some(args.service.clone())), ("format", Some(format.into()))];
        let path = client::query("/v1/matrix", &parameters);
        if args.csv {
            let text = client::get_text(&args.read.daemon.socket, &path)?;
            return out(&String::from_utf8_lossy(&text));
        }
        let answer = client::get(&args.read.daemon.socket, &path)?;
        return if args.read.json { print::json(&answer) } else { out(&grid(&answer)) };
    }
    let (loaded, compiled) = compiled(&args.policy)?;
    let matrix = control::policy::matrix(&loaded.policy, compiled.named(), key);
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let written = if args.csv {
        matrix.write_csv(&mut stdout)
    } else if args.read.json {
        serde_json::to_writer(&mut stdout, &matrix).map_err(Into::into)
    } else {
        return out(&grid(&json!(matrix)));
    };
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// Workloads up to this many are shown as a grid, a row for each source; more as a list of what is allowed.
const GRID_MAX: usize = 16;

fn grid(answer: &Value) -> String {
    let pairs = print::list(&answer["pairs"]);
    let allowed = pairs.iter().filter(|pair| pair["verdict"] == "allow").count();
    let names: Vec<String> = print::list(&answer["workloads"]).iter().map(word).collect();
    let closing = format!("{}: {allowed} of {} pairs allowed\n", word(&answer["service"]), pairs.len());
    if names.len() > GRID_MAX {
        let rows = pairs.iter().filter(|pair| pair["verdict"] == "allow");
        let rows =
            rows.map(|pair| vec![word(&pair["source"]), word(&pair["destination"]), word(&pair["rule"])]);
        return format!("{}{closing}", print::table(&["SOURCE", "DESTINATION", "ALLOWED BY"], rows));
    }
    let mut verdicts = pairs.iter().map(|pair| word(&pair["verdict"]));
    let rows = names.iter().enumerate().map(|(from, name)| {
        let mut row = vec![name.clone()];
        row.extend((0..names.len()).map(|to| match from == to {
            true => "-".to_owned(),
            false => verdicts.next().unwrap_or_default(),
        }));
        row
    });
    let header: Vec<&str> = std::iter::once("FROM \\ TO").chain(names.iter().map(String::as_str)).collect();
    format!("{}{closing}", print::table(&header, rows.collect::<Vec<_>>()))
}
