//! One published policy as bytes.
//!
//! ```text
//! ringfence-policy 1\n
//! <64 hex digits: BLAKE3 of the header line> <header: JSON of Meta>\n
//! <64 hex digits: BLAKE3 of the body> <body: JSON array of the source files>\n
//! ```

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const VERSION: &[u8] = b"ringfence-policy 1\n";
const HASH_LEN: usize = 64;
/// A header holds a few numbers and a message of bounded length.
const HEADER_MAX: u64 = 64 << 10;

/// One source file of a policy, verbatim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its name, as diagnostics show it.
    #[schema(example = "policy.yaml")]
    pub name: String,
    /// Its text.
    pub text: String,
}

/// How a policy came to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Publication {
    /// The configuration's policy files, at start or on SIGHUP.
    Config,
    /// A request on the socket.
    Request,
    /// A request to publish an earlier policy again.
    Rollback,
    /// At start, in place of a newer policy that was damaged or refused.
    Restored,
    /// In place of a newer policy that nobody confirmed in time.
    Reverted,
}

/// What the history says of a published policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Meta {
    /// The epoch it was published as; never reused in one state directory.
    pub epoch: u32,
    /// BLAKE3 of what it means, hexadecimal: equal for policies that differ only in form. See
    /// [`crate::policy::hash`].
    pub policy_hash: String,
    /// BLAKE3 of its source files, names and texts, hexadecimal.
    pub source_hash: String,
    /// When, RFC 3339 in UTC.
    #[schema(value_type = String, example = "2026-01-31T12:00:00Z")]
    pub at: jiff::Timestamp,
    /// How it came to be published.
    pub publication: Publication,
    /// The user id of who asked; the daemon's own for [`Publication::Config`].
    pub uid: u32,
    /// Why, in the words of who asked; at most 4096 bytes.
    pub message: String,
    /// Rules in it, the built-in ones included.
    pub rules: u32,
    /// Workloads in it.
    pub workloads: u32,
    /// For a rollback or a restored policy: the epoch that was published again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u32>,
    /// The source hash of the last policy that was published from the configuration's files, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// What was edited since the policy before it, in one line.
    #[serde(default)]
    pub summary: String,
    /// Set if it reverts by itself unless it is confirmed in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// How a policy reverts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirm {
    /// Confirm until then, RFC 3339 in UTC.
    #[schema(value_type = String, example = "2026-01-31T12:00:00Z")]
    pub by: jiff::Timestamp,
    /// How long that was when it was published, ms.
    pub within_ms: u64,
    /// The epoch whose policy is published again otherwise.
    pub revert_to: u32,
}

/// A policy read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the history says of it.
    pub meta: Meta,
    /// Its source.
    pub files: Vec<StoredFile>,
}

/// The hash that names a policy's source: BLAKE3 over the number of files, then the length and bytes of each name and text.
#[must_use]
pub fn source_hash(files: &[StoredFile]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(files.len() as u64).to_le_bytes());
    for part in files.iter().flat_map(|f| [&f.name, &f.text]) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

pub(super) fn encode(header: &impl Serialize, files: &[StoredFile]) -> Vec<u8> {
    let mut text = VERSION.to_vec();
    push_line(&mut text, &serde_json::to_vec(header).unwrap_or_default());
    push_line(&mut text, &serde_json::to_vec(files).unwrap_or_default());
    text
}

pub(super) fn push_line(text: &mut Vec<u8>, json: &[u8]) {
    text.extend_from_slice(blake3::hash(json).to_hex().as_bytes());
    text.push(b' ');
    text.extend_from_slice(json);
    text.push(b'\n');
}

/// Reads the version line and the header, and no further.
pub(super) fn read_header(file: &mut impl BufRead) -> Result<Meta, &'static str> {
    let mut version = Vec::new();
    let mut line = Vec::new();
    file.take(VERSION.len() as u64).read_to_end(&mut version).map_err(|_| "it cannot be read")?;
    if version != VERSION {
        return Err("it is no record of version 1");
    }
    file.take(HEADER_MAX).read_until(b'\n', &mut line).map_err(|_| "it cannot be read")?;
    header(&line)
}

fn header<H: DeserializeOwned>(line: &[u8]) -> Result<H, &'static str> {
    let json = line.strip_suffix(b"\n").and_then(checked).ok_or("the hash of its header does not hold")?;
    serde_json::from_slice(json).map_err(|_| "its header is of another version")
}

/// Reads a whole record; every byte of it counts. That header and files belong together is for the caller to check.
pub(super) fn decode<H: DeserializeOwned>(text: &[u8]) -> Result<(H, Vec<StoredFile>), &'static str> {
    let rest = text.strip_prefix(VERSION).ok_or("it is no record of version 1")?;
    let end = rest.iter().position(|&b| b == b'\n').ok_or("it ends in its header")?;
    let (first, second) = rest.split_at(end + 1);
    let header = header(first)?;
    // JSON escapes line breaks, so the only one is the last byte.
    let json = second.strip_suffix(b"\n").and_then(checked).ok_or("the hash of its text does not hold")?;
    let files = serde_json::from_slice(json).map_err(|_| "its text is of another version")?;
    Ok((header, files))
}

/// The rest of a line whose hash holds.
pub(super) fn checked(line: &[u8]) -> Option<&[u8]> {
    let (hash, rest) = line.split_at_checked(HASH_LEN)?;
    let json = rest.strip_prefix(b" ")?;
    (blake3::hash(json).to_hex().as_bytes() == hash).then_some(json)
}
