//! Metrics for Prometheus: what the daemon counts, gathered when somebody asks.
//!
//! Nothing is counted twice: a scrape sums the workers' own counters at that moment, and says so in the text format of
//! Prometheus or in OpenMetrics. The number of series is bounded whatever the policy says: wires and workers are as many
//! as the configuration has, drop reasons are a closed list, rules are named up to [`RULES_MAX`] and the rest are summed
//! as `(other)`. `config/exports.md` lists every metric.

mod engine;
mod family;
mod process;
mod proxies;
#[cfg(test)]
mod tests;
mod wires;
mod workers;

use std::fmt;

use dataplane::proxy::ProxyStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::engine::Engine;
use crate::socket::view::WireView;
use family::Families;
pub use family::Family;

/// Rules that have a series of their own, the named defaults beside; the hits of all others are summed as `(other)`.
pub const RULES_MAX: usize = 1000;

/// In which words metrics are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The one that an `Accept` header asks for; Prometheus' own if it asks for neither.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        // A scraper that knows OpenMetrics names it first.
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The media type of the answer.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything there is to tell at one moment.
#[derive(Debug)]
pub struct Metrics(Vec<Family>);

impl Metrics {
    /// As the engine, its workers, the wires and the proxies are now.
    #[must_use]
    pub fn gather(engine: &Engine, wires: &[WireView], proxies: &[ProxyStatus]) -> Self {
        let mut families = Families::default();
        workers::gather(engine, &mut families);
        wires::gather(wires, &mut families);
        proxies::gather(proxies, &mut families);
        engine::gather(engine, &mut families);
        process::gather(engine, wires, proxies, &mut families);
        Self(families.all())
    }

    /// The families, in the order in which they are told.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.0
    }

    /// As text.
    ///
    /// # Errors
    /// Never, into memory.
    pub fn write(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut out, &registry)?,
            Format::OpenMetrics => text::encode(&mut out, &registry)?,
        }
        Ok(out)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}
