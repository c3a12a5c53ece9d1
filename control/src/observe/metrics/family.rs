//! One metric with its samples, and how it is told.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// How often, since the start.
    Count(u64),
    /// How many now.
    Level(u64),
    /// How much now, or when: seconds.
    Seconds(f64),
}

/// Labels with their values.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A metric: all samples are of one kind.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

impl Family {
    /// The name of its series: counters end with `_total`.
    #[must_use]
    pub fn series(&self) -> String {
        let counts = matches!(self.kind, MetricType::Counter);
        format!("{}{}", self.name, if counts { "_total" } else { "" })
    }

    /// What it says.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.help
    }

    /// How many series it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if self.samples.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in &self.samples {
            let mut one = metric.encode_family(labels)?;
            match value {
                Value::Count(count) => one.encode_counter::<NoLabelSet, _, u64>(count, None)?,
                Value::Level(level) => one.encode_gauge(level)?,
                Value::Seconds(seconds) => one.encode_gauge(seconds)?,
            }
        }
        Ok(())
    }
}

/// Families as they are gathered.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<Family>);

impl Families {
    pub(super) fn all(self) -> Vec<Family> {
        self.0
    }

    fn add(&mut self, kind: MetricType, [name, help]: [&'static str; 2], samples: Vec<(Labels, Value)>) {
        self.0.push(Family { name, help, kind, samples });
    }

    /// A count without labels.
    pub(super) fn count(&mut self, name: &'static str, help: &'static str, count: u64) {
        self.add(MetricType::Counter, [name, help], vec![(Vec::new(), Value::Count(count))]);
    }

    /// Counts, told apart by labels.
    pub(super) fn counts(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, count)| (labels, Value::Count(count)));
        self.add(MetricType::Counter, [name, help], samples.collect());
    }

    /// A level without labels.
    pub(super) fn level(&mut self, name: &'static str, help: &'static str, level: u64) {
        self.add(MetricType::Gauge, [name, help], vec![(Vec::new(), Value::Level(level))]);
    }

    /// Levels, told apart by labels.
    pub(super) fn levels(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, level)| (labels, Value::Level(level)));
        self.add(MetricType::Gauge, [name, help], samples.collect());
    }

    /// Seconds without labels.
    pub(super) fn seconds(&mut self, name: &'static str, help: &'static str, seconds: f64) {
        self.add(MetricType::Gauge, [name, help], vec![(Vec::new(), Value::Seconds(seconds))]);
    }
}

/// One label.
pub(super) fn label(key: &'static str, value: impl Into<String>) -> Labels {
    vec![(key, value.into())]
}
