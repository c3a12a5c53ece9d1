//! The generator and the sinks, from user space: load them, say what to send, read what arrived.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, Pod, include_bytes_aligned};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use super::{BedError, CPU_ENDS, LINKS, MACS, ROLES, index_here, pin};

/// Hosts on each side; the generator program has the same number.
pub const HOSTS: u32 = 200;
/// The service that the bed's policies allow.
pub const ALLOWED_PORT: u16 = 443;
/// A service that they do not.
pub const DENIED_PORT: u16 = 444;

/// Frames under way at most: three bursts, and fewer than the 256 slots of a veth ring.
pub const WINDOW: u32 = 192;

/// Runs of the generator program in one system call while flows are opened: some milliseconds.
const REPEAT: u32 = 1 << 15;
/// More runs than fit any trial.
const ENDLESS: u32 = u32::MAX >> 1;
/// Runs between two looks at the softirqs: the burst.
const BURST: u32 = 64;
/// Without a delivery for so long, what is under way while flows are opened is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

static OBJECT: &[u8] = include_bytes_aligned!("../../bpf/lab.bpf.o");

/// What frames to send.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// How many flows, one frame each in turn.
    pub flows: u32,
    /// Length of a frame, bytes, without checksum; at least 60.
    pub bytes: u16,
    /// TCP instead of UDP.
    pub tcp: Option<Segment>,
    /// The destination port on the far side.
    pub port: u16,
    /// Addressed to the candidate, which routes, and not to the other end.
    pub routed: bool,
    /// From the far side to the near one.
    pub reply: bool,
}

/// The TCP fields of every frame of a load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Flags byte.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
}

/// What one process of the generator does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Prefix of the bed's namespaces.
    pub prefix: String,
    /// First these, one frame a flow and each to its end: opens the flows.
    pub openings: Vec<Load>,
    /// Then this, for as long as it is measured. None: only the openings.
    pub load: Option<Load>,
    /// Frames under way at most.
    pub window: u32,
    /// How long the load runs before it is measured, milliseconds.
    pub warm_up: u64,
    /// How long it is measured, milliseconds.
    pub measured: u64,
}

/// What the programs counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Frames sent.
    pub sent: u64,
    /// Runs that sent nothing because the window was full: the generator had time to spare.
    pub held_back: u64,
    /// Frames that reached the sink on the other side.
    pub delivered: u64,
    /// Frames at either sink that were not the bed's.
    pub foreign: u64,
    /// Frames given up.
    pub lost: u64,
}

/// What one process of the generator saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Per opening.
    pub openings: Vec<Counts>,
    /// During the measured time.
    pub load: Counts,
    /// How long that really was, seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Frames delivered a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds, far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.load.delivered as f64 / self.seconds
    }
}

/// Carries out `plan` in this process, which must end afterwards: only its exit stops the generator, because a run of
/// some 20 ms more or less (the kernel waits for a grace period at the end of each system call) would show in every
/// figure.
///
/// # Errors
/// If the kernel refuses a program or to run the generator.
pub fn carry_out(plan: &Plan) -> Result<Outcome, BedError> {
    let mut traffic = Traffic::attach(&plan.prefix)?;
    pin(CPU_ENDS)?;
    let mut outcome = Outcome::default();
    for load in &plan.openings {
        outcome.openings.push(traffic.open(&plan.prefix, load, plan.window)?);
    }
    if let Some(load) = plan.load {
        traffic.set(&load, plan.window, 0)?;
        let traffic = Arc::new(traffic);
        let (sender, namespace) = (Arc::clone(&traffic), sender(&plan.prefix, &load));
        thread::spawn(move || inside(&namespace, || sender.run(&load, ENDLESS)));
        thread::sleep(Duration::from_millis(plan.warm_up));
        let (before, started) = (traffic.read(&load)?, Instant::now());
        thread::sleep(Duration::from_millis(plan.measured));
        let (after, lasted) = (traffic.read(&load)?, started.elapsed());
        (outcome.load, outcome.seconds) = (after.since(before), lasted.as_secs_f64());
    }
    Ok(outcome)
}

type Words<T> = Array<MapData, T>;

/// Generator and sinks, loaded and attached.
struct Traffic {
    programs: Ebpf,
    settings: Words<[u32; 14]>,
    counts: Words<u64>,
    next_flow: Words<u32>,
    near_link: u32,
    far_link: u32,
}

impl Traffic {
    /// Loads the programs and attaches the sinks to both ends of the bed.
    fn attach(prefix: &str) -> Result<Self, BedError> {
        let mut programs = Ebpf::load(OBJECT)?;
        let settings = words(&mut programs, "settings")?;
        let counts = words(&mut programs, "counts")?;
        let next_flow = words(&mut programs, "next_flow")?;
        let traffic: &mut Xdp = program(&mut programs, "traffic")?.try_into()?;
        traffic.load()?;
        let mut sink = |role: &str, link: &str, name: &str| -> Result<u32, BedError> {
            let sink: &mut SchedClassifier = program(&mut programs, name)?.try_into()?;
            sink.load()?;
            inside(&format!("{prefix}{role}"), || {
                sink.attach(link, TcAttachType::Ingress)?;
                Ok(index_here(link)?)
            })
        };
        let near_link = sink(ROLES[0], LINKS[0], "near_sink")?;
        let far_link = sink(ROLES[2], LINKS[3], "far_sink")?;
        Ok(Self { programs, settings, counts, next_flow, near_link, far_link })
    }

