//! Every target on its seeds and some mutations, the same each time.

use fuzz::{TARGETS, exercise, mutated};

#[test]
fn no_target_finds_anything() {
    for target in TARGETS {
        let runs = match target.name {
            "headers" | "preamble" => 20_000,
            "store" => 200,
            _ => 1_000,
        };
        exercise(target, runs, 1);
    }
}

#[test]
fn mutations_differ_and_stay_in_bounds() {
    let seeds = vec![vec![7; 100], Vec::new()];
    let mut random = conformance::random::Random::new(1);
    let inputs: std::collections::BTreeSet<Vec<u8>> =
        (0..500).map(|_| mutated(&mut random, &seeds)).collect();
    assert!(inputs.len() > 300, "{}", inputs.len());
    assert!(inputs.iter().all(|input| input.len() <= fuzz::INPUT_MAX));
}
