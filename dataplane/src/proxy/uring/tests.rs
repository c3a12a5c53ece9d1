use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use super::*;

const PLAN: RingPlan = RingPlan { connections: 8, buffers: 16, seats: 1 };

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// A ring with one file, which it keeps open by itself.
fn ring() -> Ring {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Ring::new(&PLAN, &[listener.as_raw_fd()]).unwrap()
}

fn token(op: Op) -> Token {
    Token { op, index: 5 }
}

/// What completes within `patience`, at least one.
fn completed(ring: &mut Ring, patience: u64) -> Completions {
    let mut completions = Completions::new();
    ring.wait(1, Some(Duration::from_millis(patience))).unwrap();
    ring.reap(&mut completions);
    completions
}

#[test]
fn a_read_takes_a_buffer_when_there_are_bytes() {
    let mut ring = ring();
    let (mut near, far) = pair();
    ring.receive(far.as_fd(), false, token(Op::FromClient));
    assert!(completed(&mut ring, 20).is_empty());
    assert_eq!(ring.buffers_used(), 0);
    near.write_all(b"hello").unwrap();
    let mut completions = completed(&mut ring, 5000);
    let completion = completions.pop().unwrap();
    assert_eq!((completion.token, completion.result), (token(Op::FromClient), 5));
    let mut read = [0; 5];
    let buffer = completion.buffer.unwrap();
    ring.read(&buffer, &mut read);
    assert_eq!((&read, ring.buffers_used()), (b"hello", 1));
    // The same bytes go back out of the same buffer, from the second on.
    ring.send(far.as_fd(), (&buffer, 1, 5), Send { more: false, quiet: false }, token(Op::ToClient));
    assert_eq!(completed(&mut ring, 5000)[0].result, 4);
    near.read_exact(&mut read[..4]).unwrap();
    assert_eq!(&read[..4], b"ello");
    ring.release(buffer);
    assert_eq!(ring.buffers_used(), 0);
}

/// A quiet send that takes all says nothing; one that takes less says how much; one that takes nothing says so.
#[test]
fn a_quiet_send_speaks_only_of_failure() {
    let mut ring = ring();
    let (near, mut far) = pair();
    let buffer = ring.take().unwrap();
    let mut sent = 0_u64;
    let last = loop {
        ring.send(near.as_fd(), (&buffer, 0, 16_384), Send { more: false, quiet: true }, token(Op::ToServer));
        let mut completions = Completions::new();
        ring.wait(0, None).unwrap();
        ring.reap(&mut completions);
        match completions.pop() {
            None => sent += 16_384,
            Some(completion) if completion.result > 0 => sent += u64::from(completion.result.cast_unsigned()),
            Some(completion) => break completion.result,
        }
        assert!(sent < 1 << 30);
    };
    assert_eq!(last, -libc::EAGAIN);
    assert!(sent > 0);
    drop(near);
    let mut read = Vec::new();
    far.read_to_end(&mut read).unwrap();
    assert_eq!(read.len() as u64, sent);
    ring.release(buffer);
}

#[test]
fn a_cancelled_operation_completes() {
    let mut ring = ring();
    let (_near, far) = pair();
    ring.receive(far.as_fd(), false, token(Op::FromServer));
    ring.poll_read(far.as_fd(), token(Op::ServerReadable));
    ring.cancel(token(Op::FromServer));
    ring.cancel(token(Op::ServerReadable));
    let results: Vec<_> = completed(&mut ring, 5000).iter().map(|completion| completion.result).collect();
    assert_eq!(results, [-libc::ECANCELED; 2]);
}

/// A ring that is dropped in the middle does not wait for what will never come.
#[test]
fn a_ring_ends_with_operations_under_way() {
    let begun = Instant::now();
    let mut ring = ring();
    let (_near, far) = pair();
    ring.receive(far.as_fd(), false, token(Op::FromServer));
    ring.poll_write(far.as_fd(), token(Op::ServerWritable));
    ring.wait(1, None).unwrap();
    ring.receive(far.as_fd(), true, token(Op::FromClient));
    drop(ring);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// With all buffers in use a read says so, and works when one is back.
#[test]
fn a_read_without_a_buffer_says_so() {
    let mut ring = ring();
    let pairs: Vec<_> = (0..16).map(|_| pair()).collect();
    let mut held = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while held.len() < 16 && Instant::now() < end {
        let (mut near, far) = (&pairs[held.len()].0, &pairs[held.len()].1);
        near.write_all(b"x").unwrap();
        ring.lend();
        ring.receive(far.as_fd(), true, token(Op::FromClient));
        held.extend(completed(&mut ring, 5000).drain(..).filter_map(|completion| completion.buffer));
    }
    assert_eq!((held.len(), ring.lend(), ring.take().is_none()), (16, false, true));
    let (mut near, far) = (&pairs[0].0, &pairs[0].1);
    near.write_all(b"y").unwrap();
    ring.receive(far.as_fd(), true, token(Op::FromClient));
    let completion = completed(&mut ring, 5000).pop().unwrap();
    assert_eq!((completion.result, completion.buffer), (-libc::ENOBUFS, None));
    ring.release(held.pop().unwrap());
    assert!(ring.lend());
    ring.receive(far.as_fd(), true, token(Op::FromClient));
    assert_eq!(completed(&mut ring, 5000)[0].result, 1);
}

#[test]
fn addresses_survive_the_kernels_form() {
    let mut seats = seats::Seats::new(2).unwrap();
    for address in ["127.0.0.1:80", "255.255.255.255:65535", "[::1]:1", "[fe80::1%3]:443"] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        seats.write(1, address);
        assert_eq!(seats.read(1), Some(address));
    }
    seats.vacate(0);
    assert_eq!(seats.read(0), None, "nobody wrote there");
}
