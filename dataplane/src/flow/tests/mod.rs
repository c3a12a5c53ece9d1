//! The flow table from outside.

use core::net::IpAddr;
use std::collections::HashSet;

use super::tcp::{Connection, Mode};
use super::*;
use crate::address::Address;
use crate::clock::Now;
use crate::headers::{Ports, Tcp, flags, protocol};
use crate::verdict::{DraftAnswers, DropReason, Epoch, OnRevoke, RuleId, Terms, WireId};

mod cost;
mod eviction;
mod handles;
mod model;
mod races;
mod sets;
mod takeover;

const SECRET: HashKey = HashKey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);

fn at(seconds: u64) -> Now {
    Now::from_nanos(seconds * 1_000_000_000)
}

/// The client and server address of flow `n`; IPv6 for odd numbers.
fn ends(n: u32) -> (Address, Address) {
    let [a, b, c, d] = n.to_be_bytes();
    if n.is_multiple_of(2) {
        (Address::v4([10, b, c, d]), Address::v4([192, 0, 2, a]))
    } else {
        let client = format!("2001:db8::{:x}:{:x}", n >> 16, n & 0xffff).parse::<IpAddr>().unwrap();
        (Address::from(client), Address::from("2001:db8:ffff::1".parse::<IpAddr>().unwrap()))
    }
}

fn key(number: u8, n: u32) -> FlowKey {
    let (first, second) = ends(n);
    FlowKey { wire: WireId(1), protocol: number, first, second, first_port: 40_000, second_port: 443 }
}

fn udp(n: u32) -> FlowKey {
    key(protocol::UDP, n)
}

fn segment(bits: u8, sequence: u32, acknowledgement: u32) -> Tcp {
    Tcp {
        ports: Ports { source: 40_000, destination: 443 },
        sequence,
        acknowledgement,
        flags: bits,
        window: 1000,
        window_scale: None,
        payload: 0,
    }
}

const SYN: u8 = flags::SYN;
const ACK: u8 = flags::ACK;
const RST: u8 = flags::RST;
const CLIENT: Orientation = Orientation::FromFirst;
const SERVER: Orientation = Orientation::FromSecond;

/// A flow allowed by rule 7 of epoch 1, opened by `first`.
fn new_flow(key: &FlowKey) -> NewFlow {
    let connection = (key.protocol == protocol::TCP)
        .then(|| Connection::open(&segment(SYN, 100, 0), CLIENT, Mode::Strict).unwrap());
    NewFlow {
        initiator: CLIENT,
        sender: CLIENT,
        connection,
        epoch: Epoch(1),
        rule: RuleId(7),
        potential: None,
        terms: Terms::default(),
        bytes: 60,
    }
}

/// Policy of this epoch denies the flow by this rule, and it dies.
fn cut(handle: &mut FlowHandle<'_>, epoch: u32, rule: u32) -> Result<(), DropReason> {
    let cut = Ruling::Cut { rule: RuleId(rule), told: false };
    handle.rule_on(Epoch(epoch), cut, DraftAnswers::default()).map(|_| ())
}

/// Policy of this epoch allows the flow by this rule.
fn allow(
    handle: &mut FlowHandle<'_>,
    epoch: u32,
    rule: u32,
    potential: Option<RuleId>,
) -> Result<(), DropReason> {
    let allow = Ruling::Allow { rule: RuleId(rule), potential, on_revoke: OnRevoke::Cut };
    handle.rule_on(Epoch(epoch), allow, DraftAnswers::default()).map(|_| ())
}

fn table(capacity: usize) -> FlowTable {
    FlowTable::with_key(capacity, SECRET).unwrap()
}

fn insert<'t>(table: &'t FlowTable, key: &FlowKey, now: Now) -> Result<Inserted<'t>, DropReason> {
    table.insert(key, table.hash(key), &new_flow(key), now)
}

fn find<'t>(table: &'t FlowTable, key: &FlowKey, now: Now) -> Option<FlowHandle<'t>> {
    table.find(key, table.hash(key), now)
}

/// Inserts a TCP flow and completes its handshake.
fn establish(table: &FlowTable, key: &FlowKey, now: Now) {
    let handle = insert(table, key, now).unwrap().handle;
    for (direction, tcp) in [(SERVER, segment(SYN | ACK, 500, 101)), (CLIENT, segment(ACK, 101, 501))] {
        handle.observe_tcp(direction, &tcp, 60, now).unwrap();
    }
}

/// What must hold of any table at rest: one slot per key, and every slot found by its key.
fn assert_sound(table: &FlowTable, now: Now) {
    let views: Vec<FlowView> = table.views(now).collect();
    let keys: HashSet<FlowKey> = views.iter().map(|view| view.key).collect();
    assert_eq!(keys.len(), views.len(), "a key in two slots");
    for view in views {
        assert!(find(table, &view.key, now).is_some(), "{view:?} is in a slot where no lookup finds it");
    }
}
