//! `ringfence replay`: a capture through the very packet path.

mod capture;
mod inside;
mod link;
mod path;
mod report;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use control::policy::valid::ServiceRange;
use control::policy::{CompileOptions, Compiled, compile, load};
use dataplane::address::Address;
use dataplane::clock::Now;
use dataplane::headers::{self, Headers, Ip, Network, Transport};
use dataplane::policy::ServiceKey;
use dataplane::verdict::Side;

use crate::outcome::{Failure, Outcome};
use capture::{CaptureError, Captured};
use inside::{Cidr, Inside};
use link::Made;
use path::{Fate, MemoryWire, Unaccounted};
use report::Summary;

/// Arguments of `ringfence replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policy file or directory; may be repeated.
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) policy: Vec<PathBuf>,
    /// Addresses behind the inside port; may be repeated [default: those of the policy's workloads].
    #[arg(long, value_name = "CIDR")]
    pub(crate) inside: Vec<String>,
    /// Pick up TCP connections that are older than the capture, if policy allows them.
    #[arg(long)]
    pub(crate) midstream: bool,
    /// A pcap or pcapng file.
    pub(crate) capture: PathBuf,
}

/// Runs the capture: a JSON line for each packet on stdout, a summary on stderr.
pub(crate) fn run(args: &Args) -> Outcome {
    let inside = side_choice(&args.inside)?;
    let compiled = policy(&args.policy)?;
    let stdout = io::stdout();
    let mut out = BufWriter::new(stdout.lock());
    let done = replay(&args.capture, compiled, inside, args.midstream, |line| {
        serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
        out.write_all(b"\n")
    });
    let done = done.and_then(|summary| out.flush().map(|()| summary).map_err(ReplayError::Output));
    match done {
        Ok(summary) => {
            eprint!("{summary}");
            Ok(())
        }
        // Whoever reads the lines has seen enough.
        Err(ReplayError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::failed(format_args!("{}: {error}", args.capture.display()))),
    }
}

fn side_choice(texts: &[String]) -> Result<Inside, Failure> {
    if texts.is_empty() {
        return Ok(Inside::Workloads);
    }
    let prefixes: Result<Vec<Cidr>, _> = texts.iter().map(|text| text.parse()).collect();
    prefixes.map(Inside::Told).map_err(|error| Failure::Usage(format!("--inside: {error}")))
}

fn policy(paths: &[PathBuf]) -> Result<Compiled, Failure> {
    let color = io::stderr().is_terminal();
    let loaded = load(paths).map_err(|diagnostics| {
        eprint!("{}", diagnostics.render(color));
        Failure::Told
    })?;
    if !loaded.warnings.is_empty() {
        eprint!("{}", loaded.warnings.render(color));
    }
    compile(&loaded.policy, &CompileOptions::default()).map_err(Failure::failed)
}

/// Why a replay ended before its capture.
#[derive(Debug)]
enum ReplayError {
    Capture(CaptureError),
    Memory(io::Error),
    Output(io::Error),
    Path(Unaccounted),
}

