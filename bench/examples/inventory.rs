//! What a change of one workload costs through the engine, as `PUT /workloads/NAME` makes it: resolved, compiled,
//! admitted, written to the journal, published, and taken by a worker that reads all the time. Prints percentiles.
//!
//! `cargo run --release -p bench --example inventory -- STATE_DIR [WORKLOADS RULES [CHANGES]]`; where `STATE_DIR` lies
//! decides what a write to the journal costs: on `/dev/shm` nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::estate;
use control::engine::{Author, Engine, InventoryChange, InventoryChanged, Parts, Terms};
use control::observe::worker::Worker;
use control::policy::{CompileOptions, admit, compile};
use control::store::{Limits, Publication, Store, StoredFile};
use dataplane::verdict::WireId;
use serde_json::json;

type Failed = Box<dyn std::error::Error>;

/// How often the daemon calls [`Engine::tick`].
const TICK: Duration = Duration::from_millis(100);

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let state = arguments.first().ok_or("which state directory?")?;
    let number = |at: usize, otherwise| arguments.get(at).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (workloads, rules, changes) = (number(1, 100_000)?, number(2, 10_000)?, number(3, 1_000)?);
    let engine = start(Path::new(state))?;
    let done = Arc::new(AtomicBool::new(false));
    let threads = [read_always(&engine, &done), tick_always(&engine, &done)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(measure(&engine, workloads, rules, changes));
    done.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    measured
}

fn start(state: &Path) -> Result<Arc<Engine>, Failed> {
    let (store, _) = Store::open(state, Limits::default())?;
    let worker = Worker { wire: WireId(0), queue: 0, counters: Arc::default(), records: Arc::default() };
    let parts = Parts {
        workers: vec![worker],
        wires: vec!["w".into()],
        proxies: Vec::new(),
        store,
        flows: None,
        timeout: Duration::from_secs(5),
        wake: Box::new(|| ()),
    };
    Ok(Engine::start(parts, &[], false)?)
}

/// The worker: reads the policy as often as one does that polls its rings.
fn read_always(engine: &Arc<Engine>, done: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (publisher, done) = (Arc::clone(engine.publisher()), Arc::clone(done));
    std::thread::spawn(move || {
        let mut reader = publisher.reader(0);
        while !done.load(Ordering::Relaxed) {
            reader.read();
            std::thread::sleep(Duration::from_micros(20));
        }
    })
}

fn tick_always(engine: &Arc<Engine>, done: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (engine, done) = (Arc::clone(engine), Arc::clone(done));
    std::thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            engine.tick();
            std::thread::sleep(TICK);
        }
    })
}

async fn measure(engine: &Arc<Engine>, workloads: u32, rules: u32, changes: u32) -> Result<(), Failed> {
    let author =
        Author { publication: Publication::Request, uid: 0, message: "estate".into(), rolled_back_to: None };
    let file = StoredFile { name: "estate.yaml".into(), text: estate::yaml(workloads, rules) };
    engine.publish(vec![file], author, Terms::default()).await?;
    println!("{workloads} workloads, {rules} rules; each in ms");
    let mut done: [Vec<(InventoryChanged, f64)>; 3] = Default::default();
    for n in 0..changes {
        let start = Instant::now();
        let change = change(n, workloads);
        let changed = engine.change_workload(format!("new{}", n / 3), change, None, 0).await?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        if n == 0 {
            println!("{:<28}{took:>10.3}", "the first, compiles anew");
        } else {
            done[n as usize % 3].push((changed, took));
        }
    }
    for (what, done) in ["added", "relabelled", "removed"].iter().zip(&done) {
        let of = |part: fn(&(InventoryChanged, f64)) -> f64| done.iter().map(part).collect::<Vec<_>>();
        print(&format!("{what}, in all"), of(|(_, took)| *took));
        print(&format!("{what}, compiled"), of(|(changed, _)| changed.compile_ms));
        print(&format!("{what}, admitted"), of(|(changed, _)| changed.prove_ms));
    }
    parts(engine);
    Ok(())
}

/// What would cost most if it were done for a change: each done once for the whole estate.
fn parts(engine: &Engine) {
    let Some(now) = engine.in_force() else { return };
    let timed = |what: &str, work: &dyn Fn()| {
        let each = (0..5).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        });
        print(what, each.collect());
    };
    timed("whole: policy copied", &|| drop(std::hint::black_box((*now.policy).clone())));
    timed("whole: files copied", &|| drop(std::hint::black_box(now.source())));
    let Ok(compiled) = compile(&now.policy, &CompileOptions::default()) else { return };
    timed("whole: admitted", &|| drop(std::hint::black_box(admit(&now.policy, &compiled))));
}

fn print(what: &str, mut of: Vec<f64>) {
    of.sort_by(f64::total_cmp);
    let at = |share: usize| of.get((of.len() * share / 100).min(of.len().saturating_sub(1))).copied();
    let [p50, p99, most] = [50, 99, 100].map(|share| at(share).unwrap_or(f64::NAN));
    println!("{what:<28}{p50:>10.3} p50{p99:>10.3} p99{most:>10.3} max");
}

/// A workload comes with the labels of another application, gets those of a third, and goes.
fn change(n: u32, workloads: u32) -> InventoryChange {
    let labels = estate::workload(n.wrapping_mul(0x9e37_79b1) % workloads).labels;
    match n % 3 {
        0 => {
            let addresses = [estate::v4(1 << 23).to_string(), estate::v6(1 << 23).to_string()];
            InventoryChange::Put(json!({"addresses": addresses, "labels": labels}))
        }
        1 => InventoryChange::Label(labels, Vec::new()),
        _ => InventoryChange::Remove,
    }
}
