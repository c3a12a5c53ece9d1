//! Median of per-round ratios, with a bootstrap confidence interval.

use serde::Serialize;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 4_000;

/// A ratio as the rounds saw it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// Median over the rounds.
    pub median: f64,
    /// Lower end of the 95 % confidence interval of the median.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Rounds it is made of.
    pub rounds: usize,
}

/// The median of `values`, or 0 for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => 0.0,
        (half, 1) => sorted[half],
        (half, _) => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The median of per-round ratios with its percentile-bootstrap interval; the resampling is seeded by nothing but
/// the number of rounds, so that the same figures give the same interval.
#[must_use]
pub fn ratio(per_round: &[f64]) -> Option<Ratio> {
    if per_round.is_empty() {
        return None;
    }
    let mut random = Random(per_round.len() as u64);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<f64> =
                per_round.iter().map(|_| per_round[random.below(per_round.len())]).collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Some(Ratio {
        median: median(per_round),
        low: medians[RESAMPLES / 40],
        high: medians[RESAMPLES - 1 - RESAMPLES / 40],
        rounds: per_round.len(),
    })
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to shuffle and to resample with.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that never ends would only need unwrapping"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, median, ratio};

    #[test]
    fn medians() {
        for (values, expected) in [
            (&[][..], 0.0),
            (&[3.0], 3.0),
            (&[2.0, 1.0], 1.5),
            (&[9.0, 1.0, 5.0], 5.0),
            (&[4.0, 1.0, 3.0, 2.0], 2.5),
        ] {
            assert!((median(values) - expected).abs() < 1e-12, "{values:?}");
        }
    }

    #[test]
    fn an_interval_holds_its_median_and_narrows_with_agreement() {
        assert!(ratio(&[]).is_none());
        let wide = ratio(&[0.5, 1.0, 1.5, 0.7, 1.3, 0.9, 1.1]).expect("rounds");
        let narrow = ratio(&[0.99, 1.0, 1.01, 0.995, 1.005, 1.0, 1.0]).expect("rounds");
        assert!(wide.low <= wide.median && wide.median <= wide.high);
        assert!(narrow.high - narrow.low < wide.high - wide.low);
    }

    #[test]
    fn a_shuffle_loses_nothing_and_changes_the_order() {
        let mut items: Vec<u32> = (0..100).collect();
        Random(1).shuffle(&mut items);
        assert!(items.windows(2).any(|pair| pair[0] > pair[1]));
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
