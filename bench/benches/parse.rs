//! Bytes to headers: what one call of `headers::parse` costs for each kind of frame.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use dataplane::headers::parse;
use testkit::Packet;

/// Distinct frames of a kind, so that the branch predictor learns the kind and not the bytes.
const FRAMES: u16 = 64;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(FRAMES.into()));
    for (name, build) in KINDS {
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(|n| build(n).build()).collect();
        assert!(frames.iter().all(|frame| parse(frame).is_ok()), "{name} is refused");
        group.bench_function(*name, |b| {
            b.iter(|| {
                for frame in &frames {
                    black_box(parse(black_box(frame))).ok();
                }
            });
        });
    }
    group.finish();
}

/// Name, and frame number `n` of the kind.
type Kind = (&'static str, fn(u16) -> Packet);

const KINDS: &[Kind] = &[
    ("udp over IPv4", |n| Packet::udp(near(n), "10.1.0.1:443").payload([0; 18])),
    ("tcp ack over IPv4", |n| Packet::tcp(near(n), "10.1.0.1:443").seq(n.into()).ack(1).padded()),
    ("tcp syn with options", |n| {
        Packet::tcp(near(n), "10.1.0.1:443").syn().mss(1460).window_scale(7).seq(n.into())
    }),
    ("tcp ack over IPv6", |n| Packet::tcp(near6(n), "[fd00::1]:443").seq(n.into()).ack(1)),
    ("udp over IPv4 with two tags", |n| {
        Packet::udp(near(n), "10.1.0.1:443").qinq(100, n % 4000 + 1).payload([0; 18])
    }),
    ("tcp over IPv6 with extension headers", |n| {
        Packet::tcp(near6(n), "[fd00::1]:443").hop_by_hop(&[5, 2, 0, 0]).ack(1)
    }),
    ("icmp error with quote", |n| {
        let quoted = Packet::udp(near(n), "10.1.0.1:443").payload([0; 18]).build();
        Packet::icmp_error("10.1.0.254", "10.0.0.1", 3, 4, &quoted)
    }),
    ("arp request", |_| Packet::arp_request("10.0.0.1", "10.0.0.2")),
];

fn near(n: u16) -> testkit::End {
    (std::net::Ipv4Addr::new(10, 0, 1, 1 + u8::try_from(n % 200).unwrap_or(0)), 1024 + n).into()
}

fn near6(n: u16) -> testkit::End {
    (std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, n), 1024 + n).into()
}
