//! The map page in a real browser: Chromium, driven over WebDriver, asks a real daemon about a real record of flows.
//!
//! `UPDATE_PICTURES=1 cargo test -p ringfence --test page` makes the README's pictures anew; every run leaves its
//! pictures in `target/tmp/page/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod browser;
#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod estate;
mod journey;
mod large;
mod session;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use browser::Browser;

/// Whether to do without, because there is no browser and whoever runs the tests says that this is as it should be.
fn skip_without_browser() -> bool {
    let there = |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    if there("chromium") && there("chromedriver") {
        return false;
    }
    let missing = "the page's tests need Chromium and its driver (Debian: chromium, chromium-driver)";
    if std::env::var_os("RINGFENCE_NO_BROWSER").is_some_and(|value| value == "1") {
        eprintln!("skipped: {missing}");
        return true;
    }
    panic!("{missing}, or set RINGFENCE_NO_BROWSER=1 to skip them")
}

/// Keeps a picture of what is seen; the README's only if it is asked to.
fn picture(browser: &Browser, name: &str) {
    let bytes = browser.screenshot();
    assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), &bytes).unwrap();
    if std::env::var_os("UPDATE_PICTURES").is_some() && !name.starts_with("test-") {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pictures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), &bytes).unwrap();
    }
}
