//! The table against a map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Action {
    Insert(u32),
    Observe(u32, bool),
    Cut(u32),
    Restamp(u32),
    Sweep(usize),
    /// Whole seconds, so that the slack of deadlines does not show.
    Wait(u64),
}

fn actions() -> impl Strategy<Value = Action> {
    let flow = 0u32..60;
    prop_oneof![
        6 => flow.clone().prop_map(Action::Insert),
        6 => (flow.clone(), any::<bool>()).prop_map(|(n, reply)| Action::Observe(n, reply)),
        1 => flow.clone().prop_map(Action::Cut),
        1 => flow.prop_map(Action::Restamp),
        1 => (1usize..8).prop_map(Action::Sweep),
        2 => (1u64..40).prop_map(Action::Wait),
    ]
}

#[derive(Clone, Debug)]
struct Flow {
    deadline: u64,
    packets: [u64; 2],
    bytes: [u64; 2],
    replied: bool,
    cut: bool,
}

struct Model {
    table: FlowTable,
    flows: HashMap<FlowKey, Flow>,
    cursor: SweepCursor,
    epoch: Epoch,
    now: u64,
}

impl Model {
    fn live(&self, key: &FlowKey) -> bool {
        self.flows.get(key).is_some_and(|flow| flow.deadline > self.now)
    }

    fn insert(&mut self, key: FlowKey) {
        let now = at(self.now);
        match insert(&self.table, &key, now) {
            Err(reason) => {
                assert_eq!(reason, DropReason::FlowTableFull);
                assert!(self.flows.len() >= 16 && !self.live(&key));
            }
            Ok(inserted) => {
                assert_eq!(inserted.fresh, !self.live(&key));
                if let Some(evicted) = inserted.evicted {
                    let flow =
                        self.flows.remove(&evicted.view.key).expect("evicted a flow that was never there");
                    assert_eq!((flow.packets, flow.bytes), (evicted.view.packets, evicted.view.bytes));
                    let expired = flow.deadline <= self.now;
                    assert_eq!(expired, evicted.class == Class::Expired);
                    assert!(expired || flow.cut || !flow.replied, "evicted an assured flow");
                }
                if inserted.fresh {
                    let deadline = self.now + 30;
                    let flow = Flow { deadline, packets: [1, 0], bytes: [60, 0], replied: false, cut: false };
                    self.flows.insert(key, flow);
                }
            }
        }
    }

    fn observe(&mut self, key: &FlowKey, reply: bool) {
        let (now, live) = (at(self.now), self.live(key));
        let Some(handle) = find(&self.table, key, now) else { return assert!(!live) };
        assert!(live);
        let flow = self.flows.get_mut(key).unwrap();
        let direction = if reply { SERVER } else { CLIENT };
        let outcome = handle.observe(direction, 9, now);
        assert_eq!(outcome, if flow.cut { Err(DropReason::Revoked) } else { Ok(()) });
        if outcome.is_ok() {
            flow.packets[direction.index()] += 1;
            flow.bytes[direction.index()] += 9;
            flow.replied |= reply;
            flow.deadline = self.now + if flow.replied { 180 } else { 30 };
        }
    }

    fn decide(&mut self, key: &FlowKey, cut: bool) {
        let Some(mut handle) = find(&self.table, key, at(self.now)) else { return };
        self.epoch = Epoch(self.epoch.0 + 1);
        let Epoch(epoch) = self.epoch;
        let ruled = if cut { super::cut(&mut handle, epoch, 1) } else { allow(&mut handle, epoch, 2, None) };
        ruled.unwrap();
        let flow = self.flows.get_mut(key).unwrap();
        if flow.cut && !cut {
            (flow.packets, flow.bytes) = ([0; 2], [0; 2]);
        }
        flow.cut = cut;
    }

    fn sweep(&mut self, sets: usize) {
        let (flows, now) = (&mut self.flows, self.now);
        self.table.sweep(&mut self.cursor, at(now), sets, |view| {
            let flow = flows.remove(&view.key).expect("ended a flow that was never there");
            assert!(flow.deadline <= now);
        });
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Insert(n) => self.insert(udp(*n)),
            Action::Observe(n, reply) => self.observe(&udp(*n), *reply),
            Action::Cut(n) => self.decide(&udp(*n), true),
            Action::Restamp(n) => self.decide(&udp(*n), false),
            Action::Sweep(sets) => self.sweep(*sets),
            Action::Wait(seconds) => self.now += seconds,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn behaves_like_a_map(actions in prop::collection::vec(actions(), 1..300)) {
        let mut model = Model {
            table: table(32),
            flows: HashMap::new(),
            cursor: SweepCursor::new(0, 1),
            epoch: Epoch(1),
            now: 1,
        };
        for action in &actions {
            model.apply(action);
        }
        let live = model.flows.iter().filter(|(_, flow)| flow.deadline > model.now);
        let mut expected: Vec<_> = live.map(|(key, flow)| (*key, flow.packets, flow.bytes, flow.cut)).collect();
        let views = model.table.views(at(model.now));
        let mut found: Vec<_> = views.map(|view| (view.key, view.packets, view.bytes, view.cut)).collect();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
        assert_sound(&model.table, at(model.now));
    }
}
