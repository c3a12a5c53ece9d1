use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const RESET: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);

/// An idle worker reports a publish once it is woken, and stops when asked; the ring is gone then.
#[test]
fn an_idle_worker_notices_a_publish_and_does_not_turn() {
    let server = server();
    let rig = Rig::new(&server);
    rig.publish(friendly(OnRevoke::Cut));
    let (client, served) = rig.pair(&server);
    sleep(Duration::from_millis(300));
    let turns = rig.counts.turns.get();
    sleep(Duration::from_millis(500));
    let idle = rig.counts.turns.get() - turns;
    assert!(idle <= 12, "{idle} turns in half a second with one silent connection");
    drop((client, served));
    rig.stop();
}

#[test]
fn a_stop_waits_for_connections_and_then_resets_them() {
    let server = server();
    let mut rig = Rig::new(&server);
    let (mut client, mut served) = rig.pair(&server);
    let (mut stays, _held) = rig.pair(&server);
    let proxy = rig.proxy.take().unwrap();
    let stopping = thread::spawn(move || {
        let begun = Instant::now();
        proxy.stop(Duration::from_millis(700));
        begun.elapsed()
    });
    sleep(Duration::from_millis(100));
    passes(&mut client, &mut served, b"still served");
    drop((client, served));
    assert_eq!(end_of(&mut stays), RESET);
    assert!(stopping.join().unwrap() >= Duration::from_millis(690));
    assert_eq!([rig.ended(Fate::Finished), rig.ended(Fate::Stopped)], [1, 1]);
    assert_eq!(rig.counts.unaccounted(), 0);
    assert_eq!(rig.publisher.reported(), [None]);
}

/// A successor takes the listeners over under load: no client is refused, and those of the old proxy finish there.
#[test]
fn a_successor_refuses_nobody() {
    let server = server();
    let echo = server.try_clone().unwrap();
    thread::spawn(move || {
        for stream in echo.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    let config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    let mut rig = Rig::with(config.clone());
    let to = rig.address;
    let clients: Vec<_> = (0..4_u8)
        .map(|n| {
            thread::spawn(move || {
                for _ in 0..60 {
                    let mut client = from(FRIEND, to).unwrap();
                    client.write_all(&[n; 100]).unwrap();
                    let mut read = [0; 100];
                    client.read_exact(&mut read).unwrap();
                    assert_eq!(read, [n; 100]);
                }
            })
        })
        .collect();
    let mut accepted = 0;
    for _ in 0..3 {
        sleep(Duration::from_millis(20));
        let old = rig.proxy.take().unwrap();
        let handed = old.listeners().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        old.drain();
        let next = Rig::on(config.clone(), handed);
        old.stop(LONG);
        assert_eq!(rig.ended(Fate::Stopped), 0, "{:?}", rig.counts);
        accepted += rig.counts.accepted.get();
        rig = next;
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    accepted += rig.counts.accepted.get();
    assert_eq!(accepted, 240);
    rig.stop();
}

/// Ten thousand connections at once, each of which works, and a publish that cuts them all; fewer where this process may
/// not open the four files that each takes here.
#[test]
fn ten_thousand_connections() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = usize::try_from(files.saturating_sub(1000) / 4).unwrap().min(10_000);
    println!("{count} connections");
    assert!(count >= 200, "a limit of {files} files is too low for this test");
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.limits.connections_max = u32::try_from(count).unwrap() + 100;
    config.limits.buffers = 256;
    let rig = Rig::with(config);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(files), maximum: Some(files) },
    )
    .unwrap();
    let mut pairs: Vec<_> = (0..count).map(|_| rig.pair(&server)).collect();
    eventually("all are relayed", || rig.counts.live.get() == count as u64);
    assert!(rig.counts.buffers_used.get() <= 4, "idle connections hold {:?}", rig.counts.buffers_used);
    for (client, served) in pairs.iter_mut().step_by(97) {
        passes(client, served, b"still there");
        passes(served, client, b"so am I");
    }
    assert_eq!(rig.flows.views(crate::clock::Now::read()).count(), count);
    rig.publish(sample().build());
    eventually("all are cut", || rig.ended(Fate::Revoked) == count as u64);
    for (client, _) in pairs.iter_mut().step_by(101) {
        assert_eq!(end_of(client), RESET);
    }
    drop(pairs);
    rig.stop();
}