impl From<CaptureError> for ReplayError {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<Unaccounted> for ReplayError {
    fn from(error: Unaccounted) -> Self {
        Self::Path(error)
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture(error) => error.fmt(f),
            Self::Memory(error) => write!(f, "no memory for the packet path: {error}"),
            Self::Output(error) => write!(f, "cannot write the result: {error}"),
            Self::Path(Unaccounted) => f.write_str(
                "the packet path lost track of a frame; this is a fault of ringfence, please report it",
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

/// A packet on its way to a line: lines come in the order of the packets, and a held one keeps later ones waiting.
#[derive(Clone, Copy, Debug)]
struct Entry {
    side: Side,
    source: Option<Address>,
    destination: Option<Address>,
    service: Option<ServiceRange>,
    outcome: Option<Settled>,
}

/// How a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// The path judged it.
    Judged(Fate),
    /// No wire could carry it: its link type is no Ethernet.
    NotEthernet,
}

/// The first moment of a replay's clock: not zero, so that "before" exists.
const START: u64 = 1_000_000_000;
/// What a longer pause counts as, nanoseconds: a day, which outlives every time-out of the path.
const PAUSE_MAX: u64 = 86_400_000_000_000;
/// Upkeep comes this often, nanoseconds: between a busy worker's every turn and an idle one's 100 ms.
const TICK: u64 = 10_000_000;
/// Ticks after the last packet: held packets are settled within them.
const LAST_TICKS: u32 = 1000;

/// Runs `capture` through the packet path and hands a line for each packet to `print`.
fn replay(
    capture: &Path,
    compiled: Compiled,
    inside: Inside,
    midstream: bool,
    print: impl FnMut(report::Line<'_>) -> io::Result<()>,
) -> Result<Summary, ReplayError> {
    let Compiled { table, rules, .. } = compiled;
    let wire = MemoryWire::new(table, midstream).map_err(ReplayError::Memory)?;
    let names = rules.into_iter().map(|rule| rule.name).collect();
    let mut replay = Replay {
        wire,
        inside,
        names,
        print,
        waiting: VecDeque::new(),
        printed: 0,
        last_at: None,
        clock: START,
        last_tick: START,
        frame: Vec::new(),
        summary: Summary { midstream, ..Summary::default() },
    };
    let ending = capture::read(capture, |packet| replay.packet(packet))?;
    replay.finish()?;
    replay.summary.ending = Some(ending);
    replay.summary.answers = replay.wire.answers();
    Ok(replay.summary)
}

struct Replay<P> {
    wire: MemoryWire,
    inside: Inside,
    /// Names of rules and defaults, by id.
    names: Vec<std::sync::Arc<str>>,
    print: P,
    /// Packets that have no line yet, from number `printed + 1` on.
    waiting: VecDeque<Entry>,
    printed: u64,
    /// The newest timestamp so far, nanoseconds since 1970.
    last_at: Option<u64>,
    /// The replay's clock, nanoseconds.
    clock: u64,
    last_tick: u64,
    /// The frame at hand.
    frame: Vec<u8>,
    summary: Summary,
}

impl<P: FnMut(report::Line<'_>) -> io::Result<()>> Replay<P> {
    fn packet(&mut self, packet: Captured<'_>) -> Result<(), ReplayError> {
        let now = self.advance(packet.at);
        let made = link::to_ethernet(packet.link, packet.bytes, &mut self.frame);
        self.summary.packets += 1;
        self.summary.cut += u64::from(packet.bytes.len() < packet.wire_len);
        let number = self.summary.packets;
        let waiting = &mut self.waiting;
        let first = self.printed + 1;
        let tell = |packet: u64, fate: Fate| settle(waiting, packet - first, Settled::Judged(fate));
        if self.clock - self.last_tick >= TICK {
            self.last_tick = self.clock;
            self.wire.tick(now, tell)?;
        }
        let parsed = headers::parse(&self.frame);
        let side = self.inside.side(self.wire.table(), &parsed);
        if made == Made::WithoutSender {
            self.wire.make_up_sender(&mut self.frame, &parsed);
        }
        let mut entry = Entry::new(side, &parsed);
        if made == Made::Nothing {
            entry.outcome = Some(Settled::NotEthernet);
            self.summary.count_link(packet.link);
            waiting.push_back(entry);
        } else {
            waiting.push_back(entry);
            let wire = &mut self.wire;
            let mut send = |frame: &[u8]| {
                let tell = |packet: u64, fate: Fate| settle(waiting, packet - first, Settled::Judged(fate));
                wire.send(number, side, now, frame, tell)
            };
            let was_cut = match &parsed {
                Ok(headers) => segments::cut(&self.frame, headers, path::FRAME_MAX, &mut send)?,
                Err(_) => false,
            };
            self.summary.joined += u64::from(was_cut);
            if !was_cut {
                send(&self.frame)?;
            }
        }
        self.print_settled()
    }

    /// The replay's clock at a packet's timestamp: it never runs backwards, and no pause is longer than a day.
    fn advance(&mut self, at: u64) -> Now {
        let last = self.last_at.get_or_insert(at);
        self.clock += at.saturating_sub(*last).min(PAUSE_MAX);
        *last = at.max(*last);
        Now::from_nanos(self.clock)
    }

    /// Lets time pass until no packet is held, and prints what is left.
    fn finish(&mut self) -> Result<(), ReplayError> {
        let first = self.printed + 1;
        for _ in 0..LAST_TICKS {
            if self.wire.held() == 0 {
                break;
            }
            self.clock += TICK;
            let waiting = &mut self.waiting;
            let tell = |packet: u64, fate: Fate| settle(waiting, packet - first, Settled::Judged(fate));
            self.wire.tick(Now::from_nanos(self.clock), tell)?;
        }
        self.print_settled()?;
        if self.waiting.is_empty() { Ok(()) } else { Err(Unaccounted.into()) }
    }

    fn print_settled(&mut self) -> Result<(), ReplayError> {
        while let Some((entry, settled)) =
            self.waiting.front().and_then(|entry| Some((*entry, entry.outcome?)))
        {
            self.waiting.pop_front();
            self.printed += 1;
            let line = report::Line::new(self.printed, &entry, settled, &self.names);
            self.summary.count(&line);
            (self.print)(line).map_err(ReplayError::Output)?;
        }
        Ok(())
    }
}

/// Notes how a packet ended. One that was cut into segments ends as its first segment did, or as the first that was
/// dropped.
fn settle(waiting: &mut VecDeque<Entry>, at: u64, outcome: Settled) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let Some(entry) = waiting.get_mut(at) else { return };
    let was_forwarded = matches!(entry.outcome, Some(Settled::Judged(Fate::Forward { .. })));
    let is_drop = matches!(outcome, Settled::Judged(Fate::Drop { .. }));
    if entry.outcome.is_none() || (was_forwarded && is_drop) {
        entry.outcome = Some(outcome);
    }
}

/// What a packet speaks; of a later fragment, only the protocol is known.
fn service(ip: &Ip) -> ServiceRange {
    let key = ServiceKey::of(ip.protocol, &ip.transport).value();
    let last = if ip.transport == Transport::Later { key | 0xffff } else { key };
    ServiceRange { first: key, last }
}

impl Entry {
    fn new(side: Side, parsed: &Result<Headers, dataplane::verdict::DropReason>) -> Self {
        let nothing = Self { side, source: None, destination: None, service: None, outcome: None };
        match parsed {
            Ok(Headers { network: Network::Ip(ip), .. }) => Self {
                source: Some(ip.source),
                destination: Some(ip.destination),
                service: Some(service(ip)),
                ..nothing
            },
            Ok(Headers { network: Network::Arp(arp), .. }) => {
                Self { source: Some(arp.sender), destination: Some(arp.target), ..nothing }
            }
            _ => nothing,
        }
    }
}
