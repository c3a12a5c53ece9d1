//! The acts over plain bridges in the place of ringfence: what should get through does, and every denial is found
//! missing. So the demo's lines say what happened, not what was hoped.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use super::acts;
use super::error::DemoError;
use super::interrupt::Interrupt;
use super::report::Report;
use super::stage::{Drops, Enforcer, Stage};
use super::topology::{CRM, DB, Family, Network, WEB, wired};
use super::traffic::echo::UDP_PORT;
use super::traffic::probe::PATIENT;
use super::traffic::stream::Stream;
use super::traffic::turns::Turns;

/// Lets everything through and knows nothing.
struct Bridge;

impl Enforcer for Bridge {
    fn let_in_by(&self, _: IpAddr, _: IpAddr, _: &str) -> Result<String, DemoError> {
        Ok("bridge".into())
    }

    fn dropped_by(&self, _: IpAddr, _: IpAddr, _: &str, _: &Drops) -> Result<String, DemoError> {
        Ok(String::new())
    }

    fn drops(&self) -> Result<Drops, DemoError> {
        Ok(Drops::new())
    }
}

/// A network with a bridge in the place of every wire.
fn bridged(prefix: &str) -> Network {
    let network = Network::build(prefix).unwrap();
    for host in wired() {
        let (inside, outside) = host.ports();
        network.wire.bridge(host.name).unwrap();
        network.wire.plug(&inside, host.name).unwrap();
        network.wire.plug(&outside, host.name).unwrap();
    }
    network
}

#[test]
fn over_a_bridge_everything_passes_and_no_denial_holds() {
    if lab::skip_unprivileged() {
        return;
    }
    let network = bridged("rf-bridge");
    let mut stage = Stage::set(&network, Report::new(false), Interrupt::default()).unwrap();
    acts::labels::allowed(&mut stage, &Bridge).unwrap();
    assert_eq!(stage.report.failed(), 0, "a bridge lets everything through");
    let held = stage.report.held();
    acts::labels::denied(&mut stage, &Bridge).unwrap();
    acts::spoof::forged(&mut stage, &Bridge).unwrap();
    assert_eq!(stage.report.held(), held, "a bridge denies nothing");
}

#[test]
fn streams_and_turns_count_what_a_bridge_carries_and_what_a_cut_stops() {
    if lab::skip_unprivileged() {
        return;
    }
    let network = bridged("rf-count");
    let stage = Stage::set(&network, Report::new(false), Interrupt::default()).unwrap();
    let pace = Duration::from_micros(500);
    let turns = Turns::start(stage.of(WEB), stage.of(DB), DB.at(Family::V6, 5433), PATIENT).unwrap().unwrap();
    let stream = Stream::start(stage.of(CRM), DB.at(Family::V4, UDP_PORT), pace).unwrap().unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(turns.pause(PATIENT));
    let before = turns.progress();
    assert!(
        before.returned > 0 && before.sent == before.returned && before.received == before.sent,
        "{before:?}"
    );
    network.wire.ip("link set dev web-in down").unwrap();
    turns.resume();
    thread::sleep(Duration::from_millis(200));
    let after = turns.progress();
    assert_eq!(
        (after.sent, after.received, after.returned),
        (before.sent + 1, before.received, before.returned)
    );
    let count = stream.finish();
    assert!(count.sent > 100, "{count:?}");
    assert_eq!((count.returned, count.strange), (count.sent, 0));
}
