//! Chores of the repository: `cargo run -p xtask -- tidy` and `… bpf [--check]`.

mod bpf;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bpf"] => bpf::run(false),
        ["bpf", "--check"] => bpf::run(true),
        ["tidy"] => tidy::run(),
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy | bpf [--check]");
            ExitCode::from(2)
        }
    }
}
