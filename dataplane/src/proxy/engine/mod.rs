//! One worker: the loop over its ring, and everything it owns.
//!
//! A turn waits in one system call, which also submits what the turn before has queued. Each operation that completed
//! in it moves one connection one step (`admit` until it is relayed, `relay` and `bulk` from then on,
//! `finish` at its end). Then connections are decided again if the policy is new (`rule`), and those whose time has
//! come are looked at (`time`), each a bounded number. With nothing to do the thread sleeps.

mod admit;
mod backends;
mod bulk;
mod conn;
mod connect;
mod early;
mod finish;
mod register;
mod relay;
mod rule;
mod sockets;
mod sources;
mod time;
mod wheel;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::ProxyParts;
use super::config::ProxyConfig;
use super::control::{BackendHealth, Control, Wanted};
use super::counters::{ProxyCounters, Refusal};
use super::error::ProxyProblem;
use super::uring::{Completion, Completions, Op, Ring, RingPlan, Token};
use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::flow::FlowTable;
use crate::policy::{PolicyReader, Snapshot};
use crate::records::Records;
use crate::verdict::Epoch;
use backends::Backends;
use bulk::Pipes;
use conn::{Conn, Side, Stage};
use early::Refusing;
use finish::End;
use sockets::Files;
use sources::Sources;
use wheel::Wheel;

/// The wake-up's place among the ring's files; the listeners come after it.
const WAKE_FILE: u32 = 0;
const WAKE: Token = Token { op: Op::Wake, index: 0 };
/// Connections looked at per turn because their time has come, or because the policy is new.
const LOOKS_MAX: usize = 512;
/// How long accepting pauses after the kernel had no file or memory for a connection, milliseconds.
const ACCEPT_PAUSE: u32 = 100;
/// How long connections that are reset at a stop may take.
const LAST_TURNS: u32 = 1000;

/// What a worker thread owns.
pub(super) struct Engine {
    /// Why clients are refused only after they were accepted, if something is missing.
    late: Option<String>,
    reader: PolicyReader,
    completions: Box<Completions>,
    core: Core,
    // After the ring, which names them.
    listeners: Vec<OwnedFd>,
    _files: Files,
}

/// All of an engine but its policy, so that both can be borrowed at once.
struct Core {
    ring: Ring,
    config: ProxyConfig,
    control: Control,
    /// Of each listener: its own address, unless that is a wildcard.
    listening: Box<[SocketAddr]>,
    /// One more than connections: the last is of those that the kernel has refused.
    conns: Box<[Conn]>,
    free: Vec<u32>,
    wheel: Wheel,
    sources: Sources,
    backends: Backends,
    pipes: Pipes,
    refusing: Refusing,
    /// Accepts that are not under way, by seat.
    seats: Vec<u32>,
    accepting: u32,
    /// Accepts have been cancelled, and no more begin.
    stopped: bool,
    /// Somebody may wait for one of those that were cancelled.
    left_over: bool,
    /// Clients wait because all places for connections are taken.
    crowded: bool,
    /// When a slow reader was reset last: milliseconds, modulo 2^32.
    evicted: u32,
    /// Accepting pauses until then: milliseconds, modulo 2^32.
    pause: Option<u32>,
    /// Directions that wait for a buffer: `connection << 1 | side`.
    starved: Vec<u32>,
    /// Quiet sends that are queued, and that were submitted: `connection << 1 | side`.
    quiet: Vec<u32>,
    submitted: Vec<u32>,
    /// Next connection to be decided again, while the policy is new.
    scan: Option<u32>,
    epoch: Epoch,
    worker: usize,
    flows: Arc<FlowTable>,
    counters: Arc<WorkerCounters>,
    records: Arc<Records>,
    proxy: Arc<ProxyCounters>,
}

/// One policy and one moment.
#[derive(Clone, Copy)]
struct Scene<'a> {
    snapshot: Option<&'a Arc<Snapshot>>,
    now: Now,
}

impl Scene<'_> {
    fn millis(&self) -> u32 {
        self.now.as_millis32()
    }

    fn epoch(&self) -> Epoch {
        self.snapshot.map_or(Epoch(0), |snapshot| snapshot.epoch)
    }
}

