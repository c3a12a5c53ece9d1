//! House rules that a compiler does not check, as a test: what stands at the top, how long a file may be, where
//! `unsafe` may live, and who may use whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Everything that may stand at the top of the tree, dot files aside.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "bench",
    "config",
    "control",
    "dataplane",
    "target",
    "tools",
];

/// Lines of one Rust file, tests included, that a reader can hold in mind.
const LINES_MAX: usize = 400;

/// Path prefixes that may opt out of `deny(unsafe_code)`.
const UNSAFE_LEAVES: &[&str] = &[
    "dataplane/src/frame/umem.rs",
    "dataplane/src/frame/xsk/",
    "dataplane/src/flow/memory.rs",
    "dataplane/src/prefetch.rs",
    "dataplane/src/proxy/uring/",
    "tools/ringfence/src/allocator.rs",
    "tools/conformance/tests/allocations.rs",
    "tools/conformance/tests/proxy_allocations.rs",
];

/// A folder and the paths its files must not name: the arrows of `dataplane/ARCHITECTURE.md`.
const FORBIDDEN_USES: &[(&str, &[&str])] = &[
    ("dataplane/src/headers/", &["crate::flow", "crate::policy", "crate::frame", "crate::pipeline"]),
    ("dataplane/src/flow/", &["crate::policy", "crate::pipeline", "crate::worker"]),
    ("dataplane/src/policy/", &["crate::flow", "crate::frame", "crate::pipeline", "crate::worker"]),
    ("dataplane/src/transmit/", &["crate::flow", "crate::policy", "crate::pipeline"]),
    ("dataplane/src/", &["serde", "tokio", "std::collections::HashMap"]),
    ("tools/conformance/src/oracle", &["policy::compile", "dataplane::policy", "policy::explain"]),
];

/// Runs every rule over the tree below the current folder; prints each breach and fails if there is one.
pub(crate) fn run() -> ExitCode {
    let mut breaches = top_level();
    let mut files = Vec::new();
    for folder in ["dataplane", "control", "bench", "tools"] {
        rust_files(Path::new(folder), &mut files);
    }
    for file in &files {
        match fs::read_to_string(file) {
            Ok(text) => check(&file.to_string_lossy(), &text, &mut breaches),
            Err(error) => breaches.push(format!("{}: {error}", file.display())),
        }
    }
    for breach in &breaches {
        eprintln!("{breach}");
    }
    println!("tidy: {} files, {} breaches", files.len(), breaches.len());
    if breaches.is_empty() && !files.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn top_level() -> Vec<String> {
    let Ok(entries) = fs::read_dir(".") else { return vec![".: cannot be read".to_owned()] };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| format!("{name}: does not belong at the top of the tree"))
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Appends what `text`, the contents of `file`, breaks.
fn check(file: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        breaches.push(format!("{file}: {lines} lines; split it (at most {LINES_MAX})"));
    }
    // The tests of a module are described by its own first line, and may use what they like.
    let tests = file.contains("/tests/") || file.ends_with("tests.rs");
    if !tests && !text.trim_start().starts_with("//!") && !text.trim_start().starts_with("#!") {
        breaches.push(format!("{file}: does not say in its first line what it is for"));
    }
    let leaf = UNSAFE_LEAVES.iter().any(|leaf| file.starts_with(leaf));
    let own_words = file.ends_with("xtask/src/tidy.rs");
    if !leaf && !own_words && (text.contains("unsafe {") || text.contains("unsafe impl")) {
        breaches.push(format!("{file}: `unsafe` outside the leaf modules"));
    }
    for (folder, words) in FORBIDDEN_USES.iter().filter(|(folder, _)| !tests && file.starts_with(folder)) {
        for word in words.iter().filter(|word| uses(text, word)) {
            breaches.push(format!("{file}: files of {folder} must not use {word}"));
        }
    }
}

/// Whether a line outside tests and comments imports or names `word`.
fn uses(text: &str, word: &str) -> bool {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    code.lines().map(str::trim_start).any(|line| !line.starts_with("//") && names(line, word))
}

fn names(line: &str, word: &str) -> bool {
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + word.len()..].chars().next();
        let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        if boundary(before) && boundary(after) {
            return true;
        }
        rest = &rest[at + word.len()..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, check};

    fn breaches(file: &str, text: &str) -> usize {
        let mut found = Vec::new();
        check(file, text, &mut found);
        found.len()
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let long = format!("//! x\n{}", "\n".repeat(LINES_MAX + 1));
        let table: &[(&str, &str, &str, usize)] = &[
            ("clean", "control/src/a.rs", "//! x\nfn a() {}\n", 0),
            ("too long", "control/src/a.rs", &long, 1),
            ("no first line", "control/src/a.rs", "fn a() {}\n", 1),
            ("no first line in tests", "control/src/a/tests.rs", "fn a() {}\n", 0),
            ("unsafe", "control/src/a.rs", "//! x\nfn a() { unsafe { b() } }\n", 1),
            ("unsafe in a leaf", "dataplane/src/frame/umem.rs", "//! x\nfn a() { unsafe { b() } }\n", 0),
            ("arrow", "dataplane/src/headers/tcp.rs", "//! x\nuse crate::flow::Key;\n", 1),
            (
                "arrow in a test",
                "dataplane/src/headers/tcp.rs",
                "//! x\n#[cfg(test)]\nuse crate::flow::Key;\n",
                0,
            ),
            ("comment", "dataplane/src/headers/tcp.rs", "//! x\n// crate::flow\n", 0),
            ("part of a word", "dataplane/src/headers/tcp.rs", "//! x\nuse crate::flowers;\n", 0),
        ];
        for (name, file, text, expected) in table {
            assert_eq!(breaches(file, text), *expected, "{name}");
        }
    }
}
