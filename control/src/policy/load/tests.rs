//! Loading: the samples, the schema, and files of every kind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::load;
use crate::policy::diagnostics::Code;
use crate::policy::json_schema;

fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(path)
}

#[test]
fn every_sample_loads_without_a_word() {
    let samples: Vec<_> =
        fs::read_dir(config("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let samples: Vec<_> =
        samples.into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    assert!(samples.len() >= 18);
    for sample in samples {
        let loaded = load(std::slice::from_ref(&sample)).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(!loaded.policy.workloads.is_empty(), "{}", sample.display());
    }
}

/// `UPDATE_SCHEMA=1 cargo test -p control schema` writes the file anew.
#[test]
fn the_committed_schema_is_current() {
    let path = config("policy.schema.json");
    let current = format!("{:#}\n", json_schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "config/policy.schema.json is not what the types say; see this test's comment"
    );
}

/// A directory of one test, removed when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-load-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_directory_is_read_whole_and_in_order() {
    let scratch = Scratch::new("order");
    let policy = |name: &str, last: u8| {
        format!("ringfence: 1\nworkloads: [{{name: {name}, labels: {{a: b}}, addresses: 10.0.0.{last}}}]\n")
    };
    scratch.write("b.yaml", policy("b", 2));
    scratch.write("a/z.yml", policy("z", 3));
    let json = scratch
        .write("c.json", r#"{"ringfence": 1, "workloads": [{"name": "j", "addresses": ["10.0.0.4"]}]}"#);
    scratch.write("readme.txt", "not a policy");
    scratch.write(".hidden.yaml", "not a policy");
    scratch.write(".git/x.yaml", "not a policy");
    symlink(scratch.0.join("b.yaml"), scratch.0.join("link.yaml")).unwrap();
    let loaded = load(&[scratch.0.clone(), json]).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<_> = loaded.files.iter().map(|file| file.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["z.yml", "b.yaml", "c.json"]);
    assert_eq!(loaded.policy.workloads.len(), 3);
}

#[test]
fn what_is_no_policy_file_is_refused() {
    let scratch = Scratch::new("refused");
    fs::create_dir(scratch.0.join("empty")).unwrap();
    fs::create_dir(scratch.0.join("loop")).unwrap();
    symlink(&scratch.0, scratch.0.join("loop/up")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.0.join("pipe.yaml"), rustix::fs::Mode::RUSR).unwrap();
    let deep = (0..20).fold(PathBuf::new(), |path, level| path.join(level.to_string())).join("x.yaml");
    scratch.write(deep.to_str().unwrap(), "ringfence: 1\n");
    scratch.write("latin.yaml", b"ringfence: 1\n# caf\xe9\n");
    scratch.write("utf16.yaml", b"\xff\xfer\0i\0");
    scratch.write("nothing.yaml", "");
    let table = [
        ("missing", Code::File, 0, 0),
        ("empty", Code::Empty, 0, 0),
        ("loop", Code::File, 0, 0),
        ("pipe.yaml", Code::File, 0, 0),
        ("0", Code::Limit, 0, 0),
        ("latin.yaml", Code::Encoding, 2, 6),
        ("utf16.yaml", Code::Encoding, 1, 1),
        ("nothing.yaml", Code::Empty, 0, 0),
    ];
    for (name, code, line, column) in table {
        let errors = load(&[scratch.0.join(name)]).unwrap_err();
        let found: Vec<_> = errors.iter().map(|one| (one.code, one.line, one.column)).collect();
        assert_eq!(found, [(code, line, column)], "{name}: {errors}");
    }
    assert_eq!(load(&[]).unwrap_err().iter().next().map(|one| one.code), Some(Code::Empty));
}
