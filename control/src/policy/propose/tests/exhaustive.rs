//! Whether small estates are solved as well as can be: every set of pairs of selectors is tried, with nothing of the
//! machinery that is tested.

use super::*;

type Asked = [Option<&'static str>; 2];
type Workload = [Vec<&'static str>; 2];
type Flows = BTreeSet<(usize, usize, u32)>;

/// An estate with two keys, and which pairs of selectors its flows may be allowed by.
struct Estate {
    workloads: Vec<Workload>,
    flows: Flows,
    tightness: Tightness,
}

impl Estate {
    /// The selectors of a workload: each key asked, or left out where it may be.
    fn selectors(&self, at: usize, optional: [bool; 2]) -> Vec<Asked> {
        let one = |key: usize| -> Vec<Option<&'static str>> {
            let held = self.workloads[at][key].iter().map(|value| Some(*value));
            held.chain(optional[key].then_some(None)).collect()
        };
        one(0).into_iter().flat_map(|a| one(1).into_iter().map(move |b| [a, b])).collect()
    }

    fn matches(&self, at: usize, asked: &Asked) -> bool {
        (0..2).all(|key| asked[key].is_none_or(|value| self.workloads[at][key].contains(&value)))
    }

    /// Pairs of different workloads that a pair of selectors matches.
    fn area(&self, (from, to): &(Asked, Asked)) -> BTreeSet<(usize, usize)> {
        let all = (0..self.workloads.len()).flat_map(|a| (0..self.workloads.len()).map(move |b| (a, b)));
        all.filter(|(a, b)| a != b && self.matches(*a, from) && self.matches(*b, to)).collect()
    }

    /// Every pair of selectors that may be used.
    fn pairs(&self) -> Vec<(Asked, Asked)> {
        let mut pairs = BTreeSet::new();
        let optional = [false, self.tightness != Tightness::Tier];
        let mut add = |from: Vec<Asked>, to: Vec<Asked>| {
            pairs.extend(from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))));
        };
        for &(from, to, _) in &self.flows {
            add(self.selectors(from, optional), self.selectors(to, optional));
            if self.tightness == Tightness::Wide {
                let wide = |at| -> Vec<Asked> {
                    self.selectors(at, [true, true]).into_iter().filter(|asked| asked[0].is_none()).collect()
                };
                add(wide(from), self.selectors(to, [false, true]));
                add(self.selectors(from, [false, true]), wide(to));
            }
        }
        pairs.into_iter().collect()
    }

    /// Whether a pair may be used at a service: if it leaves the first key out, at least half must have been seen, of
    /// workloads that differ in their labels.
    fn may(&self, pair: &(Asked, Asked), area: &BTreeSet<(usize, usize)>, service: u32) -> bool {
        let seen: Vec<_> = area.iter().filter(|(a, b)| self.flows.contains(&(*a, *b, service))).collect();
        let kinds: BTreeSet<_> =
            seen.iter().map(|(a, b)| (&self.workloads[*a], &self.workloads[*b])).collect();
        (pair.0[0].is_some() && pair.1[0].is_some()) || (kinds.len() > 1 && 2 * seen.len() >= area.len())
    }

    /// What a set of pairs costs, if it covers everything: for each service the cheapest of its subsets that do.
    fn cost(
        &self,
        pairs: &[(Asked, Asked)],
        areas: &[BTreeSet<(usize, usize)>],
        set: &[usize],
    ) -> Option<u64> {
        let services: BTreeSet<u32> = self.flows.iter().map(|flow| flow.2).collect();
        let one = |service: &u32| {
            let able: Vec<usize> =
                set.iter().copied().filter(|at| self.may(&pairs[*at], &areas[*at], *service)).collect();
            let unseen = |at: &usize| {
                areas[*at].iter().filter(|(a, b)| !self.flows.contains(&(*a, *b, *service))).count() as u64
            };
            let subsets = (1u32..1 << able.len()).filter_map(|some| {
                let used: Vec<usize> =
                    (0..able.len()).filter(|bit| some >> bit & 1 == 1).map(|bit| able[bit]).collect();
                let mut wanted = self.flows.iter().filter(|flow| flow.2 == *service);
                let covered = wanted.all(|(a, b, _)| used.iter().any(|at| areas[*at].contains(&(*a, *b))));
                covered.then(|| used.iter().map(unseen).sum::<u64>())
            });
            subsets.min()
        };
        services.iter().map(one).sum()
    }

    /// The fewest rules, and with as few the fewest unseen tuples.
    fn best(&self) -> (usize, u64) {
        let pairs = self.pairs();
        let areas: Vec<_> = pairs.iter().map(|pair| self.area(pair)).collect();
        for size in 0..=self.flows.len() {
            let mut best: Option<u64> = None;
            let mut set: Vec<usize> = (0..size).collect();
            while size <= pairs.len() {
                if let Some(cost) = self.cost(&pairs, &areas, &set) {
                    best = Some(best.map_or(cost, |least| least.min(cost)));
                }
                let Some(at) = (0..size).rev().find(|at| set[*at] < pairs.len() - size + at) else { break };
                set[at] += 1;
                for next in at + 1..size {
                    set[next] = set[next - 1] + 1;
                }
            }
            if let Some(best) = best {
                return (size, best);
            }
        }
        unreachable!("every flow has a pair of its own")
    }

    fn policy(&self) -> ValidPolicy {
        let mut text = String::from("workloads:\n");
        for (at, [app, role]) in self.workloads.iter().enumerate() {
            let (app, role) = (app.join(", "), role.join(", "));
            text += &format!(
                "  - {{name: w{at}, labels: {{app: [{app}], role: [{role}]}}, addresses: [10.0.0.{at}]}}\n"
            );
        }
        policy(&text)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn small_estates_are_solved_as_well_as_can_be(
        labels in proptest::collection::vec((1u8..8, 1u8..4), 2..6),
        picked in proptest::collection::vec((0usize..6, 0usize..6, 0u32..2), 1..5),
        tightness in proptest::sample::select(vec![Tightness::Tier, Tightness::App, Tightness::Wide]),
    ) {
        let some = |mask: u8, words: &[&'static str]| -> Vec<&'static str> {
            (0..words.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| words[bit]).collect()
        };
        let workloads: Vec<Workload> =
            labels.iter().map(|(a, b)| [some(*a, &["x", "y", "z"]), some(*b, &["web", "db"])]).collect();
        let flows: Flows = picked
            .into_iter()
            .map(|(a, b, service)| (a % workloads.len(), b % workloads.len(), TCP | (80 + 100 * service)))
            .filter(|(a, b, _)| a != b)
            .collect();
        let observed: Vec<Observation> = flows
            .iter()
            .map(|(a, b, service)| seen(&format!("10.0.0.{a}"), &format!("10.0.0.{b}"), *service))
            .collect();
        let estate = Estate { workloads, flows, tightness };
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let terms = Terms { tightness, keys: own(&["app", "role"]), tier: own(&["role"]) };
        let plan = propose(&estate.policy(), &observed, &terms);
        prop_assert!(plan.exact && plan.refused.is_empty());
        let found = (plan.rules.len(), plan.rules.iter().map(|rule| rule.unseen).sum::<u64>());
        prop_assert_eq!(found, estate.best(), "{:?} {:?}", lines(&plan), estate.workloads);
    }
}
