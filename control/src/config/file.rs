//! The configuration file as written: its keys, with their places.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::policy::diagnostics::{Code, Finding, Sink, Span};
use crate::policy::{Diagnostics, SourceFile};

/// Longest configuration file, bytes: 1024 wires take about 200 KiB.
const FILE_MAX: u64 = 1 << 20;

pub(super) type Number = Option<Spanned<u64>>;
pub(super) type Text = Option<Spanned<String>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) wires: Vec<Wire>,
    #[serde(default)]
    pub(super) proxies: Vec<Proxy>,
    #[serde(default)]
    pub(super) policy: Vec<Spanned<String>>,
    pub(super) state_dir: Text,
    #[serde(default)]
    pub(super) history: History,
    #[serde(default)]
    pub(super) socket: Socket,
    pub(super) http: Option<Http>,
    #[serde(default)]
    pub(super) access: Access,
    #[serde(default)]
    pub(super) flows: Flows,
    #[serde(default)]
    pub(super) records: Records,
    #[serde(default)]
    pub(super) cores: Vec<Spanned<u64>>,
    pub(super) publish_timeout_ms: Number,
    pub(super) pin: Text,
    #[serde(default)]
    pub(super) export: super::export::Raw,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    pub(super) name: Spanned<String>,
    pub(super) inside: Port,
    pub(super) outside: Port,
    pub(super) fail: Text,
    pub(super) queues: Number,
    pub(super) frames_per_queue: Number,
    pub(super) chunk_bytes: Number,
    #[serde(default)]
    pub(super) busy_poll: bool,
    pub(super) source_check: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) name: Spanned<String>,
    pub(super) listen: Vec<Spanned<String>>,
    pub(super) mode: Text,
    #[serde(default)]
    pub(super) connect: Vec<Spanned<String>>,
    pub(super) balance: Text,
    #[serde(rename = "as")]
    pub(super) destination: Text,
    #[serde(default)]
    pub(super) health: Health,
    #[serde(default)]
    pub(super) proxy_protocol: ProxyProtocol,
    pub(super) keep_source: Option<Spanned<bool>>,
    pub(super) on_deny: Text,
    pub(super) early_refusal: Text,
    #[serde(default)]
    pub(super) limits: ProxyLimits,
    pub(super) workers: Number,
    #[serde(default)]
    pub(super) cores: Vec<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) check: Text,
    pub(super) interval_ms: Number,
    pub(super) timeout_ms: Number,
    pub(super) rise: Number,
    pub(super) fall: Number,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyProtocol {
    #[serde(rename = "in")]
    pub(super) read: Text,
    #[serde(default)]
    pub(super) trusted: Vec<Spanned<String>>,
    #[serde(rename = "out")]
    pub(super) write: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyLimits {
    pub(super) connections: Number,
    pub(super) per_source: Number,
    pub(super) connect_timeout_ms: Number,
    pub(super) idle_timeout_ms: Number,
    pub(super) preamble_timeout_ms: Number,
    pub(super) stalled_timeout_ms: Number,
    pub(super) drain_ms: Number,
    pub(super) buffers: Number,
    pub(super) pipes: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) interface: Spanned<String>,
    pub(super) mode: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) records: Number,
    pub(super) mebibytes: Number,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Socket {
    pub(super) path: Text,
    pub(super) mode: Text,
    pub(super) group: Text,
    pub(super) body_mebibytes: Number,
    pub(super) connections: Number,
    pub(super) timeout_ms: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Spanned<String>,
    pub(super) namespace: Text,
    pub(super) read: Text,
    pub(super) metrics: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    #[serde(default)]
    pub(super) read: Who,
    #[serde(default)]
    pub(super) change: Who,
}

/// Users and groups by name or number; a bare number reads as a string here.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    #[serde(default)]
    pub(super) users: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flows {
    pub(super) capacity: Number,
    pub(super) pickup_ms: Number,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Records {
    pub(super) update_s: Number,
    pub(super) queue: Number,
}

pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_MAX} bytes")));
    }
    Ok(text)
}

pub(super) fn unreadable(name: String, error: &io::Error) -> Diagnostics {
    let files = [SourceFile { name, text: String::new() }];
    let mut sink = Sink::new(&files);
    sink.push(
        Finding::error(Code::File, Span::whole(0), format!("the configuration cannot be read: {error}"))
            .help("config/ringfence.yaml in the source tree explains every key"),
    );
    all(sink)
}

/// Parses the one file in `files`.
pub(super) fn parse(files: &[SourceFile]) -> Result<Raw, Diagnostics> {
    let text = files.first().map_or("", |f| f.text.as_str());
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    // A file of comments only has no document; it means what an empty one does.
    serde_saphyr::from_str_with_options::<Option<Raw>>(text, options).map(Option::unwrap_or_default).map_err(
        |error| {
            let mut sink = Sink::new(files);
            let span = error.location().map_or(Span::whole(0), |l| span_of(&l));
            // The place is told apart from the message.
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
            sink.push(Finding::error(Code::Syntax, span, message));
            all(sink)
        },
    )
}

/// Everything the sink has, as the refusal it is.
pub(super) fn all(sink: Sink<'_>) -> Diagnostics {
    match sink.finish() {
        Ok(all) | Err(all) => all,
    }
}

pub(super) fn span_of(location: &Location) -> Span {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0);
    Span {
        file: 0,
        line: number(location.line()),
        column: number(location.column()),
        start: number(start),
        end: number(start + span.byte_len().unwrap_or(0)),
    }
}
