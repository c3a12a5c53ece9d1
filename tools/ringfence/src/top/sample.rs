//! What the daemon says at one moment.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::load::Loads;
use crate::client;
use crate::outcome::Failure;

/// Flows that are looked at: those with most bytes.
pub(super) const FLOWS: usize = 500;
/// Rules that are looked at: those with most hits.
pub(super) const RULES: usize = 500;

/// One look.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) status: Value,
    pub(super) drops: Value,
    pub(super) rules: Value,
    pub(super) flows: Value,
    /// How long each worker's thread ran.
    pub(super) loads: Loads,
}

impl Sample {
    /// Asks the daemon.
    pub(super) fn read(socket: &Path) -> Result<Self, Failure> {
        let status = client::get(socket, "/v1/status")?;
        let at = Instant::now();
        let loads = Loads::read(&status);
        Ok(Self {
            at,
            status,
            drops: client::get(socket, "/v1/drops?limit=1")?,
            rules: client::get(socket, &format!("/v1/rules?sort=hits&limit={RULES}"))?,
            flows: client::get(socket, &format!("/v1/flows?sort=bytes&limit={FLOWS}"))?,
            loads,
        })
    }
}
