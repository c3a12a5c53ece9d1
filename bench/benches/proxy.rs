//! The parts of the proxy that touch no socket: PROXY headers read and written, and what policy is asked at accept.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bench::estate::{self, v4, v6};
use control::policy::{CompileOptions, compile};
use criterion::{Criterion, Throughput};
use dataplane::address::Address;
use dataplane::proxy;
use dataplane::proxy::preamble::{Claim, Read, Version, WRITE_MAX, read, write};
use dataplane::verdict::Verdict;

/// Distinct headers or questions of a kind, so that the branch predictor learns the kind and not the bytes.
const DISTINCT: u16 = 64;

pub(crate) fn bench(c: &mut Criterion) {
    headers(c);
    verdicts(c);
}

fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("proxy header");
    group.throughput(Throughput::Elements(DISTINCT.into()));
    for (family, claim) in CLAIMS {
        for version in [Version::V1, Version::V2] {
            let claims: Vec<Claim> = (0..DISTINCT).map(claim).collect();
            let headers: Vec<Vec<u8>> = claims.iter().map(|claim| written(version, claim)).collect();
            for (claim, header) in claims.iter().zip(&headers) {
                let whole = matches!(
                    read(header),
                    Ok(Read::Done(length, preamble)) if length == header.len() && preamble.claim.as_ref() == Some(claim)
                );
                assert!(whole, "{header:?}");
            }
            group.bench_function(format!("{} {family}, read", version.name()), |b| {
                b.iter(|| {
                    for header in &headers {
                        black_box(read(black_box(header))).ok();
                    }
                });
            });
            group.bench_function(format!("{} {family}, written", version.name()), |b| {
                let mut buffer = [0; WRITE_MAX];
                b.iter(|| {
                    for claim in &claims {
                        black_box(write(version, Some(black_box(claim)), &mut buffer));
                    }
                });
            });
        }
    }
    group.finish();
}

/// Family, and claim number `n` in it.
type Claimed = (&'static str, fn(u16) -> Claim);

const CLAIMS: &[Claimed] = &[
    ("IPv4", |n| Claim {
        source: SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + u32::from(n) * 257)), 1024 + n),
        destination: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 443),
    }),
    ("IPv6", |n| Claim {
        source: SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, n, 0, 0, 1, n)), 1024 + n),
        destination: SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)), 443),
    }),
];

fn written(version: Version, claim: &Claim) -> Vec<u8> {
    let mut buffer = [0; WRITE_MAX];
    let length = write(version, Some(claim), &mut buffer).expect("there is room");
    buffer[..length].to_vec()
}

/// Family, and the address of a workload in it.
type Family = (&'static str, fn(u32) -> Address);

/// What a connection costs at accept and at each new epoch, beside its system calls.
fn verdicts(c: &mut Criterion) {
    let (workloads, rules) = if bench::quick() { (100, 10) } else { (10_000, 1_000) };
    let policy = estate::policy(workloads, rules);
    let table = compile(&policy, &CompileOptions::default()).expect("within the limits").table;
    let mut group = c.benchmark_group("proxy verdict");
    group.throughput(Throughput::Elements(DISTINCT.into()));
    let families: [Family; 2] =
        [("IPv4", |n| IpAddr::V4(v4(n)).into()), ("IPv6", |n| IpAddr::V6(v6(n)).into())];
    for (family, address) in families {
        let questions: Vec<(Address, Address, u16)> = (0..DISTINCT)
            .map(|n| {
                let rule = estate::spoken(u32::from(n) % rules, workloads);
                let [from, to] = [rule.from, rule.to].map(|role| estate::member(role, n.into()));
                // Every other one asks for a port that no rule speaks of.
                (address(from), address(to), if n % 2 == 0 { rule.port } else { 1 })
            })
            .collect();
        let allowed = |&&(from, to, port): &&(Address, Address, u16)| {
            proxy::decide(&table, from, to, port).verdict == Verdict::Allow
        };
        let allowed = questions.iter().filter(allowed).count();
        assert!((1..questions.len()).contains(&allowed), "{allowed} of {} allowed", questions.len());
        group.bench_function(family, |b| {
            b.iter(|| {
                for &(from, to, port) in &questions {
                    black_box(proxy::decide(&table, from, to, port));
                }
            });
        });
    }
    group.finish();
}