/// Two workers accept from the same listener: both get connections, and both notice a publish.
#[test]
fn two_workers_share_a_listener() {
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.workers = 2;
    // The kernel wakes accepts in the order in which they began, so workers take turns of as many as each has.
    config.limits.accepts_per_turn = 4;
    let listeners = open_listeners(&config).unwrap();
    let publisher = Publisher::new(2);
    publisher.publish(friendly(OnRevoke::Cut));
    let flows = Arc::new(FlowTable::new(1024).unwrap());
    let counts = [Arc::new(ProxyCounters::new(1)), Arc::new(ProxyCounters::new(1))];
    let parts = (0..2).map(|worker| ProxyParts {
        worker,
        reader: publisher.reader(worker),
        flows: Arc::clone(&flows),
        counters: Arc::default(),
        records: Arc::default(),
        proxy: Arc::clone(&counts[worker]),
    });
    let proxy = Proxy::start(config, listeners, parts.collect()).unwrap();
    let to = proxy.status().listen[0];
    let mut pairs: Vec<_> =
        (0..40).map(|_| (from(FRIEND, to).unwrap(), server.accept().unwrap().0)).collect();
    for (client, served) in &mut pairs {
        passes(client, served, b"x");
    }
    let live = || counts.iter().map(|counts| counts.live.get()).collect::<Vec<_>>();
    assert_eq!(live().iter().sum::<u64>(), 40);
    assert!(live().iter().all(|live| *live > 0), "one does all the work: {:?}", live());
    publisher.publish(sample().build());
    proxy.waker().wake();
    eventually("all are cut", || live() == [0, 0]);
    proxy.stop(Duration::ZERO);
}

/// While strangers knock as fast as they can, a connection that stands is served.
#[test]
fn a_flood_of_denied_clients_does_not_starve_others() {
    // Each that is accepted first costs the worker a turn's time; those that the kernel refuses come by the thousand.
    for (early, most) in [(false, 2000), (true, u64::MAX)] {
        flooded(early, most);
    }
}

/// No more than `most` are refused while one question is answered.
fn flooded(early: bool, most: u64) {
    let server = server();
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.early = early;
    let rig = Rig::with(config);
    let (mut client, mut served) = rig.pair(&server);
    let to = rig.address;
    let over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..3)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    drop(from(STRANGER, to));
                }
            })
        })
        .collect();
    let refused = || rig.refused(Refusal::Policy);
    for round in 0..50 {
        let before = refused();
        passes(&mut client, &mut served, b"question");
        passes(&mut served, &mut client, b"answer");
        eventually("the flood goes on", || refused() > before);
        assert!(refused() - before < most, "round {round}: {} others came first", refused() - before);
    }
    over.store(true, Ordering::Relaxed);
    flood.into_iter().for_each(|thread| thread.join().unwrap());
    rig.stop();
}

/// A silent connection waits in the cheapest way, and is as quick as any when it speaks.
#[test]
fn a_connection_that_dozes_wakes_up() {
    let server = server();
    let rig = Rig::new(&server);
    let (mut client, mut served) = rig.pair(&server);
    for _ in 0..2 {
        passes(&mut client, &mut served, b"x");
        sleep(Duration::from_millis(2500));
        passes(&mut served, &mut client, &[3; 100_000]);
    }
    sleep(Duration::from_millis(2500));
    drop(client);
    assert_eq!(end_of(&mut served), Ok(0));
    drop(served);
    eventually("it is over", || rig.ended(Fate::Finished) == 1);
    rig.stop();
}

/// The listeners of a process that was killed may be there for a moment; those of one that lives stay.
#[test]
fn an_address_in_use_is_waited_for_and_then_named() {
    let taken = server();
    let address = taken.local_addr().unwrap();
    let config = config(&address.to_string(), &[address]);
    let error = open_listeners(&config).err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let holder = thread::spawn(move || {
        sleep(Duration::from_millis(100));
        drop(taken);
    });
    assert_eq!(open_listeners(&config).unwrap().len(), 1);
    holder.join().unwrap();
}
