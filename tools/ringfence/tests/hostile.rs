//! Policy that somebody made to hurt: each is refused with a message, in bounded memory and work.
//!
//! Every case runs `ringfence check` under a limit of CPU time, which ends what hangs, and under one of memory far below
//! what the input stands for; a process that is ended, or that panics, has no exit status 1 and fails the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};

/// CPU time of one check, seconds: ten times what the slowest case takes in an unoptimised build.
const CPU_SECONDS: u32 = 120;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-hostile-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `ringfence check PATH` with at most `mebibytes` of data.
fn check(path: &std::path::Path, mebibytes: u32) -> Output {
    let script =
        format!("ulimit -t {CPU_SECONDS} && ulimit -v {} && exec \"$0\" check \"$1\"", mebibytes << 10);
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_ringfence")])
        .arg(path)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// The check says no, an error has this code, and the message is of a readable size.
fn refused(name: &str, path: &std::path::Path, mebibytes: u32, code: &str) {
    let output = check(path, mebibytes);
    let told = String::from_utf8_lossy(&output.stderr);
    let first = told.lines().next().unwrap_or("").to_owned();
    assert_eq!(output.status.code(), Some(1), "{name}: {:?}, {first}", output.status);
    let names_it = told.lines().any(|line| line.starts_with(&format!("error[{code}]")));
    assert!(names_it, "{name}: no error[{code}], first: {first}");
    assert!(told.len() < 1 << 20, "{name}: {} bytes of messages", told.len());
}

const HEAD: &str = "ringfence: 1\nworkloads:\n- {name: a, labels: {k: b}, addresses: [10.0.0.1]}\n";

#[test]
fn texts_that_blow_up() {
    let folder = Folder::new("texts");
    let laughs = |letters: &str| {
        let pairs = letters.chars().zip(letters.chars().skip(1));
        let lines = pairs
            .map(|(last, next)| format!("{next}: &{next} [{}]\n", vec![format!("*{last}"); 9].join(",")));
        format!("ringfence: 1\na: &a [x,x,x,x,x,x,x,x,x]\n{}", lines.collect::<String>())
    };
    let scalar = format!("{HEAD}- {{name: {}, addresses: [10.0.0.2]}}\n", "x".repeat(8_000_000));
    let values = (0..1_000_000).map(|at| format!("v{at}")).collect::<Vec<_>>().join(",");
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("aliases of aliases", laughs("abcdefghi").into(), "limit"),
        ("an alias of itself", b"ringfence: 1\nrules: &a [*a]\n".into(), "yaml-feature"),
        (
            "a million aliases",
            format!("ringfence: 1\nx: &a [1,2,3]\nrules: [{}]\n", "*a,".repeat(1_000_000)).into(),
            "wrong-type",
        ),
        ("lists in lists", format!("ringfence: 1\nrules: {}", "[".repeat(1_000_000)).into(), "limit"),
        (
            "mappings in mappings",
            format!("ringfence: 1\nrules: {}", "{a: ".repeat(1_000_000)).into(),
            "limit",
        ),
        ("dashes", format!("ringfence: 1\nrules:\n{}", "- ".repeat(1_000_000)).into(), "limit"),
        ("not UTF-8", [b"ringfence: 1\n# ".as_slice(), &[0xff; 1000]].concat(), "encoding"),
        ("a word of 20 MB", scalar.into(), "bad-name"),
        (
            "a million values of a label",
            format!("{HEAD}- {{name: b, labels: {{k: [{values}]}}, addresses: [10.0.0.2]}}\n").into(),
            "limit",
        ),
        (
            "a selector with a million values",
            format!("{HEAD}rules:\n- {{name: r, from: {{k: [{values}]}}, to: any, service: any}}\n").into(),
            "limit",
        ),
        (
            "a key a hundred thousand times",
            format!("ringfence: 1\nworkloads:\n- {{{}}}\n", "name: a,".repeat(100_000)).into(),
            "duplicate-key",
        ),
        (
            "a hundred thousand unknown fields",
            (0..100_000).fold("ringfence: 1\n".to_owned(), |text, at| text + &format!("x{at}: 1\n")).into(),
            "unknown-field",
        ),
        (
            "a name a hundred thousand times",
            format!("{HEAD}{}", "- {name: a, addresses: [10.0.0.1]}\n".repeat(100_000)).into(),
            "duplicate-name",
        ),
    ];
    for (name, text, code) in table {
        refused(name, &folder.file("policy.yaml", text), 1536, code);
    }
}

