//! What telling of flows costs the packet path, and what listening costs the control thread.
//!
//! `cargo run --release -p bench --example records -- [ROUNDS]`. One round is one second's worth of a busy wire: a
//! hundred thousand flows begin and end, once on a path that tells of them while another thread takes what it tells
//! as the daemon does, once on a path that tells nothing; in turns, the first of a round changing from one to the
//! next. Time is that of the worker's own calls. Figures are medians with a bootstrap 95 % interval; on a machine
//! with less than two idle cores they are worth little.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bench::measure::statistics::{Random, Ratio, ratio};
use bench::path::{Frames, Path, pipeline_telling};
use bench::{estate, flows};
use control::observe::flows::{Collector, RecordLog, Wording};
use control::observe::worker::Worker;
use control::policy::{CompileOptions, compile};
use dataplane::counters::WorkerCounters;
use dataplane::frame::BATCH_MAX;
use dataplane::pipeline::Pipeline;
use dataplane::records::Records;
use dataplane::verdict::{Epoch, RuleId, Side, WireId};
use jiff::Timestamp;
use testkit::Packet;

const WORKLOADS: u32 = 10_000;
const RULES: u32 = 1000;
/// Flows of one second.
const FLOWS: u32 = 100_000;
/// As many flows at a time as the daemon's table holds by default, halved: see [`flows::table`].
const ROOM: u32 = 131_072;
/// More than any time-out of a datagram flow, milliseconds.
const EXPIRED: u64 = 200_000;
/// Batches between two turns of upkeep, and the milliseconds that they stand for: 100,000 flows a second.
const BATCHES: u64 = 25;
const STEP_MILLIS: u64 = 16;
/// How often the daemon takes what workers tell.
const TICK: Duration = Duration::from_millis(100);

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(15);
    let listener = Listener::start();
    let mut telling = Bench::new(Arc::clone(&listener.worker.records), &listener.worker.counters);
    let mut silent = Bench::new(Arc::new(Records::muted()), &Arc::default());
    // The first round faults memory in.
    telling.second();
    silent.second();
    let (mut share, mut per_flow, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (told, quiet) = if round % 2 == 0 {
            let told = telling.second();
            (told, silent.second())
        } else {
            let quiet = silent.second();
            (telling.second(), quiet)
        };
        let more = told.as_secs_f64() - quiet.as_secs_f64();
        share.push(more * 100.0);
        per_flow.push(more * 1e9 / f64::from(FLOWS));
        whole.push(told.as_secs_f64() / quiet.as_secs_f64());
    }
    let counters = Arc::clone(&listener.worker.counters);
    let (heard, per_event) = listener.stop();
    let (events, lost) = (counters.flow_events.get(), counters.flow_events_lost.get());
    say("of a core's second, at 100,000 flows a second", "%", ratio(&share));
    say("a flow, its beginning and its end", "ns", ratio(&per_flow));
    say("times as long, if every packet begins a flow", "", ratio(&whole));
    println!("{per_event:.0} ns an event for the control thread; {events} told, {heard} heard, {lost} lost");
    assert_eq!(events, heard + lost, "every event is heard or counted as lost");
}

fn say(what: &str, unit: &str, figure: Option<Ratio>) {
    if let Some(Ratio { median, low, high, rounds }) = figure {
        println!("{median:.2} {unit} {what} ({low:.2} to {high:.2}, {rounds} rounds)");
    }
}

/// A path with frames that each begin a flow.
struct Bench {
    path: Path<Pipeline>,
    frames: Frames,
}

impl Bench {
    fn new(records: Arc<Records>, counters: &Arc<WorkerCounters>) -> Self {
        let policy = estate::policy(WORKLOADS, RULES);
        let table = compile(&policy, &CompileOptions::default()).expect("within the limits").table;
        let path = pipeline_telling(table, ROOM, records, Arc::clone(counters));
        let mut order: Vec<u32> = (0..FLOWS).collect();
        Random(7).shuffle(&mut order);
        let frames = Frames::of(order.into_iter().map(|n| {
            let (from, to) = flows::sockets(n, WORKLOADS, RULES);
            Packet::udp(from, to).payload([0; 18]).build()
        }));
        Self { path, frames }
    }

    /// A hundred thousand flows begin and end; the time the path took. Between its steps it sleeps as long as a wire
    /// of that rate would let it, so that the queue is taken from as often as on one.
    fn second(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        let opened = self.path.counters().flows_opened.get();
        for batch in 0..u64::from(FLOWS) / BATCH_MAX as u64 {
            let (took, forwarded) = self.path.send(Side::Inside, self.frames.batch().0);
            assert_eq!(forwarded, BATCH_MAX, "{:?}", self.path.counters());
            spent += took;
            if batch % BATCHES == BATCHES - 1 {
                spent += self.upkeep();
            }
        }
        let begun = self.path.counters().flows_opened.get() - opened;
        assert!(begun >= u64::from(FLOWS) - BATCH_MAX as u64, "{begun} flows began");
        self.path.pass_millis(EXPIRED);
        for _ in 0..64 {
            spent += self.upkeep();
        }
        spent
    }

    fn upkeep(&mut self) -> Duration {
        std::thread::sleep(Duration::from_millis(STEP_MILLIS));
        self.path.pass_millis(STEP_MILLIS);
        let started = Instant::now();
        self.path.tick();
        started.elapsed()
    }
}

/// The control thread's part: takes events into the log.
struct Listener {
    worker: Worker,
    stop: Arc<AtomicBool>,
    nanos: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Collector>,
}

struct OneName(Arc<str>);

impl Wording for OneName {
    fn rule(&self, _epoch: Epoch, _rule: RuleId) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Listener {
    fn start() -> Self {
        let worker =
            Worker { wire: WireId(0), queue: 0, counters: Arc::default(), records: Arc::new(Records::new()) };
        let (stop, nanos) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (workers, told, spent) = ([worker.clone()], Arc::clone(&stop), Arc::clone(&nanos));
        let thread = std::thread::spawn(move || {
            let mut collector = Collector::new(RecordLog::new(Timestamp::now()));
            let words = OneName("rule".into());
            loop {
                let last = told.load(Ordering::Acquire);
                let started = Instant::now();
                collector.collect(&workers, &words);
                let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                spent.fetch_add(took, Ordering::Relaxed);
                if last {
                    return collector;
                }
                std::thread::sleep(TICK);
            }
        });
        Self { worker, stop, nanos, thread }
    }

    /// Events heard, and nanoseconds for each.
    fn stop(self) -> (u64, f64) {
        self.stop.store(true, Ordering::Release);
        let collector = self.thread.join().expect("the listener lives");
        let heard: u64 = collector.log().each().map(|one| one.flows + one.facts.outcomes.all()).sum();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let per_event = self.nanos.load(Ordering::Relaxed) as f64 / heard.max(1) as f64;
        (heard, per_event)
    }
}