impl Engine {
    /// Allocates everything that the worker will ever need.
    pub(super) fn new(
        config: &ProxyConfig,
        listeners: Vec<OwnedFd>,
        control: Control,
        health: BackendHealth,
        parts: ProxyParts,
    ) -> Result<Self, ProxyProblem> {
        let limits = config.limits;
        let files_reserved = Files::reserve(&limits)?;
        let listener_count = u32::try_from(listeners.len()).unwrap_or(u32::MAX);
        let seats = listener_count.saturating_mul(limits.accepts_per_turn);
        let buffers = u16::try_from(limits.buffers)
            .map_err(|_| ProxyProblem::Setting("buffers", limits.buffers, "16 to 32768"))?;
        let plan = RingPlan { connections: limits.connections_max, buffers, seats };
        let wake = control.wake_fd().as_raw_fd();
        let files: Vec<_> = [wake].into_iter().chain(listeners.iter().map(AsRawFd::as_raw_fd)).collect();
        let ring = Ring::new(&plan, &files).map_err(ProxyProblem::Ring)?;
        let no = |what| move |error| ProxyProblem::Resources(what, error);
        let listening =
            listeners.iter().map(|fd| sockets::local(fd).ok_or(io::ErrorKind::InvalidInput.into()));
        let listening = listening.collect::<io::Result<_>>().map_err(no("address of a listener"))?;
        let count = limits.connections_max as usize;
        let (refusing, late) = Refusing::start(config);
        let ProxyParts { worker, reader, flows, counters, records, proxy } = parts;
        let core = Core {
            ring,
            config: config.clone(),
            control,
            listening,
            conns: (0..=count).map(|_| Conn::free()).collect(),
            free: (0..limits.connections_max).rev().collect(),
            wheel: Wheel::new(count, Now::read().as_millis32()),
            sources: Sources::new(count, limits.per_source_max).map_err(no("random bytes"))?,
            backends: Backends::new(config, health),
            pipes: Pipes::new(limits.pipes).map_err(no("pipe"))?,
            refusing,
            seats: (0..seats).collect(),
            accepting: 0,
            stopped: false,
            left_over: false,
            crowded: false,
            evicted: 0,
            pause: None,
            starved: Vec::with_capacity(2 * count),
            quiet: Vec::with_capacity(2 * count),
            submitted: Vec::with_capacity(2 * count),
            scan: None,
            epoch: Epoch(0),
            worker,
            flows,
            counters,
            records,
            proxy,
        };
        Ok(Self { late, reader, completions: Box::default(), core, listeners, _files: files_reserved })
    }

    /// Whether denied clients are refused before there is a connection; if something is missing for that, what.
    pub(super) fn refuses_early(&self) -> Result<bool, String> {
        self.late.clone().map_or_else(|| Ok(self.core.refusing.is_on()), Err)
    }

    /// The loop. Returns when told to stop.
    pub(super) fn run(&mut self) {
        let core = &mut self.core;
        core.ring.watch(WAKE_FILE, WAKE);
        let mut more = true;
        loop {
            let wanted = core.control.wanted();
            if wanted == Wanted::Stop {
                break;
            }
            core.accept_again(Now::read().as_millis32(), wanted);
            core.accept_left_over(&self.listeners);
            if core.wait(more).is_err() {
                break;
            }
            more = Self::turn(&mut self.reader, core, &mut self.completions);
        }
        self.end();
    }

    /// One turn of the loop: whether there is more to do at once.
    fn turn(reader: &mut PolicyReader, core: &mut Core, completions: &mut Completions) -> bool {
        core.proxy.turns.add(1);
        // 1. Read the policy and the clock once. From here on nothing is relayed under an older policy.
        let snapshot = reader.read_shared(|| core.leave_policy());
        let scene = Scene { snapshot, now: Now::read() };
        core.notice(scene.epoch());
        // 2. Take what completed; each moves one connection one step. Nothing completes but in the system call.
        core.take_completions(&scene, completions);
        // 3. Account for what the kernel has refused meanwhile.
        let refused = core.account_early(&scene);
        // 4. Decide again what an older policy has allowed.
        let unruled = core.rule_some(&scene);
        // 5. Look at connections whose time has come.
        let due = core.look_at_due(&scene);
        // 6. Buffers that are free again go to the kernel, and to those that wait for one.
        core.feed_starved(&scene);
        core.proxy.buffers_used.set(core.ring.buffers_used() as u64);
        unruled || due || refused
    }

