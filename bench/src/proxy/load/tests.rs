use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::Duration;

use super::{Plan, Serving, Work, carry_out, percentiles};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn plan(work: Work, serving: Serving) -> Plan {
    let server = SocketAddrV4::new(Ipv4Addr::new(127, 3, 0, 1), free_port());
    Plan {
        work,
        target: server,
        network: [127, 1],
        servers: vec![server],
        serving,
        host: None,
        warm_up: 10,
        measured: 100,
        limit: None,
    }
}

#[test]
fn each_work_is_done_without_anything_between() {
    let table = [
        (Work::Bulk { connections: 3 }, 0, 3..=3),
        (Work::Requests { connections: 5, bytes: 1 }, 10, 5..=5),
        (Work::Requests { connections: 5, bytes: 100_000 }, 5, 5..=5),
        (Work::Paced { connections: 4, bytes: 1000, rate: 1000 }, 50, 4..=4),
        (Work::Connects { slots: 7 }, 10, 10..=u64::MAX),
        (Work::Idle { connections: 300 }, 300, 300..=300),
    ];
    for serving in [Serving::Here, Serving::Beside] {
        for (work, least, accepted) in table.clone() {
            let mut idle = false;
            let outcome = carry_out(&plan(work, serving), || {
                idle = true;
                Ok(())
            })
            .unwrap();
            assert!(outcome.completed >= least, "{work:?} {serving:?}: {outcome:?}");
            assert!(accepted.contains(&outcome.accepted), "{work:?} {serving:?}: {outcome:?}");
            assert_eq!(outcome.failed, 0, "{work:?} {serving:?}");
            assert!(outcome.received > 0, "{work:?} {serving:?}");
            assert_eq!(idle, matches!(work, Work::Idle { .. }), "{work:?}");
            assert_eq!(outcome.latency.is_some(), matches!(work, Work::Paced { .. }), "{work:?}");
        }
    }
}

#[test]
fn nobody_listens() {
    let nobody = SocketAddrV4::new(Ipv4Addr::new(127, 3, 0, 2), free_port());
    let refused = Plan { target: nobody, ..plan(Work::Denied { slots: 2 }, Serving::Here) };
    let outcome = carry_out(&refused, || Ok(())).unwrap();
    assert!(outcome.completed > 0 && outcome.failed == 0 && outcome.accepted == 0, "{outcome:?}");

    let lost = Plan { target: nobody, ..plan(Work::Bulk { connections: 1 }, Serving::Here) };
    assert!(carry_out(&lost, || Ok(())).unwrap_err().to_string().contains("lost"));
    let failed = Plan { target: nobody, ..plan(Work::Connects { slots: 2 }, Serving::Here) };
    let outcome = carry_out(&failed, || Ok(())).unwrap();
    assert!(outcome.completed == 0 && outcome.failed > 0, "{outcome:?}");
}

#[test]
fn what_is_let_through_is_no_refusal() {
    let open = Plan { limit: Some(1), ..plan(Work::Denied { slots: 2 }, Serving::Here) };
    let outcome = carry_out(&open, || Err(io::Error::other("not idle"))).unwrap();
    assert!(outcome.completed == 0 && outcome.accepted == 2, "{outcome:?}");
}

#[test]
fn percentiles_by_rank() {
    let mut thousand: Vec<_> = (1..=1000).rev().map(Duration::from_nanos).collect();
    assert_eq!(percentiles(&mut thousand), Some([500, 900, 990, 999, 1000]));
    assert_eq!(percentiles(&mut [Duration::from_nanos(7)]), Some([7; 5]));
    assert_eq!(percentiles(&mut []), None);
}
