//! What a replay tells: a line for each packet, and a summary.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::verdict::{DropReason, RuleId};
use pcap_parser::Linktype;
use serde::Serialize;

use super::capture::Ending;
use super::path::Fate;
use super::{Entry, Settled};

/// One packet, as one JSON object.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line<'a> {
    /// Its number in the capture, from 1.
    pub(super) packet: u64,
    /// `forward` or `drop`.
    pub(super) verdict: &'static str,
    /// What let it through, or the drop reason.
    pub(super) reason: &'static str,
    /// The rule or default that decided; null where none was asked.
    pub(super) rule: Option<&'a str>,
    /// The side it came in on.
    side: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<IpAddr>,
    /// Protocol with destination port, or ICMP type, of this very packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

impl<'a> Line<'a> {
    pub(super) fn new(packet: u64, entry: &Entry, settled: Settled, names: &'a [Arc<str>]) -> Self {
        let name = |rule: RuleId| names.get(rule.0 as usize).map_or("?", |name| &**name);
        let (verdict, reason, rule) = match settled {
            Settled::Judged(Fate::Forward { how, rule }) => ("forward", how.name(), rule),
            Settled::Judged(Fate::Drop { reason, rule }) => ("drop", reason.name(), rule),
            Settled::NotEthernet => ("drop", "link_type", None),
        };
        Self {
            packet,
            verdict,
            reason,
            rule: rule.map(name),
            side: entry.side.name(),
            source: entry.source.map(|address| address.to_ip()),
            destination: entry.destination.map(|address| address.to_ip()),
            service: entry.service.map(|service| service.to_string()),
        }
    }
}

/// What a replay says at its end, on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Packets in the capture.
    pub(super) packets: u64,
    /// How many ended in each way.
    pub(super) counts: BTreeMap<(&'static str, &'static str), u64>,
    /// Packets of which the capture holds only the beginning.
    pub(super) cut: u64,
    /// TCP packets that were captured joined and were sent on as the segments they consist of.
    pub(super) joined: u64,
    /// Resets and ICMP errors that were made to tell senders that their packets were refused.
    pub(super) answers: u64,
    /// Packets of link types that no wire carries.
    pub(super) links: BTreeMap<i32, u64>,
    /// Whether connections older than the capture were picked up.
    pub(super) midstream: bool,
    /// Whether all of the capture could be read.
    pub(super) ending: Option<Ending>,
}

impl Summary {
    pub(super) fn count(&mut self, line: &Line<'_>) {
        *self.counts.entry((line.verdict, line.reason)).or_default() += 1;
    }

    pub(super) fn count_link(&mut self, link: Linktype) {
        *self.links.entry(link.0).or_default() += 1;
    }

    /// What explains the drop reason that surprises most in this capture.
    fn note(&self) -> Option<&'static str> {
        let dropped = |reason: DropReason| self.counts.contains_key(&("drop", reason.name()));
        if dropped(DropReason::TooBig) {
            return Some(
                "too_big: frames of more than 4096 bytes come from a capture on a host that joins datagrams; \
                 capture on the network, or turn gro, lro, gso and tso off",
            );
        }
        (dropped(DropReason::TcpNoFlow) && !self.midstream)
            .then_some("tcp_no_flow: if connections are older than the capture, --midstream picks them up")
    }

    fn total(&self, verdict: &str) -> u64 {
        self.counts.iter().filter(|((of, _), _)| *of == verdict).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (forwarded, dropped) = (self.total("forward"), self.total("drop"));
        writeln!(f, "{} packets: {forwarded} forwarded, {dropped} dropped", self.packets)?;
        for ((verdict, reason), count) in &self.counts {
            writeln!(f, "  {verdict:7}  {reason:22} {count:10}")?;
        }
        if self.cut > 0 {
            writeln!(f, "{} packets were longer than what the capture holds of them", self.cut)?;
        }
        if self.answers > 0 {
            writeln!(f, "{} resets and ICMP errors were made for senders that were refused", self.answers)?;
        }
        if self.joined > 0 {
            writeln!(
                f,
                "{} packets were captured joined (gro, lro, gso or tso) and cut to segments",
                self.joined
            )?;
        }
        for (link, count) in &self.links {
            let name = link_name(*link);
            writeln!(
                f,
                "{count} packets have no Ethernet frame and are not applicable: link type {link}{name}"
            )?;
        }
        if let Some(note) = self.note() {
            writeln!(f, "{note}")?;
        }
        if let Some(Ending::Damaged(why)) = self.ending {
            writeln!(f, "the capture is damaged after packet {}: {why}", self.packets)?;
        }
        Ok(())
    }
}

/// What a link type that is no Ethernet is commonly called, in brackets.
fn link_name(link: i32) -> &'static str {
    match link {
        6 => " (Token Ring)",
        9 => " (PPP)",
        10 => " (FDDI)",
        50 => " (PPP in HDLC)",
        51 => " (PPPoE)",
        104 => " (Cisco HDLC)",
        105 => " (IEEE 802.11)",
        107 => " (Frame Relay)",
        119 | 127 | 192 => " (IEEE 802.11 with radio information)",
        187 | 201 => " (Bluetooth)",
        189 | 220 | 249 => " (USB)",
        195 | 230 => " (IEEE 802.15.4)",
        227 => " (CAN)",
        _ => "",
    }
}