    /// Sends one frame of each flow of `load`, and waits until all have arrived or are lost.
    fn open(&mut self, prefix: &str, load: &Load, window: u32) -> Result<Counts, BedError> {
        self.set(load, window, load.flows)?;
        let (mut progress, mut at) = (0, Instant::now());
        loop {
            inside(&sender(prefix, load), || self.run(load, REPEAT))?;
            let now = self.read(load)?;
            if now.delivered + now.lost >= u64::from(load.flows) {
                return Ok(now);
            }
            if now.delivered != progress {
                (progress, at) = (now.delivered, Instant::now());
            } else if at.elapsed() >= LOST_AFTER {
                self.counts.set(LOST, now.sent - now.delivered, 0)?;
                at = Instant::now();
            }
        }
    }

    fn run(&self, load: &Load, repeat: u32) -> Result<(), BedError> {
        pin(CPU_ENDS)?;
        let frame = vec![0_u8; load.bytes.into()];
        let traffic: &Xdp = self.programs.program("traffic").ok_or("no generator")?.try_into()?;
        traffic.test_run(TestRunOptions {
            data_in: Some(&frame),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(BURST),
            ..TestRunOptions::default()
        })?;
        Ok(())
    }

    fn set(&mut self, load: &Load, window: u32, limit: u32) -> Result<(), BedError> {
        for which in 0..COUNTS {
            self.counts.set(which, 0, 0)?;
        }
        self.next_flow.set(0, 0, 0)?;
        let segment = load.tcp.unwrap_or(Segment { flags: 0, sequence: 0, acknowledgement: 0 });
        let (source, link) = if load.reply { (MACS[3], self.far_link) } else { (MACS[0], self.near_link) };
        let destination = match (load.reply, load.routed) {
            (false, false) => MACS[3],
            (false, true) => MACS[1],
            (true, false) => MACS[0],
            (true, true) => MACS[2],
        };
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&destination);
        macs[6..].copy_from_slice(&source);
        let word = |at: usize| u32::from_ne_bytes([macs[at], macs[at + 1], macs[at + 2], macs[at + 3]]);
        let settings = [
            link,
            load.flows,
            stride(load.flows),
            window,
            if load.tcp.is_some() { 6 } else { 17 },
            load.port.into(),
            segment.flags.into(),
            segment.sequence,
            segment.acknowledgement,
            load.reply.into(),
            limit,
            word(0),
            word(4),
            word(8),
        ];
        Ok(self.settings.set(0, settings, 0)?)
    }

    fn read(&self, load: &Load) -> Result<Counts, BedError> {
        let get = |which| self.counts.get(&which, 0);
        Ok(Counts {
            sent: get(SENT)?,
            held_back: get(HELD_BACK)?,
            delivered: get(if load.reply { RETURNED } else { DELIVERED })?,
            foreign: get(FOREIGN)?,
            lost: get(LOST)?,
        })
    }
}

// Indices of the map `counts`; the programs have the same.
const SENT: u32 = 0;
const HELD_BACK: u32 = 1;
const DELIVERED: u32 = 2;
const RETURNED: u32 = 3;
const FOREIGN: u32 = 4;
const LOST: u32 = 5;
const COUNTS: u32 = 6;

impl Counts {
    const fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            held_back: self.held_back - before.held_back,
            delivered: self.delivered - before.delivered,
            foreign: self.foreign - before.foreign,
            lost: self.lost - before.lost,
        }
    }
}

fn words<T: Pod>(programs: &mut Ebpf, name: &str) -> Result<Words<T>, BedError> {
    let map = programs.take_map(name).ok_or_else(|| format!("the BPF object lacks the map {name}"))?;
    Ok(Array::try_from(map)?)
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::programs::Program, BedError> {
    programs.program_mut(name).ok_or_else(|| format!("the BPF object lacks the program {name}").into())
}

fn sender(prefix: &str, load: &Load) -> String {
    format!("{prefix}{}", if load.reply { ROLES[2] } else { ROLES[0] })
}

/// Runs `body` on a thread of its own in a namespace that another process owns.
fn inside<T: Send>(
    namespace: &str,
    body: impl FnOnce() -> Result<T, BedError> + Send,
) -> Result<T, BedError> {
    let file = File::open(Path::new("/run/netns").join(namespace))?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            body()
        });
        thread.join().map_err(|_| "the generator's thread panicked")?
    })
}

/// A step through `flows` flows that visits each once and not in the order of their hosts: the first number from
/// 0.618 of `flows` that has no divisor in common with it.
fn stride(flows: u32) -> u32 {
    let common = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let first = u32::try_from(u64::from(flows) * 618 / 1000).unwrap_or(1).max(1);
    (first..=flows).find(|&step| common(step, flows) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::stride;

    #[test]
    fn a_stride_visits_every_flow_once() {
        for flows in [1, 2, 10, 1000, 10_000, 65_537] {
            let mut seen = vec![false; flows as usize];
            let mut flow = 0;
            for _ in 0..flows {
                assert!(!seen[flow as usize], "{flows} flows: {flow} twice");
                seen[flow as usize] = true;
                flow = (flow + stride(flows)) % flows;
            }
        }
    }
}
