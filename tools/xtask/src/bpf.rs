//! Builds the BPF objects from their C sources, or checks that what is committed is what they build to.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

const FOLDERS: [&str; 2] = ["dataplane/bpf", "bench/bpf"];
/// The compiler whose output is committed: another major version makes other bytes from the same source.
const CLANG: &str = "clang-14";
const STRIP: &str = "llvm-strip-14";
const SUFFIX: &str = ".bpf.c";

/// Rebuilds every object; with `check`, compares instead of replacing. Without the one right compiler a check is
/// skipped, loudly, and a build fails.
pub(crate) fn run(check: bool) -> ExitCode {
    if let Err(missing) = version(CLANG).and_then(|_| version(STRIP)) {
        if check {
            println!("bpf: SKIPPED, nothing was compared: {missing}");
            return ExitCode::SUCCESS;
        }
        eprintln!("bpf: {missing}; on Debian 12: apt-get install clang-14 llvm-14 libbpf-dev");
        return ExitCode::FAILURE;
    }
    match objects(check) {
        Ok(lines) if !lines.is_empty() => {
            lines.iter().for_each(|line| println!("bpf: {line}"));
            ExitCode::SUCCESS
        }
        Ok(_) => {
            eprintln!(
                "bpf: no *{SUFFIX} in {}; run this at the root of the repository",
                FOLDERS.join(" or ")
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bpf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether `program` runs; what is missing if not.
fn version(program: &str) -> Result<(), String> {
    match Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} --version: {}", output.status)),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn objects(check: bool) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut sources: Vec<String> = names.filter(|name| name.ends_with(SUFFIX)).collect();
        sources.sort();
        for source in sources {
            lines.push(object(folder, &source, check)?);
        }
    }
    Ok(lines)
}

fn object(folder: &str, source: &str, check: bool) -> Result<String, String> {
    let stem = source.strip_suffix(".c").unwrap_or(source);
    let committed = Path::new(folder).join(format!("{stem}.o"));
    let built = std::env::temp_dir().join(format!("xtask-{}-{stem}.o", std::process::id()));
    let result = compile(folder, source, &built).and_then(|()| settle(&built, &committed, check));
    // A leftover in the temporary folder is no reason to fail.
    let _ = fs::remove_file(&built);
    result
}

fn compile(folder: &str, source: &str, object: &Path) -> Result<(), String> {
    let machine = std::env::consts::ARCH;
    let include = format!("-I/usr/include/{machine}-linux-gnu");
    let mut clang = Command::new(CLANG);
    clang.current_dir(folder).args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"]);
    clang.args(["-fdebug-compilation-dir=.", &include, "-c", source, "-o"]).arg(object);
    succeed(clang)?;
    // Without the debug sections, but with BTF, which describes the maps to the loader.
    let mut strip = Command::new(STRIP);
    strip.arg("-g").arg(object);
    succeed(strip)
}

fn succeed(mut command: Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

fn settle(built: &Path, committed: &Path, check: bool) -> Result<String, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let new = read(built)?;
    let name = committed.display();
    if read(committed).is_ok_and(|old| old == new) {
        return Ok(format!("{name} is what its source builds to ({} bytes)", new.len()));
    }
    if check {
        return Err(format!("{name} is not what its source builds to: run `cargo run -p xtask -- bpf`"));
    }
    fs::write(committed, &new).map_err(|error| format!("{name}: {error}"))?;
    Ok(format!("{name} written ({} bytes)", new.len()))
}
