//! A capture that runs: from the workers' lanes to the bytes of a file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::address::Address;
use dataplane::capture::{Copied, Counts, Filter, Lane, Sieve};
use dataplane::clock::Now;
use dataplane::verdict::{Epoch, RuleId, Side, WireId};
use jiff::Timestamp;

use super::{Limits, chunks, pcapng};
use crate::observe::names::service_name;
use crate::observe::worker::Worker;

/// What gives copies their words.
pub trait Wording {
    /// The name of a rule of the policy of `epoch`.
    fn rule(&self, epoch: Epoch, rule: RuleId) -> String;

    /// An end and its labels, as `web{app=shop}`.
    fn end(&self, address: Address) -> String;

    /// The rule of this name in the policy in force, to be told to the workers.
    fn find(&self, rule: &str) -> Option<(Epoch, RuleId)>;
}

/// One port of a wire.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its interface.
    pub interface: String,
    /// What it is, for people.
    pub description: String,
}

/// Copies taken from a lane in one go.
const TAKE_MAX: usize = 1024;
/// A batch that began so long ago is whole: its copies can be put in order.
const SETTLED: u64 = 10_000_000;
/// How long workers may take to end the batch in which they learn that the capture is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lanes of one capture, open as long as this lives.
#[derive(Debug)]
struct Lanes {
    workers: Vec<Worker>,
    lanes: Vec<Arc<Lane>>,
}

impl Lanes {
    /// Begins copying at every worker what `sieve` lets through.
    fn open(sieve: &Arc<Sieve>, snap_len: usize, workers: &[Worker]) -> Self {
        let room = chunks(snap_len, workers.len());
        let lanes: Vec<_> = workers.iter().map(|_| Arc::new(Lane::new(Arc::clone(sieve), room))).collect();
        for (worker, lane) in workers.iter().zip(&lanes) {
            worker.records.tap().open(Arc::clone(lane));
        }
        Self { workers: workers.to_vec(), lanes }
    }

    /// Ends the copying, and waits until no worker is at it any more: from then on counts stand still.
    fn close(&self) {
        self.workers.iter().for_each(|worker| worker.records.tap().close());
        let since = Instant::now();
        while self.lanes.iter().any(|lane| Arc::strong_count(lane) > 1) && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Of the frames that came in on a side of a wire.
    fn counts(&self, wire: WireId, side: Side) -> Counts {
        let own = self.workers.iter().zip(&self.lanes).filter(|(worker, _)| worker.wire == wire);
        own.fold(Counts::default(), |sum, (_, lane)| {
            let one = lane.counts(side);
            Counts {
                matched: sum.matched + one.matched,
                limited: sum.limited + one.limited,
                lost: sum.lost + one.lost,
            }
        })
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.close();
    }
}

/// A capture that runs.
#[derive(Debug)]
pub struct Session {
    lanes: Lanes,
    sieve: Arc<Sieve>,
    /// Only what this rule or default decided.
    rule: Option<String>,
    /// The epoch that the workers know the rule under.
    known: Option<Epoch>,
    limits: Limits,
    /// One moment on the workers' clock and on the wall's, nanoseconds.
    clock: (u64, u64),
    began: Instant,
    /// Each wire's two ports, inside first.
    ports: Vec<[Port; 2]>,
    /// Copies whose batch may not be whole yet.
    waiting: Vec<(usize, Box<Copied>)>,
    /// By interface: packets written, packets that another rule decided, copies lost as of the last one written of
    /// each worker.
    written: Vec<(u64, u64)>,
    lost: Vec<[u64; 2]>,
    packets: u64,
    bytes: u64,
}

const fn interface_of(wire: WireId, side: Side) -> usize {
    wire.0 as usize * 2 + matches!(side, Side::Outside) as usize
}

impl Session {
    /// Begins to capture what `filter` wants, and of that what `rule` decided; the head of the file is in `out`.
    #[must_use]
    pub fn begin(
        filter: Filter,
        rule: Option<String>,
        limits: Limits,
        workers: &[Worker],
        ports: Vec<[Port; 2]>,
        out: &mut Vec<u8>,
    ) -> Self {
        let application = concat!("ringfence ", env!("CARGO_PKG_VERSION"));
        pcapng::section(out, application, "frames with what became of them");
        let snap_len = filter.snap_len;
        for port in ports.iter().flatten() {
            let longest = u32::try_from(snap_len).unwrap_or(0);
            pcapng::interface(out, &port.interface, &port.description, longest);
        }
        let sieve = Arc::new(Sieve::new(filter));
        let wall = Timestamp::now().as_nanosecond();
        Self {
            clock: (Now::read().as_nanos(), u64::try_from(wall).unwrap_or(0)),
            began: Instant::now(),
            written: vec![(0, 0); ports.len() * 2],
            lost: vec![[0; 2]; workers.len()],
            lanes: Lanes::open(&sieve, snap_len, workers),
            sieve,
            rule,
            known: None,
            limits,
            ports,
            waiting: Vec::new(),
            packets: 0,
            bytes: 0,
        }
    }

    /// Appends what was copied since, in order; whether the capture goes on.
    pub fn go_on(&mut self, words: &impl Wording, out: &mut Vec<u8>) -> bool {
        self.tell_rule(words);
        self.take();
        self.write(Now::read().as_nanos().saturating_sub(SETTLED), words, out);
        !self.is_over()
    }

