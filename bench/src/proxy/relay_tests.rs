use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::thread;

use super::{Way, run};

fn free() -> SocketAddrV4 {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// What a server read to the end, and what the client read to the end after it had ended its own direction.
fn through(way: Way, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let std::net::SocketAddr::V4(at) = server.local_addr().unwrap() else { panic!("not IPv4") };
    let listen = free();
    thread::spawn(move || run(way, listen, &[at]).unwrap());
    let answer = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        all
    });
    let mut client = loop {
        match TcpStream::connect(listen) {
            Ok(client) => break client,
            Err(_) => thread::yield_now(),
        }
    };
    let sent: Vec<u8> = (0..251).cycle().take(bytes).collect();
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    let seen = answer.join().unwrap();
    assert_eq!(seen, sent, "{way:?}");
    (seen, back)
}

#[test]
fn a_relay_loses_nothing_and_keeps_half_of_a_connection_open() {
    for way in [Way::Splice, Way::Copy] {
        for bytes in [0, 1, 70_000, 20_000_000] {
            let (seen, back) = through(way, bytes);
            assert_eq!(seen.len(), bytes, "{way:?}");
            assert_eq!(seen, back, "{way:?}");
        }
    }
}
