//! The load: clients and back ends in one thread of one process, so that what stands between them has the other CPU to
//! itself, and no switch between a client and a server is ever measured with it.

mod client;
mod plan;
pub(crate) mod poll;
mod server;
mod source;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddrV4;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::measure::canary::jiffies;
use crate::measure::{CPU_CANDIDATE, CPU_ENDS, MeasureError, pin};
use client::Clients;
pub use plan::{Outcome, Plan, Serving, Work};
use poll::Poll;
use server::{Answer, Counts, SERVER, Server};
use source::Source;

/// How long connections may take to be established before the load gives up.
const ESTABLISHING: Duration = Duration::from_secs(60);
/// How long answers may take after the measured time.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What is counted in the measured time.
#[derive(Debug, Default)]
struct Counted {
    completed: u64,
    failed: u64,
    latencies: Vec<Duration>,
}

/// Carries the plan out on this thread. When an [`Work::Idle`] plan has all its connections, `idle` is called while
/// they stay.
///
/// # Errors
/// If the kernel refuses, or a connection is lost that the work is not about losing.
pub fn carry_out(plan: &Plan, idle: impl FnOnce() -> io::Result<()>) -> Result<Outcome, MeasureError> {
    raise_open_files()?;
    let mut load = Load::start(plan)?;
    if plan.work.establishes() {
        let end = Instant::now() + ESTABLISHING;
        while load.clients.established < plan.work.connections() {
            if Instant::now() > end {
                let had = load.clients.established;
                return Err(format!("{had} of {} connections are there", plan.work.connections()).into());
            }
            load.turn(10)?;
        }
    }
    if matches!(plan.work, Work::Idle { .. }) {
        idle()?;
        return Ok(load.outcome(0.0));
    }
    load.measure()
}

/// Raises the limit of open files as far as the system lets this process, and returns it.
///
/// # Errors
/// If even what is allowed is refused.
pub fn raise_open_files() -> io::Result<u64> {
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open")?.trim().parse().unwrap_or(1 << 20);
    let wanted = Rlimit { current: Some(most), maximum: Some(most) };
    // Without the privilege, up to the limit that was given.
    let given = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, wanted)
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: given, maximum: given }))?;
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(most))
}

struct Load<'a> {
    plan: &'a Plan,
    poll: Poll,
    server: Option<Server>,
    beside: Option<Beside>,
    counts: Arc<Counts>,
    clients: Clients,
}

