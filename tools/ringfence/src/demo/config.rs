//! Files of the demo's daemon, in a folder that goes with the demo.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::topology::wired;

/// The folder: configuration, policy, state, socket and log. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder at `path`, instead of what an earlier run may have left there.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::DirBuilder::new().mode(0o700).create(path)?;
        let folder = Self(path.to_owned());
        fs::write(folder.config(), config_text(path))?;
        Ok(folder)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("ringfence.yaml")
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.0.join("policy.yaml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("ringfence.sock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("daemon.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next run removes what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A configuration with one wire for each workload, everything else beside it.
fn config_text(folder: &Path) -> String {
    let mut text = String::from("wires:\n");
    for host in wired() {
        let (inside, outside) = host.ports();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  - {{name: {}, inside: {{interface: {inside}}}, outside: {{interface: {outside}}}}}",
            host.name
        );
    }
    let path = folder.display();
    let _ = write!(
        text,
        "policy: [policy.yaml]\nstate_dir: {path}/state\nsocket: {{path: {path}/ringfence.sock}}\n"
    );
    text
}
