//! Wires on real veth devices: both directions, every copy mode, one queue and several, and what the kernel does
//! when nobody is there.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod rig;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dataplane::verdict::{Side, WireId};
use dataplane::worker::{
    AttachMode, BusyPoll, Fail, PortMode, PortProblem, PortState, SocketCounts, Wire, WireConfig,
    WireProblem, WireStatus,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use rig::{DIE, Forward, NUMBERED, Rig, Seen};

fn config(name: &str, mode: AttachMode) -> WireConfig {
    let mut config = WireConfig::new(WireId(0), name, "in0", "out0");
    config.inside.mode = mode;
    config.outside.mode = mode;
    config
}

/// Stops the wire and checks that every frame and every chunk is accounted for.
fn stop(wire: Wire<Forward>) -> Vec<Forward> {
    let frames = wire.config().frames_per_queue;
    let stopped = wire.stop().unwrap();
    for worker in &stopped {
        assert_eq!(worker.census.total(), frames, "{:?}", worker.census);
        assert_eq!((worker.census.worker, worker.census.transmit), (0, 0), "{:?}", worker.census);
        assert_eq!(worker.rejected, 0);
        assert_eq!(worker.stage.counters.unaccounted(), 0);
        assert_eq!(worker.stage.counters.dropped_in_all(), 0);
    }
    stopped.into_iter().map(|worker| worker.stage).collect()
}

/// The status, once it says what is `expected`; else as it is after many tries.
fn status_when(wire: &Wire<Forward>, expected: impl Fn(&WireStatus) -> bool) -> WireStatus {
    for _ in 0..500 {
        let status = wire.status().unwrap();
        if expected(&status) {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    wire.status().unwrap()
}

/// 32 flows, bursts of 4 datagrams each way. A veth's ring takes 256 frames, so that more could be lost in it.
fn talk(rig: &Rig) {
    const FLOWS: u8 = 32;
    const BURST: u8 = 4;
    assert!(rig.answers(), "and the hosts know each other's addresses");
    let flows: Vec<_> = (0..FLOWS).map(|_| rig.socket(Duration::from_secs(20))).collect();
    for round in 0..20 {
        for (flow, socket) in (0..).zip(&flows) {
            for number in 0..BURST {
                socket.send(&[NUMBERED, flow, round, number]).unwrap();
            }
        }
        for (flow, socket) in (0..).zip(&flows) {
            for number in 0..BURST {
                let mut bytes = [0; 16];
                let len = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("{flow} {round} {number}: {e}"));
                assert_eq!(bytes[..len], [NUMBERED, flow, round, number]);
            }
        }
    }
}

#[test]
fn frames_pass_both_ways_in_every_mode() {
    if lab::skip_unprivileged() {
        return;
    }
    let cases = [
        ("auto", AttachMode::Auto, PortMode::NativeCopy, 1),
        ("busy", AttachMode::Auto, PortMode::NativeCopy, 1),
        ("native", AttachMode::NativeCopy, PortMode::NativeCopy, 4),
        ("generic", AttachMode::Generic, PortMode::Generic, 1),
        ("generic4", AttachMode::Generic, PortMode::Generic, 4),
    ];
    for (name, mode, expected, queues) in cases {
        let rig = Rig::new(name, queues).unwrap();
        let _echo = rig.echo();
        let seen = Arc::new(Seen::default());
        let mut config = config(name, mode);
        config.busy_poll = (name == "busy").then_some(BusyPoll { micros: 20, budget: 64 });
        let wire = rig.open(&config, &seen).unwrap();
        let before = wire.status().unwrap();
        talk(&rig);

        let status = wire.status().unwrap();
        for (port, before) in [(&status.inside, &before.inside), (&status.outside, &before.outside)] {
            assert_eq!(port.mode, expected, "{name}");
            assert_eq!(
                (port.queues, port.mtu, port.state),
                (u32::from(queues), 1500, PortState::Up),
                "{name}"
            );
            assert_eq!(port.sockets.invalid_descriptors, 0, "{name}");
            assert_eq!((port.sockets.device_drops, port.sockets.receive_ring_full), (0, 0), "{name}");
            assert_eq!(port.fallback, before.fallback, "{name}");
        }
        let stages = stop(wire);
        assert_eq!(stages.len(), usize::from(queues), "{name}");
        for side in [Side::Inside, Side::Outside] {
            let received: Vec<u64> =
                stages.iter().map(|stage| stage.counters.side(side).received.get()).collect();
            assert!(received.iter().sum::<u64>() >= 32 * 80, "{name} {side:?}: {received:?}");
            let used = received.iter().filter(|&&frames| frames > 0).count();
            assert!(used >= usize::from(queues.min(2)), "{name} {side:?}: {received:?}");
        }
        let queue_of = |flows: &[AtomicU32; 32]| flows.each_ref().map(|queue| queue.load(Ordering::Relaxed));
        let (requests, replies) = (queue_of(&seen.requests), queue_of(&seen.replies));
        let split = requests.iter().zip(&replies).filter(|(request, reply)| request != reply).count();
        assert_eq!(split > 0, queues > 1, "{name}: flows whose directions use different queues: {split}");
    }
}

#[test]
fn without_a_worker_a_closed_wire_drops_and_an_open_one_forwards() {
    if lab::skip_unprivileged() {
        return;
    }
    // In generic mode, because a veth takes natively redirected frames only if its peer runs NAPI.
    for (name, fail, mode) in [
        ("closed", Fail::Closed, AttachMode::NativeCopy),
        ("closedg", Fail::Closed, AttachMode::Generic),
        ("open", Fail::Open, AttachMode::Generic),
    ] {
        let rig = Rig::new(name, 1).unwrap();
        let _echo = rig.echo();
        let mut config = config(name, mode);
        config.fail = fail;
        let wire = rig.open(&config, &Arc::default()).unwrap();
        assert!(rig.answers(), "{name}");
        rig.socket(Duration::from_millis(10)).send(DIE).unwrap();
        let status = status_when(&wire, |status| !status.workers[0].alive);
        assert!(!status.workers[0].alive, "{name}");
        assert_eq!(status.inside.mode == PortMode::Generic, mode == AttachMode::Generic, "{name}");
        assert_ne!(status.inside.mode, PortMode::ZeroCopy, "{name}");

        match fail {
            Fail::Closed => assert!(rig.is_silent(), "{name}"),
            Fail::Open => assert!(rig.answers(), "{name}"),
        }
        let status = wire.status().unwrap();
        let inside = status.inside.fallback;
        match fail {
            Fail::Closed => assert!(inside.dropped > 0 && inside.forwarded == 0, "{name}: {inside:?}"),
            Fail::Open => {
                assert!(inside.forwarded > 0 && inside.dropped == 0, "{name}: {inside:?}");
                assert!(status.outside.fallback.forwarded > 0, "{name}: {:?}", status.outside);
            }
        }
        assert_eq!(wire.stop().unwrap().len(), 0, "{name}: the worker panicked");
    }
}

/// A BPF file system of its own, unmounted when dropped.
struct Pins(PathBuf);

impl Pins {
    fn mount() -> Self {
        let folder = std::env::temp_dir().join(format!("rf-frame-{}-pins", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(Command::new("mount").args(["-t", "bpf", "none"]).arg(&folder).status().unwrap().success());
        Self(folder)
    }

    /// One in it that the first wire has to make.
    fn folder(&self) -> PathBuf {
        self.0.join("wires")
    }

    /// How many there are of a wire; the kernel may put files of its own there.
    fn count(&self, wire: &str) -> usize {
        let names = std::fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(wire)).count()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_pinned_program_outlives_the_wire_and_is_taken_over() {
    if lab::skip_unprivileged() {
        return;
    }
    let pins = Pins::mount();
    for mode in [AttachMode::NativeCopy, AttachMode::Generic] {
        let rig = Rig::new("pin", 1).unwrap();
        let _echo = rig.echo();
        let mut config = config("pinned", mode);
        config.pin = Some(pins.folder());
        for round in 0..3 {
            // After the first time over the pins that were left, as after a crash.
            let wire = rig.open(&config, &Arc::default()).unwrap();
            assert!(rig.answers(), "{mode:?} {round}");
            let fallback = wire.status().unwrap().inside.fallback;
            assert!(
                round == 0 || fallback.dropped > 0,
                "{mode:?} {round}: drops in between count: {fallback:?}"
            );
            if round == 0 {
                let error = rig.open(&config, &Arc::default()).err().unwrap();
                assert!(error.to_string().contains("another process holds this queue"), "{error}");
                assert!(rig.answers(), "{mode:?}: the refused attempt did no harm");
            }
            drop(wire);
            assert_eq!(pins.count("pinned-"), 2);
            assert!(rig.is_silent(), "{mode:?} {round}: nobody judges, nothing may pass");
        }
        let elsewhere = WireConfig { pin: Some(std::env::temp_dir()), ..config.clone() };
        let error = rig.open(&elsewhere, &Arc::default()).err().unwrap();
        assert!(matches!(&error.problem, WireProblem::Port(port) if port.interface == "in0"), "{error}");

        let unpinned = WireConfig { pin: None, ..config.clone() };
        let error = rig.open(&unpinned, &Arc::default()).err().unwrap();
        let WireProblem::Port(port) = &error.problem else { panic!("{error}") };
        assert!(matches!(port.problem, PortProblem::Occupied(Some(_))), "{error}");

        config.inside.mode = AttachMode::Auto;
        config.outside.mode = AttachMode::Generic;
        let wire = rig.open(&config, &Arc::default()).unwrap();
        assert!(rig.answers(), "{mode:?}, taken over as it is inside, in another mode outside");
        let status = wire.status().unwrap();
        assert_eq!(status.outside.mode, PortMode::Generic);
        assert_eq!(status.inside.mode == PortMode::Generic, mode == AttachMode::Generic);
        stop(wire);
        assert_eq!(pins.count("pinned-"), 0, "an orderly stop leaves no pin");
    }
}

#[test]
fn a_port_that_goes_down_or_away_is_told_and_comes_back() {
    if lab::skip_unprivileged() {
        return;
    }
    let rig = Rig::new("down", 1).unwrap();
    let _echo = rig.echo();
    let wire = rig.open(&config("down", AttachMode::Auto), &Arc::default()).unwrap();
    assert!(rig.answers());
    rig.middle.ip("link set out0 down").unwrap();
    assert!(rig.is_silent());
    let status = status_when(&wire, |status| status.outside.state == PortState::Down);
    assert_eq!(status.outside.state, PortState::Down);
    rig.middle.ip("link set out0 up").unwrap();
    let status = status_when(&wire, |status| rig.answers() && status.outside.state == PortState::Up);
    assert_eq!(status.outside.state, PortState::Up);
    rig.server.ip("link delete eth0").unwrap();
    let status = status_when(&wire, |status| status.outside.state == PortState::Gone);
    assert_eq!((status.inside.state, status.outside.state), (PortState::Up, PortState::Gone));
    let stopped = wire.stop().unwrap();
    assert_eq!(stopped[0].census.total(), 4096);
}

#[test]
fn what_is_wrong_with_a_port_is_said_with_a_remedy() {
    if lab::skip_unprivileged() {
        return;
    }
    let rig = Rig::new("bad", 4).unwrap();
    let cable = |one, other| format!("link add {one} type veth peer name {other}");
    rig.middle.ip(&cable("down0 mtu 1400", "down1")).unwrap();
    rig.middle.ip(&cable("one0 numrxqueues 1 numtxqueues 1", "one1")).unwrap();
    rig.middle.ip("link set one0 up").unwrap();
    rig.middle.ip(&cable("large0 mtu 3000", "large1")).unwrap();
    rig.middle.ip("link set large0 up").unwrap();
    rig.middle.ip(&cable("small0 mtu 1280 numrxqueues 4 numtxqueues 4", "small1")).unwrap();
    rig.middle.ip("link set small0 up").unwrap();
    let first = rig.open(&config("first", AttachMode::Auto), &Arc::default()).unwrap();

    // name, inside, outside, mode, words of the message
    let cases = [
        ("missing", "in0", "nope0", AttachMode::Auto, "port nope0: there is no such device"),
        ("down", "in0", "down0", AttachMode::Auto, "`ip link set down0 up`"),
        ("queues", "in0", "one0", AttachMode::Auto, "port in0: it receives on 4"),
        ("mtu", "in0", "large0", AttachMode::Auto, "`ip link set large0 mtu 1770`"),
        ("unequal", "in0", "small0", AttachMode::Auto, "`ip link set in0 mtu 1280`"),
        ("same", "in0", "in0", AttachMode::Auto, "both its inside and its outside"),
        ("occupied", "in0", "out0", AttachMode::Auto, "another XDP program is on the device (id "),
        ("native", "lo", "lo", AttachMode::NativeCopy, "both its inside"),
    ];
    for (name, inside, outside, mode, words) in cases {
        let mut config = config(name, mode);
        config.inside.interface = inside.to_owned();
        config.outside.interface = outside.to_owned();
        let error = rig.open(&config, &Arc::default()).err().unwrap_or_else(|| panic!("{name} opened"));
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(error.to_string().starts_with(&format!("wire {name}: ")), "{name}: {error}");
    }
    let counts = first.status().unwrap().inside.sockets;
    assert_eq!(counts.invalid_descriptors, SocketCounts::default().invalid_descriptors);
    stop(first);

    let mut zero_copy = config("zero-copy", AttachMode::ZeroCopy);
    zero_copy.queues = Some(4);
    let error = rig.open(&zero_copy, &Arc::default()).err().unwrap();
    assert!(error.to_string().contains("no zero copy"), "{error}");
    let mut no_pins = config("no-pins", AttachMode::Auto);
    no_pins.pin = Some(std::env::temp_dir());
    // Another test's thread may fork `ip` at this moment: until it runs, the child holds what was just closed.
    let pause = || std::thread::sleep(Duration::from_millis(20));
    let mut tries = (0..50).map(|_| rig.open(&no_pins, &Arc::default()).err().unwrap().to_string());
    let told = |error: &String| {
        !error.contains("another XDP program") || {
            pause();
            false
        }
    };
    let error = tries.find(told).unwrap();
    assert!(error.contains("needs a BPF file system"), "{error}");
    // What the failed attempts had attached is gone again.
    let again =
        |_| rig.open(&config("again", AttachMode::Auto), &Arc::default()).inspect_err(|_| pause()).ok();
    stop((0..50).find_map(again).unwrap());
}

#[test]
fn a_process_without_privileges_is_told_which_it_lacks() {
    if lab::skip_unprivileged() {
        return;
    }
    let rig = Rig::new("bare", 1).unwrap();
    let loader = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
    let cases = [
        ("none", CapabilitySet::empty(), "needs CAP_BPF and CAP_NET_ADMIN"),
        ("loader's", loader, "AF_XDP sockets need CAP_NET_RAW"),
    ];
    for (name, held, words) in cases {
        let seen = Arc::default();
        // Capabilities are a thread's own, and this thread is gone afterwards.
        let result = rig.open_with(&config("bare", AttachMode::Auto), &seen, || {
            let sets =
                CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
            set_capabilities(None, sets).unwrap();
        });
        let error = result.err().unwrap_or_else(|| panic!("{name}: opened"));
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    stop(rig.open(&config("bare", AttachMode::Auto), &Arc::default()).unwrap());
}
