//! Where a record comes from: commit, kernel, CPU, tool versions and the command line. Without them a figure is an
//! anecdote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::MeasureError;

/// What the record says of this run of `binary`; `tools` are name, program and the arguments that make it tell its
/// version.
#[must_use]
pub fn provenance(binary: &str, tools: &[(&'static str, &str, &[&str])]) -> BTreeMap<&'static str, String> {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let cpu = cpuinfo.lines().find_map(|line| {
        line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
    let commit = said("git", &["rev-parse", "HEAD"]).unwrap_or_default();
    let mut command: Vec<String> = std::env::args().skip(1).collect();
    command.insert(0, format!("cargo run --release -p bench --bin {binary} --"));
    let mut all = BTreeMap::from([
        ("date", jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %:z").to_string()),
        ("commit", if changed { format!("{commit} with changes") } else { commit }),
        ("kernel", file("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("cpu", format!("{} x {cpus}", cpu.unwrap_or_default())),
        ("command", command.join(" ")),
    ]);
    for (name, program, arguments) in tools {
        all.insert(name, said(program, arguments).unwrap_or_else(|| "not there".into()));
    }
    all
}

/// The first line that a program prints, on either output; none if it cannot be run or prints nothing.
#[must_use]
pub fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both).into_owned();
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Writes a record as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write(record: &impl Serialize, path: &Path) -> Result<(), MeasureError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, serde_json::to_string_pretty(record)? + "\n")?)
}