/// Short files that would stand for gigabytes once their names are resolved.
#[test]
fn policies_that_multiply() {
    let folder = Folder::new("multiply");
    let ports = (0..4096).map(|at| format!("tcp/{}", 2 * at + 1)).collect::<Vec<_>>().join(",");
    let rules = |of: &str, count: usize| {
        (0..count).map(|at| format!("- {{name: r{at}, {of}}}\n")).collect::<String>()
    };
    let names = |letter: &str, count: usize| (0..count).map(|at| format!("{letter}{at}")).collect::<Vec<_>>();
    let services = format!(
        "{HEAD}services:\n- {{name: s, ports: [{ports}]}}\nrules:\n{}",
        rules("from: {k: b}, to: any, service: s", 3_000)
    );
    let scope = format!(
        "{HEAD}rulesets:\n- name: all\n  scope: {{k: [b,{}]}}\n  rules:\n{}",
        names("v", 255).join(","),
        rules("from: any, to: any, service: any", 18_000).replace("- {", "  - {")
    );
    let networks = |letter: &str, cidr: &dyn Fn(usize) -> String| {
        (0..8_000).map(|at| format!("- {{name: {letter}{at}, cidrs: [{}]}}\n", cidr(at))).collect::<String>()
    };
    let select = |letter: &str| {
        let named = names(letter, 8_000);
        let rule = |(at, some): (usize, &[String])| {
            format!(
                "- {{name: {letter}{at}, from: {{network: [{}]}}, to: any, service: any}}\n",
                some.join(",")
            )
        };
        named.chunks(10_000).enumerate().map(rule).collect::<String>()
    };
    let nested = format!(
        "ringfence: 1\nnetworks:\n{}{}rules:\n{}{}",
        networks("o", &|_| "10.0.0.0/8".to_owned()),
        networks("i", &|at| format!("10.{}.{}.0/24", at >> 8, at & 255)),
        select("o"),
        select("i")
    );
    refused("3,000 rules of 4,096 ports", &folder.file("services.yaml", services), 2048, "limit");
    refused("a scope of 256 values for 18,000 rules", &folder.file("scope.yaml", scope), 2048, "limit");
    let output = check(&folder.file("networks.yaml", nested), 3072);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("networks inside networks would need"), "{told}");
}

#[test]
fn files_that_are_none() {
    let folder = Folder::new("files");
    let gigabyte = folder.0.join("gigabyte.yaml");
    File::create(&gigabyte).unwrap().set_len(1 << 30).unwrap();
    let pipe = folder.0.join("pipe.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (here, there) = (folder.0.join("here.yaml"), folder.0.join("there.yaml"));
    std::os::unix::fs::symlink(&there, &here).unwrap();
    std::os::unix::fs::symlink(&here, &there).unwrap();
    let device = folder.0.join("zero.yaml");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    let socket = folder.0.join("socket.yaml");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (name, path, code) in [
        ("a gigabyte", &gigabyte, "limit"),
        ("a pipe", &pipe, "file"),
        ("links in a circle", &here, "file"),
        ("a device", &device, "file"),
        ("a socket", &socket, "file"),
        ("nothing", &folder.0.join("none.yaml"), "file"),
    ] {
        refused(name, path, 512, code);
    }
}

#[test]
fn directories_without_end() {
    let folder = Folder::new("many");
    let many = folder.0.join("many");
    std::fs::create_dir(&many).unwrap();
    for at in 0..11_000 {
        File::create(many.join(format!("{at}.yaml"))).unwrap();
    }
    refused("11,000 files", &many, 512, "limit");
    let circle = folder.0.join("circle");
    std::fs::create_dir(&circle).unwrap();
    std::os::unix::fs::symlink(&circle, circle.join("again")).unwrap();
    refused("a link to the directory it is in", &circle, 512, "file");
    let deep = folder.0.join("deep");
    std::fs::create_dir_all(deep.join(["d"; 40].join("/"))).unwrap();
    refused("directories in directories", &deep, 512, "limit");
}
