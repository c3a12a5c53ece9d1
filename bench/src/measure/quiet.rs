//! Whether the machine was quiet while candidates were compared, and which rounds count.

/// A canary that differs by more than this share within a round voids it.
pub const CANARY_TOLERANCE: f64 = 0.03;
/// As does a hypervisor that took more than this share of a CPU.
pub const STEAL_TOLERANCE: f64 = 0.01;

/// What the canaries of one round say.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The slowest canary against the fastest on the same CPU, minus 1; the worse of both CPUs.
    pub spread: f64,
    /// Why the round does not count; none if it does.
    pub void: Option<String>,
}

/// What one trial saw: the canaries before and after it, nanoseconds on each CPU, and the share of a CPU that the
/// hypervisor took.
pub type Seen = ([[u64; 2]; 2], f64);

/// Judges one round by its trials.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "milliseconds in nanoseconds")]
pub fn judge(trials: &[Seen]) -> Judged {
    let spread = |cpu: usize| {
        let times = || trials.iter().flat_map(|(canary, _)| canary.iter().map(move |pair| pair[cpu] as f64));
        times().fold(0.0, f64::max) / times().fold(f64::MAX, f64::min) - 1.0
    };
    let spread = spread(0).max(spread(1));
    let steal = trials.iter().map(|(_, steal)| *steal).fold(0.0, f64::max);
    let void = if spread > CANARY_TOLERANCE {
        Some(format!("canaries differ by {:.1} %", spread * 100.0))
    } else if steal > STEAL_TOLERANCE {
        Some(format!("{:.1} % of a CPU was stolen", steal * 100.0))
    } else {
        None
    };
    Judged { spread, void }
}

/// The rounds that figures are made of, and what to call them: the `quiet` ones, or `all` if fewer than half are
/// quiet.
#[must_use]
pub fn basis<T>(rounds: &[T], void: impl Fn(&T) -> bool) -> (&'static str, Vec<&T>) {
    let quiet: Vec<&T> = rounds.iter().filter(|round| !void(round)).collect();
    if quiet.len() * 2 >= rounds.len() { ("quiet", quiet) } else { ("all", rounds.iter().collect()) }
}

#[cfg(test)]
mod tests {
    use super::{Seen, basis, judge};

    #[test]
    fn a_restless_round_is_void_and_says_why() {
        let even = [[100, 200], [101, 202]];
        let table: &[(&str, &[Seen], Option<&str>)] = &[
            ("quiet", &[(even, 0.0), (even, 0.005)], None),
            (
                "one CPU slower",
                &[(even, 0.0), ([[100, 200], [100, 220]], 0.0)],
                Some("canaries differ by 10.0 %"),
            ),
            ("stolen", &[(even, 0.02)], Some("2.0 % of a CPU was stolen")),
        ];
        for (name, trials, why) in table {
            assert_eq!(judge(trials).void.as_deref(), *why, "{name}");
        }
    }

    #[test]
    fn void_rounds_count_only_if_most_are_void() {
        for (rounds, expected, name) in [
            (&[false, false, true][..], 2, "quiet"),
            (&[false, true], 1, "quiet"),
            (&[false, true, true], 3, "all"),
            (&[], 0, "quiet"),
        ] {
            let (basis, used) = basis(rounds, |void| *void);
            assert_eq!((basis, used.len()), (name, expected), "{rounds:?}");
        }
    }
}
