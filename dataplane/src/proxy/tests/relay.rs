use std::net::Shutdown;
use std::thread;

use proptest::prelude::*;
use rustix::net::sockopt::set_socket_linger;

use super::*;

const RESET: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);

#[test]
fn bytes_go_both_ways_and_the_ends_are_passed_on() {
    let server = server();
    let rig = Rig::new(&server);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"a question");
    passes(&mut served, &mut client, b"an answer");
    // Half-closed: the server learns of the end, and may still speak.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end_of(&mut served), Ok(0));
    passes(&mut served, &mut client, &[7; 100_000]);
    drop(served);
    assert_eq!(end_of(&mut client), Ok(0));
    eventually("it is over", || rig.ended(Fate::Finished) == 1);
    // The other way round.
    let (mut client, mut served) = rig.pair(&server);
    served.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end_of(&mut client), Ok(0));
    passes(&mut client, &mut served, &[8; 100_000]);
    drop(client);
    assert_eq!(end_of(&mut served), Ok(0));
    eventually("it is over", || rig.ended(Fate::Finished) == 2);
    let counts = &rig.stop().counts;
    assert_eq!([counts.from_clients.get(), counts.from_servers.get()], [100_010, 100_009]);
}

#[test]
fn a_reset_is_passed_on() {
    let server = server();
    let rig = Rig::new(&server);
    let reset = |stream: TcpStream| {
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        drop(stream);
    };
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"x");
    reset(client);
    assert_eq!(end_of(&mut served), RESET);
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, b"x");
    reset(served);
    assert_eq!(end_of(&mut client), RESET);
    // Also one that half-closed.
    let (mut client, mut served) = rig.pair(&server);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end_of(&mut served), Ok(0));
    reset(served);
    assert_eq!(end_of(&mut client), RESET);
    eventually("all are over", || rig.counts.live.get() == 0);
    assert_eq!([rig.ended(Fate::ClientReset), rig.ended(Fate::ServerReset)], [1, 2]);
    rig.stop();
}

#[test]
fn another_back_end_is_tried_and_none_is_told() {
    let (server, gone) = (server(), server());
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let rig = Rig::with(config("127.0.0.1:0", &[nobody, server.local_addr().unwrap()]));
    for _ in 0..3 {
        let (mut client, mut served) = rig.pair(&server);
        passes(&mut client, &mut served, b"x");
    }
    assert!(rig.counts.backend(0).unwrap().failed.get() >= 1, "{:?}", rig.counts);
    assert_eq!(rig.counts.backend(1).unwrap().connected.get(), 3);
    // Told that it is sick, it is not tried any more.
    let failed = rig.counts.backend(0).unwrap().failed.get();
    rig.proxy.as_ref().unwrap().health().set(0, false);
    for _ in 0..3 {
        rig.pair(&server);
    }
    assert_eq!(rig.counts.backend(0).unwrap().failed.get(), failed);
    drop(server);
    assert_eq!(answer(FRIEND, rig.address), RESET, "all refuse");
    rig.proxy.as_ref().unwrap().health().set(1, false);
    assert_eq!(answer(FRIEND, rig.address), RESET, "none is healthy");
    assert_eq!([rig.refused(Refusal::ConnectFailed), rig.refused(Refusal::NoBackend)], [1, 1]);
    rig.stop();
}

/// The server sees the client's own address where that is asked for.
#[test]
fn the_source_can_be_kept() {
    let server = server();
    for (keep, expected) in [(false, "127.0.0.1"), (true, FRIEND)] {
        let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
        config.keep_source = keep;
        let rig = Rig::with(config);
        let (mut client, mut served) = rig.pair(&server);
        assert_eq!(served.peer_addr().unwrap().ip().to_string(), expected);
        passes(&mut client, &mut served, b"x");
        rig.stop();
    }
}

/// Much data to a slow reader: the sender is held up, nothing is lost, and little waits here.
#[test]
fn a_slow_reader_holds_its_sender_up() {
    let server = server();
    let rig = Rig::new(&server);
    let (mut client, mut served) = rig.pair(&server);
    served.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let block = vec![5; 1 << 16];
    let begun = Instant::now();
    let mut still = Instant::now();
    // Until nothing more was taken for a while.
    while still.elapsed() < Duration::from_millis(300) && begun.elapsed() < LONG {
        match served.write(&block) {
            Ok(taken) => (sent, still) = (sent + taken, Instant::now()),
            Err(_) => sleep(Duration::from_millis(5)),
        }
    }
    assert!(begun.elapsed() < LONG, "the proxy took {sent} bytes and went on");
    assert!(rig.counts.buffers_used.get() <= 2);
    served.set_nonblocking(false).unwrap();
    drop(served);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), sent);
    rig.stop();
}

/// A direction that moves much goes through pipes, and the bytes are the same.
#[test]
fn bulk_goes_through_pipes() {
    for pipes in [16, 0] {
        let server = server();
        let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
        config.limits.pipes = pipes;
        let rig = Rig::with(config);
        let (mut client, mut served) = rig.pair(&server);
        let data: Vec<u8> =
            (0..40_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sent = data.clone();
        let sender = thread::spawn(move || {
            served.write_all(&sent).unwrap();
            served
        });
        let mut read = vec![0; data.len()];
        client.read_exact(&mut read).unwrap();
        assert!(read == data, "the bytes differ");
        let mut served = sender.join().unwrap();
        // Small messages after it, in both directions, and the end.
        for _ in 0..20 {
            passes(&mut client, &mut served, b"ping");
            passes(&mut served, &mut client, b"pong");
        }
        drop(client);
        assert_eq!(end_of(&mut served), Ok(0));
        drop(served);
        eventually("it is over", || rig.ended(Fate::Finished) == 1);
        let counts = &rig.stop().counts;
        assert_eq!(counts.spliced.get() > 20_000_000, pipes > 0, "{counts:?}");
    }
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![1..64_usize, 1..5_000_usize, 1..200_000_usize];
    proptest::collection::vec(size, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Both directions at once in pieces of any size: what is read is what was written.
    #[test]
    fn any_bytes_arrive_as_they_were_sent(request in chunks(), response in chunks(), seed in any::<u8>()) {
        let server = server();
        let rig = Rig::new(&server);
        let (client, served) = rig.pair(&server);
        let ends = [(client, request, seed), (served, response, seed ^ 0x55)];
        let mut threads = Vec::new();
        for (stream, sizes, seed) in ends {
            let total: u32 = sizes.iter().map(|size| u32::try_from(*size).unwrap()).sum();
            let bytes: Vec<u8> =
                (0..total).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect();
            let mut writer = stream.try_clone().unwrap();
            let expected = bytes.clone();
            threads.push(thread::spawn(move || {
                let mut rest = bytes.as_slice();
                for size in sizes {
                    let (piece, after) = rest.split_at(size);
                    writer.write_all(piece).unwrap();
                    rest = after;
                }
                writer.shutdown(Shutdown::Write).unwrap();
                expected
            }));
            threads.push(thread::spawn(move || {
                let (mut stream, mut read) = (stream, Vec::new());
                stream.read_to_end(&mut read).unwrap();
                read
            }));
        }
        let done: Vec<Vec<u8>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        prop_assert!(done[0] == done[3], "from the client");
        prop_assert!(done[2] == done[1], "from the server");
        eventually("it is over", || rig.ended(Fate::Finished) == 1);
        rig.stop();
    }
}