impl<'a> Load<'a> {
    fn start(plan: &'a Plan) -> Result<Self, MeasureError> {
        let poll = Poll::new()?;
        let counts = Arc::new(Counts::default());
        let answer = if plan.work.is_bulk() { Answer::Discard } else { Answer::Echo(plan.work.bytes()) };
        let (mut server, mut beside) = (None, None);
        if plan.serving == Serving::Beside {
            beside = Some(Beside::start(&plan.servers, answer, &counts)?);
        }
        // Back ends beside stay where this process was started.
        if let Some(host) = &plan.host {
            move_into_link_name_space(File::open(host)?.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        if plan.serving == Serving::Here {
            server = Some(Server::listen(&poll, &plan.servers, answer, Arc::clone(&counts))?);
        }
        let mut clients = Clients::new(plan.work, Source::new(plan.network, plan.target))?;
        clients.open(&poll)?;
        Ok(Self { plan, poll, server, beside, counts, clients })
    }

    fn turn(&mut self, milliseconds: u16) -> Result<(), MeasureError> {
        self.poll.wait(milliseconds)?;
        let mut ready = std::mem::take(&mut self.poll.ready);
        for event in ready.drain(..) {
            if event.token & SERVER == 0 {
                self.clients.event(&self.poll, event)?;
            } else if let Some(server) = &mut self.server {
                server.event(&self.poll, event)?;
            }
        }
        self.poll.ready = ready;
        if self.beside.as_ref().is_some_and(|beside| beside.thread.is_finished()) {
            return Err("the back ends' thread ended".into());
        }
        Ok(())
    }

    /// Runs until `end`, or until the limit is reached.
    fn until(&mut self, end: Instant, limit: Option<u64>) -> Result<(), MeasureError> {
        // In an open loop this thread never sleeps: it would wake late.
        let paced = matches!(self.plan.work, Work::Paced { .. });
        let wait = |vacant: u32| u16::from(!paced && vacant == 0);
        while Instant::now() < end && limit.is_none_or(|limit| self.clients.counted.completed < limit) {
            self.turn(wait(self.clients.vacant))?;
            self.clients.refill(&self.poll)?;
            if paced {
                self.clients.send_due(end)?;
            }
        }
        Ok(())
    }

    fn measure(mut self) -> Result<Outcome, MeasureError> {
        let from = Instant::now() + Duration::from_millis(self.plan.warm_up);
        let to = from + Duration::from_millis(self.plan.measured);
        if let Work::Paced { rate, .. } = self.plan.work {
            self.clients.pace(rate, from, to);
        }
        self.until(from, None)?;
        self.clients.counted = Counted::default();
        let received = self.counts.received.load(Relaxed);
        let cpus = [jiffies(CPU_ENDS)?, jiffies(CPU_CANDIDATE)?];
        let started = Instant::now();
        self.until(to, self.plan.limit)?;
        let seconds = started.elapsed().as_secs_f64();
        let mut outcome = self.outcome(seconds);
        outcome.received -= received;
        let [ends, middle] = [jiffies(CPU_ENDS)?.shares(cpus[0]), jiffies(CPU_CANDIDATE)?.shares(cpus[1])];
        outcome.busy = [ends.0, middle.0];
        outcome.steal = ends.1.max(middle.1);
        if matches!(self.plan.work, Work::Paced { .. }) {
            let end = Instant::now() + LAST_ANSWERS;
            while self.clients.unanswered() > 0 && Instant::now() < end {
                self.turn(1)?;
            }
            outcome.completed = self.clients.counted.latencies.len() as u64;
            outcome.unanswered = self.clients.unanswered();
            outcome.latency = percentiles(&mut self.clients.counted.latencies);
        }
        Ok(outcome)
    }

    fn outcome(&self, seconds: f64) -> Outcome {
        Outcome {
            seconds,
            completed: self.clients.counted.completed,
            failed: self.clients.counted.failed,
            accepted: self.counts.accepted.load(Relaxed),
            received: self.counts.received.load(Relaxed),
            ..Outcome::default()
        }
    }
}

/// Back ends on the candidate's CPU; they end with it.
struct Beside {
    thread: thread::JoinHandle<io::Result<()>>,
    stop: Arc<AtomicBool>,
}

impl Beside {
    fn start(servers: &[SocketAddrV4], answer: Answer, counts: &Arc<Counts>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, counts, servers) = (Arc::clone(&stop), Arc::clone(counts), servers.to_vec());
        let (listening, listens) = mpsc::channel();
        let thread = thread::spawn(move || {
            pin(CPU_CANDIDATE)?;
            let mut poll = Poll::new()?;
            let mut server = Server::listen(&poll, &servers, answer, counts)?;
            let _ = listening.send(());
            while !stopped.load(Relaxed) {
                poll.wait(50)?;
                let mut ready = std::mem::take(&mut poll.ready);
                for event in ready.drain(..) {
                    server.event(&poll, event)?;
                }
                poll.ready = ready;
            }
            Ok(())
        });
        if listens.recv().is_err() {
            let ended = thread.join().map_err(|_| io::Error::other("the back ends' thread died"))?;
            return Err(ended.err().unwrap_or_else(|| io::Error::other("the back ends' thread ended")));
        }
        Ok(Self { thread, stop })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// The 50th, 90th, 99th and 99.9th percentile and the largest, nanoseconds; none of nothing.
fn percentiles(latencies: &mut [Duration]) -> Option<[u64; 5]> {
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1)?;
    let at = |thousandths: usize| {
        let rank = (latencies.len() * thousandths).div_ceil(1000).saturating_sub(1).min(last);
        u64::try_from(latencies[rank].as_nanos()).unwrap_or(u64::MAX)
    };
    Some([at(500), at(900), at(990), at(999), at(1000)])
}

/// The load's own process: carries out the plan given as JSON on its CPU and prints the outcome; says `ready` and
/// waits for its input to end while connections are idle.
///
/// # Errors
/// As [`carry_out`].
pub fn child(plan: &str) -> Result<(), MeasureError> {
    let plan: Plan = serde_json::from_str(plan)?;
    pin(CPU_ENDS)?;
    let outcome = carry_out(&plan, || {
        println!("ready");
        io::stdout().flush()?;
        io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
    })?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
