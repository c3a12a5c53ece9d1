//! Who may reach whom: every pair of workloads for one service.
//!
//! Each pair is decided when it is asked for: a decision costs less than a place to keep it.

use std::io::{self, Write};
use std::net::IpAddr;

use dataplane::address::Address;
use dataplane::policy::{Endpoint, ServiceKey};
use dataplane::verdict::Verdict;
use serde::ser::{Serialize, SerializeSeq, SerializeStruct, Serializer};

use super::compile::Named;
use super::valid::{ServiceRange, ValidPolicy};

/// The reachability of all workload pairs. Serializes as `service`, `workloads` (names), and `pairs`: one object for
/// each ordered pair of different workloads, with `source`, `destination`, `verdict` (`allow`, `deny`, or `none` if
/// the two have no addresses of one family) and `rule`.
#[derive(Debug)]
pub struct Matrix<'a> {
    service: ServiceKey,
    workloads: Vec<&'a str>,
    /// Each workload's first IPv4 and first IPv6 endpoint.
    ends: Vec<Ends>,
    compiled: Named<'a>,
}

type Ends = [Option<Endpoint>; 2];

/// One ordered pair of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pair<'a> {
    /// The initiator.
    pub source: &'a str,
    /// The responder.
    pub destination: &'a str,
    /// `allow`, `deny`, `reject`, or `none` if the two have no addresses of one family.
    pub verdict: &'static str,
    /// The rule or default that decided; absent for `none`.
    pub rule: Option<&'a str>,
}

/// The matrix of `policy` for `service`: between first addresses, IPv4 if both have it, else IPv6.
#[must_use]
pub fn matrix<'a>(policy: &'a ValidPolicy, compiled: Named<'a>, service: ServiceKey) -> Matrix<'a> {
    let first = |addresses: &[IpAddr], v4: bool| {
        let first = addresses.iter().find(|address| address.is_ipv4() == v4)?;
        Some(compiled.table.resolve(Address::from(*first)))
    };
    let ends = policy.workloads.iter().map(|workload| [true, false].map(|v4| first(&workload.addresses, v4)));
    Matrix {
        service,
        workloads: policy.workloads.iter().map(|workload| workload.name.as_str()).collect(),
        ends: ends.collect(),
        compiled,
    }
}

impl<'a> Matrix<'a> {
    /// The names of all workloads, in the policy's order.
    #[must_use]
    pub fn workloads(&self) -> &[&'a str] {
        &self.workloads
    }

    /// The service asked for, as people write it.
    #[must_use]
    pub fn service(&self) -> String {
        let key = self.service.value();
        ServiceRange { first: key, last: key }.to_string()
    }

    /// What the workload at index `source` may do to the one at `destination`; `None` for an index that does not
    /// exist.
    #[must_use]
    pub fn pair(&self, source: usize, destination: usize) -> Option<Pair<'a>> {
        let (from, to) = (self.ends.get(source)?, self.ends.get(destination)?);
        let common = from.iter().zip(to).find_map(|(from, to)| Some(((*from)?, (*to)?)));
        let decision = common.map(|(from, to)| self.compiled.table.decide(from, to, self.service));
        Some(Pair {
            source: self.workloads.get(source)?,
            destination: self.workloads.get(destination)?,
            verdict: decision.map_or("none", |decision| decision.verdict.name()),
            rule: decision.map(|decision| self.compiled.rule_name(decision.rule)),
        })
    }

    /// Every ordered pair of different workloads.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'a>> + '_ {
        let all = 0..self.workloads.len();
        all.clone()
            .flat_map(move |s| all.clone().filter(move |d| *d != s).filter_map(move |d| self.pair(s, d)))
    }

    /// How many pairs of different workloads may talk.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.pairs().filter(|pair| pair.verdict == Verdict::Allow.name()).count()
    }

    /// Writes a table: a row per source, a column per destination, `-` on the diagonal (RFC 4180).
    ///
    /// # Errors
    /// Of the writer.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{}", field("source"))?;
        for name in &self.workloads {
            write!(out, ",{}", field(name))?;
        }
        out.write_all(b"\r\n")?;
        for (source, name) in self.workloads.iter().enumerate() {
            write!(out, "{}", field(name))?;
            for destination in 0..self.workloads.len() {
                let verdict = self.pair(source, destination).map_or("none", |pair| pair.verdict);
                write!(out, ",{}", if source == destination { "-" } else { verdict })?;
            }
            out.write_all(b"\r\n")?;
        }
        Ok(())
    }
}

/// Quotes a field that needs it (RFC 4180, 2.6 and 2.7).
fn field(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\"")).into();
    }
    text.into()
}

struct Pairs<'m, 'a>(&'m Matrix<'a>);

impl Serialize for Pairs<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for pair in self.0.pairs() {
            sequence.serialize_element(&pair)?;
        }
        sequence.end()
    }
}

impl Serialize for Matrix<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Matrix", 3)?;
        object.serialize_field("service", &self.service())?;
        object.serialize_field("workloads", &self.workloads)?;
        object.serialize_field("pairs", &Pairs(self))?;
        object.end()
    }
}

#[cfg(test)]
mod tests;