    /// Ends the capture: appends what is left, and the counts.
    pub fn end(mut self, words: &impl Wording, out: &mut Vec<u8>) {
        self.lanes.close();
        self.take();
        self.write(u64::MAX, words, out);
        self.statistics(true, out);
    }

    /// Appends the counts as they are, of `all` interfaces or of those that have any and the first.
    pub fn statistics(&self, all: bool, out: &mut Vec<u8>) {
        let now = self.wall(Now::read().as_nanos());
        for (number, (wire, side)) in self.interfaces().enumerate() {
            let Counts { matched, limited, lost } = self.lanes.counts(wire, side);
            if !all && number > 0 && matched == 0 {
                continue;
            }
            let (delivered, others) = self.written[number];
            let comment = if limited + others > 0 {
                format!("beyond the rate: {limited}; decided by other rules: {others}")
            } else {
                String::new()
            };
            let one = pcapng::Statistics {
                interface: u32::try_from(number).unwrap_or(u32::MAX),
                from: self.clock.1,
                to: now,
                accepted: matched,
                lost,
                delivered,
                comment: &comment,
            };
            pcapng::statistics(out, &one);
        }
    }

    fn interfaces(&self) -> impl Iterator<Item = (WireId, Side)> + use<> {
        let wires = (0u16..).take(self.ports.len()).map(WireId);
        wires.flat_map(|wire| [(wire, Side::Inside), (wire, Side::Outside)])
    }

    fn is_over(&self) -> bool {
        self.packets >= self.limits.packets
            || self.bytes >= self.limits.bytes
            || self.began.elapsed() >= self.limits.time
    }

    /// Tells the workers under which number they know the rule, when a policy was published since.
    fn tell_rule(&mut self, words: &impl Wording) {
        let found = self.rule.as_deref().and_then(|rule| words.find(rule));
        if let Some((epoch, rule)) = found
            && self.known != Some(epoch)
        {
            self.sieve.name_rule(epoch, rule);
            self.known = Some(epoch);
        }
    }

    fn take(&mut self) {
        for (worker, lane) in self.lanes.lanes.iter().enumerate() {
            let copies = core::iter::from_fn(|| lane.next()).take(TAKE_MAX);
            self.waiting.extend(copies.map(|copy| (worker, copy)));
        }
        self.waiting.sort_by_key(|(worker, copy)| (copy.at, *worker, copy.from_outside, copy.order));
    }

    /// Writes the copies of batches that began before `until`.
    fn write(&mut self, until: u64, words: &impl Wording, out: &mut Vec<u8>) {
        let ready = self.waiting.partition_point(|(_, copy)| copy.at.as_nanos() <= until);
        for (worker, copy) in self.waiting.drain(..ready).collect::<Vec<_>>() {
            if !self.is_over_count() {
                self.write_one(worker, &copy, words, out);
            }
            self.lanes.lanes[worker].give_back(copy);
        }
    }

    fn is_over_count(&self) -> bool {
        self.packets >= self.limits.packets || self.bytes >= self.limits.bytes
    }

    fn write_one(&mut self, worker: usize, copy: &Copied, words: &impl Wording, out: &mut Vec<u8>) {
        let number = interface_of(copy.wire, copy.side());
        let Some(written) = self.written.get_mut(number) else { return };
        let rule = copy.rule.map(|rule| words.rule(copy.epoch, rule));
        if self.rule.is_some() && self.rule != rule {
            written.1 += 1;
            return;
        }
        written.0 += 1;
        let before = &mut self.lost[worker][usize::from(copy.from_outside)];
        let lost = copy.lost_before.saturating_sub(*before);
        *before = copy.lost_before;
        self.packets += 1;
        self.bytes += copy.bytes.len() as u64;
        let comment = comment(copy, rule.as_deref(), words);
        let packet = pcapng::Packet {
            interface: u32::try_from(number).unwrap_or(u32::MAX),
            at: self.wall(copy.at.as_nanos()),
            len: copy.len,
            bytes: &copy.bytes,
            comment: &comment,
            lost,
        };
        pcapng::packet(out, &packet);
    }

    /// A moment of the workers' clock on the wall's, nanoseconds since 1970.
    const fn wall(&self, at: u64) -> u64 {
        self.clock.1.wrapping_add(at).wrapping_sub(self.clock.0)
    }
}

/// What became of a frame, as words with values: `verdict=drop reason=policy rule=default/deny epoch=3
/// service=tcp/5432 from=web{app=shop} to=db{app=shop,role=db}`.
fn comment(copy: &Copied, rule: Option<&str>, words: &impl Wording) -> String {
    let mut text = match copy.dropped {
        None => "verdict=forward".to_owned(),
        Some(reason) => format!("verdict=drop reason={}", reason.name()),
    };
    if let Some(rule) = rule {
        text.push_str(" rule=");
        text.push_str(rule);
    }
    text.push_str(&format!(" epoch={}", copy.epoch.0));
    if let Some(([source, destination], service)) = copy.ends {
        let (service, from, to) = (service_name(service), words.end(source), words.end(destination));
        text.push_str(&format!(" service={service} from={from} to={to}"));
    }
    text
}