    /// Resets what there is, and waits until the kernel is done with it.
    fn end(&mut self) {
        let Self { reader, completions, core, .. } = self;
        core.stop_accepting();
        for index in 0..core.config.limits.connections_max {
            let scene = Scene { snapshot: reader.read_shared(|| {}), now: Now::read() };
            core.end(&scene, index, End::Stopped);
        }
        for _ in 0..LAST_TURNS {
            if core.free.len() == core.config.limits.connections_max as usize && core.accepting == 0 {
                break;
            }
            if core.wait_for(1, Some(Duration::from_millis(1))).is_err() {
                break;
            }
            let scene = Scene { snapshot: reader.read_shared(|| {}), now: Now::read() };
            core.take_completions(&scene, completions);
        }
        reader.park();
    }
}

impl Core {
    /// Sleeps until there is something to do; not at all if there is `more`.
    fn wait(&mut self, more: bool) -> io::Result<()> {
        let want = u32::from(!more);
        let now = Now::read().as_millis32();
        let left = |until: u32| {
            let left = until.wrapping_sub(now);
            if left < 1 << 31 { left } else { 0 }
        };
        let starved = (!self.starved.is_empty()).then_some(10);
        let patience = [self.wheel.next(now), self.pause.map(left), starved, self.refusing.patience()];
        let patience = patience.into_iter().flatten().min();
        self.wait_for(want, patience.map(|millis| Duration::from_millis(u64::from(millis))))
    }

    fn wait_for(&mut self, want: u32, patience: Option<Duration>) -> io::Result<()> {
        self.ring.wait(want, patience)?;
        self.quiet_submitted();
        Ok(())
    }

    fn take_completions(&mut self, scene: &Scene<'_>, completions: &mut Completions) {
        loop {
            self.ring.reap(completions);
            let last = !completions.is_full();
            for completion in completions.drain(..) {
                self.completed(scene, completion);
            }
            if last {
                break;
            }
        }
        self.conclude_quiet(scene);
    }

    /// A newer policy: everything that an older one has allowed is to be decided again.
    fn notice(&mut self, epoch: Epoch) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.scan = Some(0);
        }
    }

    /// One operation is over.
    fn completed(&mut self, scene: &Scene<'_>, completion: Completion) {
        let Token { op, index } = completion.token;
        match op {
            Op::Ignored => return,
            Op::Wake => {
                self.control.clear_wake();
                self.ring.watch(WAKE_FILE, WAKE);
                return;
            }
            Op::Accept => return self.accepted(scene, index, completion),
            _ => {}
        }
        let conn = &mut self.conns[index as usize];
        conn.ends(op);
        match (conn.stage, op) {
            (Stage::Closing | Stage::Free, _) => {
                if let Some(buffer) = completion.buffer {
                    self.ring.release(buffer);
                }
                self.settle(index);
            }
            (_, Op::Header) => self.header_received(scene, index, completion),
            (_, Op::Connect) => self.connected(scene, index, completion.result),
            (_, Op::FromClient) => self.received(scene, index, Side::Request, completion),
            (_, Op::FromServer) => self.received(scene, index, Side::Response, completion),
            (_, Op::ToServer) => self.sent(scene, index, Side::Request, completion.result),
            (_, Op::ToClient) => self.sent(scene, index, Side::Response, completion.result),
            (_, Op::ClientReadable) => self.readable(scene, index, Side::Request, completion.result),
            (_, Op::ServerReadable) => self.readable(scene, index, Side::Response, completion.result),
            (_, Op::ServerWritable) => self.writable(scene, index, Side::Request, completion.result),
            (_, Op::ClientWritable) => self.writable(scene, index, Side::Response, completion.result),
            (_, Op::Ignored | Op::Wake | Op::Accept) => {}
        }
    }

    /// Starts an operation of a connection: its token. Each kind is under way at most once.
    fn begin(&mut self, index: u32, op: Op) -> Token {
        let conn = &mut self.conns[index as usize];
        debug_assert!(!conn.is_busy(op), "{op:?} twice: {conn:?}");
        conn.begins(op);
        Token { op, index }
    }

    /// Counts a connection that is not relayed.
    fn count_refusal(&self, refusal: Refusal) {
        self.proxy.refused(refusal).add(1);
        self.proxy.pending.set(self.proxy.pending.get().saturating_sub(1));
    }
}
