//! `cargo run --release -p fuzz -- TARGET RUNS SEED`

use std::process::ExitCode;

use fuzz::{TARGETS, exercise};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let target = TARGETS.iter().find(|target| arguments.first().is_some_and(|name| name == target.name));
    let (Some(target), Some(runs), Some(seed)) = (target, number(1), number(2)) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: fuzz TARGET RUNS SEED; targets: {}", names.join(", "));
        return ExitCode::from(2);
    };
    exercise(target, runs, seed);
    println!("{}: its seeds and {runs} mutations of them, from {seed}: nothing found", target.name);
    ExitCode::SUCCESS
}
