//! What must survive any bytes: each [`Target`] takes some and panics only if ringfence is wrong.
//!
//! `cargo test -p fuzz` runs every target on its seeds and on a few thousand mutations of them, the same each time;
//! `cargo run --release -p fuzz -- TARGET RUNS SEED` runs as many as one likes. Both work on a stable compiler.

#![allow(clippy::panic, clippy::expect_used, reason = "a target says what is wrong by panicking")]

mod frames;
mod policy;
mod preamble;
mod store;

use conformance::random::Random;

/// Something that reads bytes from outside.
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Reads the bytes; panics if it finds ringfence wrong.
    pub run: fn(&[u8]),
    /// Inputs that get far.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "headers", run: frames::headers, seeds: frames::packets },
    Target { name: "pipeline", run: frames::pipeline, seeds: frames::conversations },
    Target { name: "policy", run: policy::load, seeds: policy::seeds },
    Target { name: "preamble", run: preamble::preamble, seeds: preamble::seeds },
    Target { name: "store", run: store::open, seeds: store::seeds },
];

/// The longest input, bytes.
pub const INPUT_MAX: usize = 1 << 16;

/// Runs `target` on its seeds and on `runs` mutations of them.
pub fn exercise(target: &Target, runs: u64, seed: u64) {
    let seeds = (target.seeds)();
    seeds.iter().for_each(|input| (target.run)(input));
    for at in 0..runs {
        let mut random = Random::new(seed.wrapping_add(at));
        let input = mutated(&mut random, &seeds);
        (target.run)(&input);
    }
}

/// One of `seeds` with a few bytes changed, cut, repeated, or taken from another.
#[must_use]
pub fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.pick(seeds).clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let end = at + random.below((input.len() - at).min(64) + 1);
        let byte = random.next_bits().to_le_bytes()[0];
        match random.below(7) {
            0 => input.truncate(at),
            1 => input.insert(at, byte),
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let other = random.pick(seeds);
                let from = random.below(other.len() + 1);
                let to = from + random.below((other.len() - from).min(64) + 1);
                input.splice(at..end, other[from..to].iter().copied());
            }
            5 => input[at..end].fill(*random.pick(&[0, 1, 0x7f, 0x80, 0xff])),
            _ => {
                if let Some(changed) = input.get_mut(at) {
                    *changed ^= 1 << random.below(8);
                }
            }
        }
    }
    input.truncate(INPUT_MAX);
    input
}
