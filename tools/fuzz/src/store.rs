//! Files of the state directory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use control::store::{Limits, Store};

/// A directory of one run.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringfence-fuzz-{}-{run}", std::process::id()));
        std::fs::create_dir_all(path.join("policies")).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a state directory whose one record is these bytes: what does not prove itself is passed over.
pub(crate) fn open(input: &[u8]) {
    let folder = Folder::new();
    std::fs::write(folder.0.join("policies/0000000001.policy"), input).expect("a record");
    if let Ok((store, _)) = Store::open(&folder.0, Limits::default()) {
        let _ = store.load(1);
    }
}

/// Records in form, with hashes that do not hold.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let hash = "0".repeat(64);
    vec![
        format!("ringfence-policy 1\n{hash} {{\"epoch\":1}}\n{hash} []\n").into_bytes(),
        b"ringfence-policy 1\n".to_vec(),
    ]
}
