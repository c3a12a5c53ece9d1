//! The part of the configuration that says where flow events are sent to.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::check::Check;
use super::file::{Number, Text, span_of};
use crate::observe::export::ipfix::{self, MESSAGE_BYTES_MIN, Protocol};
use crate::observe::export::told::OCCASIONS;
use crate::observe::export::{Config, Settings, jsonl};
use crate::policy::diagnostics::{Code, Finding};

/// The enterprise number that is reserved for documentation (RFC 5612).
const ENTERPRISE: u64 = 32_473;
const PROTOCOLS: &[(&str, Protocol)] = &[("udp", Protocol::Udp), ("tcp", Protocol::Tcp)];

/// `export` as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    ipfix: Option<Ipfix>,
    jsonl: Option<Jsonl>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ipfix {
    collector: Spanned<String>,
    transport: Text,
    domain: Number,
    enterprise: Number,
    message_bytes: Number,
    template_seconds: Number,
    queue: Number,
    events: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jsonl {
    path: Spanned<String>,
    rotate_mebibytes: Number,
    keep: Number,
    queue: Number,
    events: Option<Vec<Spanned<String>>>,
}

impl Check<'_> {
    pub(super) fn export(&mut self, raw: &Raw) -> Config {
        Config {
            ipfix: raw.ipfix.as_ref().map(|raw| self.ipfix(raw)),
            jsonl: raw.jsonl.as_ref().map(|raw| self.jsonl(raw)),
        }
    }

    fn ipfix(&mut self, raw: &Ipfix) -> ipfix::Config {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let collector = raw.collector.value.parse().unwrap_or(nowhere);
        if collector.port() == 0 || collector.ip().is_unspecified() {
            let message = format!("`export.ipfix.collector` cannot be `{}`", raw.collector.value);
            self.sink.push(
                Finding::error(Code::WrongType, span_of(&raw.collector.referenced), message)
                    .help("write an address and a port: 192.0.2.1:4739, or \"[2001:db8::1]:4739\""),
            );
        }
        let bytes = "export.ipfix.message_bytes";
        let seconds = "export.ipfix.template_seconds";
        let most = u64::from(u32::MAX);
        ipfix::Config {
            collector,
            protocol: self.word("export.ipfix.transport", &raw.transport, PROTOCOLS),
            domain: self.number("export.ipfix.domain", &raw.domain, 1, 0..=most),
            enterprise: self.number("export.ipfix.enterprise", &raw.enterprise, ENTERPRISE, 1..=most),
            message_bytes: self.number(bytes, &raw.message_bytes, 1400, MESSAGE_BYTES_MIN as u64..=65_000),
            templates: Duration::from_secs(self.number(seconds, &raw.template_seconds, 60, 1..=86_400)),
            settings: self.settings("export.ipfix.queue", &raw.queue, raw.events.as_deref()),
        }
    }

    fn jsonl(&mut self, raw: &Jsonl) -> jsonl::Config {
        let rotate = "export.jsonl.rotate_mebibytes";
        jsonl::Config {
            path: self.path(&raw.path),
            rotate_bytes: self.number::<u64>(rotate, &raw.rotate_mebibytes, 64, 1..=1 << 20) << 20,
            keep: self.number("export.jsonl.keep", &raw.keep, 8, 0..=1000),
            settings: self.settings("export.jsonl.queue", &raw.queue, raw.events.as_deref()),
        }
    }

    fn settings(&mut self, key: &str, queue: &Number, events: Option<&[Spanned<String>]>) -> Settings {
        let queue = self.number(key, queue, 65_536, 1024..=1 << 20);
        let Some(events) = events else { return Settings { queue, events: OCCASIONS.to_vec() } };
        let mut known = Vec::new();
        for given in events {
            match OCCASIONS.iter().find(|name| **name == given.value) {
                Some(name) if !known.contains(name) => known.push(*name),
                Some(_) => {
                    self.fault(Code::DuplicateName, given, format!("`{}` is named twice", given.value));
                }
                None => {
                    let message = format!("there are no events `{}`", given.value);
                    self.sink.push(
                        Finding::error(Code::UnknownWord, span_of(&given.referenced), message)
                            .legal(OCCASIONS.iter().copied()),
                    );
                }
            }
        }
        Settings { queue, events: known }
    }
}
