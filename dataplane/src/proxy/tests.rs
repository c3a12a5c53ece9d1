use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::policy::Publisher;
use crate::policy::testing::{Sample, Who};

/// An idle worker reports a publish once it is woken, and stops when asked.
#[test]
fn an_idle_worker_notices_a_publish() {
    let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = ProxyConfig::new(WireId(0), "p", listen, &["127.0.0.1:1".parse().unwrap()]);
    let publisher = Publisher::new(1);
    let listeners = open_listeners(&config).unwrap();
    let parts = ProxyParts {
        worker: 0,
        reader: publisher.reader(0),
        flows: Arc::new(FlowTable::new(64).unwrap()),
        counters: Arc::default(),
        records: Arc::new(Records::new()),
        proxy: Arc::new(ProxyCounters::new(1)),
    };
    let proxy = Proxy::start(config, listeners, vec![parts]).unwrap();
    assert_ne!(proxy.status().listen[0].port(), 0);
    let table = Sample::new().workload(&["10.0.0.1"]).allow(Who::Any, Who::Any, (0, 1)).build();
    let epoch = publisher.publish(table).epoch;
    let end = Instant::now() + Duration::from_secs(5);
    while publisher.reported() != [Some(epoch)] {
        proxy.waker().wake();
        assert!(Instant::now() < end, "{:?}", publisher.reported());
        thread::sleep(Duration::from_millis(1));
    }
    proxy.stop(Duration::ZERO);
    assert_eq!(publisher.reported(), [None]);
}
