//! The ways to a collector, with real sockets.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::*;
use crate::observe::export::tests::{settings, words};
use crate::observe::export::{self, ExporterView, Exporters};

const PATIENCE: Duration = Duration::from_secs(20);

fn exporters(protocol: Protocol, collector: SocketAddr) -> Exporters {
    let ipfix = Config {
        collector,
        protocol,
        domain: 9,
        enterprise: ENTERPRISE,
        message_bytes: 1400,
        templates: Duration::from_secs(3600),
        settings: settings(65_536),
    };
    let config = export::Config { ipfix: Some(ipfix), jsonl: None };
    let mut exporters = Exporters::start(&config, &["segment-a".into()]).unwrap();
    exporters.published(dataplane::verdict::Epoch(1), HASH, scene());
    exporters
}

fn tell(exporters: &Exporters, count: u64) {
    for _ in 0..count {
        let ends = ["10.0.0.1", "10.0.0.2"];
        exporters.tell(&event(Occasion::Ended(Ending::Reset), 6, ends, [1, 443]), words());
    }
}

/// Waits until nothing waits.
fn settled(exporters: &Exporters) -> ExporterView {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = exporters.view().remove(0);
        assert_eq!(view.offered, view.sent + view.lost + view.waiting, "{view:?}");
        if view.waiting == 0 {
            return view;
        }
        assert!(Instant::now() < deadline, "{view:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_collector_over_udp_gets_everything_in_order() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let exporters = exporters(Protocol::Udp, socket.local_addr().unwrap());
        let reader = std::thread::spawn(move || {
            let (mut decoder, mut flows, mut next) = (Decoder::new(), 0, 0);
            let mut bytes = [0; 2000];
            loop {
                let length = socket.recv(&mut bytes).unwrap();
                let (number, [data, options]) = decoder.read(&bytes[..length]);
                assert_eq!(number, next);
                next += (data.len() + options.len()) as u64;
                flows += data.len();
                // The last statistics have all of it.
                if options
                    .last()
                    .is_some_and(|last| last.get("ExportedFlowRecordTotalCount").is_some_and(|n| n == "100"))
                {
                    return flows;
                }
            }
        });
        tell(&exporters, 100);
        let view = settled(&exporters);
        assert_eq!((view.sent, view.lost, &view.error), (100, 0, &None), "{view:?}");
        drop(exporters);
        assert_eq!(reader.join().unwrap(), 100, "{any}");
    }
}

#[test]
fn a_collector_that_is_not_there_is_told_and_gets_templates_when_it_comes() {
    let place = UdpSocket::bind("127.0.0.1:0").unwrap();
    let collector = place.local_addr().unwrap();
    drop(place);
    let exporters = exporters(Protocol::Udp, collector);
    let deadline = Instant::now() + PATIENCE;
    while exporters.view()[0].error.is_none() {
        assert!(Instant::now() < deadline, "nobody notices");
        tell(&exporters, 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    let socket = UdpSocket::bind(collector).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut decoder, mut bytes) = (Decoder::new(), [0; 2000]);
    loop {
        tell(&exporters, 1);
        let length = socket.recv(&mut bytes).unwrap();
        // What came without templates cannot be read; soon they come.
        if decoder.read(&bytes[..length]).1[0].iter().any(|flow| flow["ringfenceRule"] == "shop-to-db") {
            break;
        }
    }
    let view = settled(&exporters);
    assert_eq!((view.failed, view.error), (0, None));
}

/// Reads whole messages from a connection until `flows` flow records came; how they are numbered.
fn receive(stream: &mut TcpStream, flows: usize) -> Vec<u64> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut decoder, mut found, mut numbers) = (Decoder::new(), 0, Vec::new());
    while found < flows {
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let mut message = head.to_vec();
        message.resize(usize::from(u16::from_be_bytes([head[2], head[3]])), 0);
        stream.read_exact(&mut message[4..]).unwrap();
        let (number, [data, _]) = decoder.read(&message);
        numbers.push(number);
        found += data.len();
    }
    numbers
}

#[test]
fn a_tcp_connection_that_breaks_is_made_anew_and_begins_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporters = exporters(Protocol::Tcp, listener.local_addr().unwrap());
    let mut stream = listener.accept().unwrap().0;
    tell(&exporters, 50);
    let numbers = receive(&mut stream, 50);
    assert_eq!(numbers[0], 0);
    assert!(numbers.is_sorted());
    drop(stream);
    listener.set_nonblocking(true).unwrap();
    // Some are lost on the way until the break is noticed; how many of those that it could not send, it knows.
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        tell(&exporters, 1);
        assert!(Instant::now() < deadline, "no second connection");
        std::thread::sleep(Duration::from_millis(20));
        if let Ok((stream, _)) = listener.accept() {
            break stream;
        }
    };
    stream.set_nonblocking(false).unwrap();
    tell(&exporters, 10);
    assert_eq!(receive(&mut stream, 1)[0], 0, "templates and numbers begin anew");
    let view = settled(&exporters);
    assert!(view.failed > 0 && view.sent > 50, "{view:?}");
    assert_eq!(view.error, None);
}

#[test]
fn a_tcp_collector_that_does_not_read_costs_events_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporters = exporters(Protocol::Tcp, listener.local_addr().unwrap());
    let _stream = listener.accept().unwrap().0;
    let deadline = Instant::now() + PATIENCE;
    while exporters.view()[0].lost == 0 {
        let start = Instant::now();
        tell(&exporters, 100);
        assert!(start.elapsed() < Duration::from_secs(5), "telling waits for the collector");
        assert!(Instant::now() < deadline, "nothing is lost");
    }
    let view = exporters.view().remove(0);
    assert!(view.offered >= view.sent + view.lost, "{view:?}");
}
