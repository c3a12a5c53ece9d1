//! `ringfence map`: which applications depend on which, on the terminal, for Graphviz, as a picture, as JSON.

mod dot;
mod drawing;
mod layout;
mod svg;
mod text;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Daemon;
use super::print;
use crate::client::{self, query};
use crate::outcome::{Failure, Outcome};
use drawing::Drawing;

/// Arguments of `map`.
#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// Label keys that groups are made by, with commas between them; empty for one group.
    #[arg(long, value_name = "KEYS", default_value = "app")]
    by: String,
    /// Label keys that nodes in a group are made by; empty for one node a group.
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
    /// Only flows with this in a name, a label or an address of either end.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Show what this draft says beside what policy said.
    #[arg(long, value_name = "NAME")]
    draft: Option<String>,
    /// At most so many edges.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write to this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    daemon: Daemon,
}

/// What the map is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Who speaks to whom, line by line.
    Text,
    /// For `dot` of Graphviz.
    Dot,
    /// A picture for a browser, light or dark as the reader likes it.
    Svg,
    /// As `GET /v1/map` answers.
    Json,
}

/// Draws the map.
pub(super) fn map(args: &MapArgs) -> Outcome {
    let path = query(
        "/v1/map",
        &[
            ("by", Some(args.by.clone())),
            ("tier", Some(args.tier.clone())),
            ("since", args.since.clone()),
            ("until", args.until.clone()),
            ("label", args.label.clone()),
            ("search", args.search.clone()),
            ("draft", args.draft.clone()),
            ("limit", Some(args.limit.to_string())),
        ],
    );
    let answer = client::get(&args.daemon.socket, &path)?;
    let format = if args.json { Format::Json } else { args.format };
    let text = match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&answer).map_err(Failure::failed)?;
            format!("{json}\n")
        }
        Format::Text => text::text(&Drawing::read(&answer), args.output.is_none() && print::colour_out()),
        Format::Dot => dot::dot(&Drawing::read(&answer)),
        Format::Svg => svg::svg(&Drawing::read(&answer)),
    };
    match &args.output {
        None => print::out(&text),
        Some(file) => {
            std::fs::write(file, text)
                .map_err(|error| Failure::failed(format_args!("{}: {error}", file.display())))?;
            if std::io::stdout().is_terminal() {
                print::out(&format!("{} is written\n", file.display()))?;
            }
            Ok(())
        }
    }
}
