//! Exact order statistics of a phase's samples.
//!
//! A phase has at most 65,536 samples ([`faultlab_abi::dev::Samples::count`]), so they are all kept and sorted: no
//! histogram buckets, no interpolation. Every quantile printed is a sample that was really measured.
//!
//! # Invariants
//! `min <= p50 <= p90 <= p99 <= p999 <= max`, and `min <= mean <= max` (up to rounding).
//!
//! Source: nearest-rank definition (Hyndman and Fan 1996, "Sample Quantiles in Statistical Packages", definition 1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The statistics of one set of samples. `T` is `u64` for cycles and `f64` for nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles<T> {
    /// Smallest sample.
    pub min: T,
    /// Median.
    pub p50: T,
    /// 90th percentile.
    pub p90: T,
    /// 99th percentile.
    pub p99: T,
    /// 99.9th percentile; equals `max` below 1,000 samples.
    pub p999: T,
    /// Largest sample.
    pub max: T,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Quantiles<u64> {
    /// The statistics of `cycles` in any order; all zero when there are none (the `count` check then fails).
    #[must_use]
    pub fn of_cycles(cycles: &[u64]) -> Self {
        let mut sorted = cycles.to_vec();
        sorted.sort_unstable();
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        // Sums of hostile samples may exceed 64 bits.
        let sum: u128 = sorted.iter().copied().map(u128::from).sum();
        Self {
            min,
            p50: nearest_rank(&sorted, 500),
            p90: nearest_rank(&sorted, 900),
            p99: nearest_rank(&sorted, 990),
            p999: nearest_rank(&sorted, 999),
            max,
            mean: round_milli(sum as f64 / sorted.len() as f64),
        }
    }

    /// The same statistics in nanoseconds, for a time-stamp counter of `tsc_khz` kilohertz (positive).
    ///
    /// The conversion is monotonic, so the quantile of the conversions is the conversion of the quantile. Rounded to
    /// a thousandth of a nanosecond: finer than any counter.
    #[must_use]
    pub fn to_ns(&self, tsc_khz: u64) -> Quantiles<f64> {
        let ns = |cycles: f64| round_milli(cycles * 1e6 / tsc_khz.max(1) as f64);
        Quantiles {
            min: ns(self.min as f64),
            p50: ns(self.p50 as f64),
            p90: ns(self.p90 as f64),
            p99: ns(self.p99 as f64),
            p999: ns(self.p999 as f64),
            max: ns(self.max as f64),
            mean: ns(self.mean),
        }
    }
}

/// Samples without which nothing can be said of a median with 95 % confidence: all of five lie on one side of it once in 16 times.
pub const SAMPLES_MIN: u64 = 6;

/// The range that holds the true median with at least 95 % confidence, whatever the distribution; `[0, 0]` without
/// samples. With fewer than [`SAMPLES_MIN`] samples it is the whole range, and the confidence less: no verdict rests on it.
///
/// Source: Conover, "Practical Nonparametric Statistics", 3rd edition, 3.2 (binomial ranks, normal approximation).
#[must_use]
pub fn median_interval(cycles: &[u64]) -> [u64; 2] {
    let mut sorted = cycles.to_vec();
    sorted.sort_unstable();
    let n = sorted.len();
    if n == 0 {
        return [0, 0];
    }
    let half_width = 1.96 * (n as f64).sqrt() / 2.0;
    // Ranks from 1, rounded outwards.
    let low = (n as f64 / 2.0 - half_width).floor().max(1.0) as usize;
    let high = (n as f64 / 2.0 + half_width + 1.0).ceil().min(n as f64) as usize;
    [sorted[low - 1], sorted[high - 1]]
}

/// The smallest sample with at least `per_mille` thousandths of the samples at or below it. `sorted` is not empty.
fn nearest_rank(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted[rank.max(1) - 1]
}

/// Rounded to three decimals, so that the JSON holds no digits that mean nothing.
pub(super) fn round_milli(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_in_any_order() {
        let cycles: Vec<u64> = (1..=1000).rev().collect();
        let q = Quantiles::of_cycles(&cycles);
        assert_eq!(
            (q.min, q.p50, q.p90, q.p99, q.p999, q.max),
            (1, 500, 900, 990, 999, 1000)
        );
        assert_eq!(q.mean, 500.5);
    }

    #[test]
    fn small_sets_give_samples_not_interpolations() {
        let one = Quantiles::of_cycles(&[7]);
        assert_eq!((one.min, one.p50, one.p999, one.max), (7, 7, 7, 7));
        let two = Quantiles::of_cycles(&[30, 10]);
        assert_eq!((two.p50, two.p90, two.mean), (10, 30, 20.0));
        assert_eq!(Quantiles::of_cycles(&[]), Quantiles::default());
    }

    #[test]
    fn the_mean_of_huge_samples_does_not_overflow() {
        assert_eq!(Quantiles::of_cycles(&[u64::MAX, u64::MAX]).mean, u64::MAX as f64);
    }

    #[test]
    fn the_median_lies_in_its_interval() {
        let cycles: Vec<u64> = (1..=100).collect();
        // Ranks 40.2 and 60.8, rounded outwards.
        assert_eq!(median_interval(&cycles), [40, 61]);
        assert_eq!(median_interval(&[3, 1, 2]), [1, 3]);
        assert_eq!(median_interval(&[9]), [9, 9]);
        assert_eq!(median_interval(&[]), [0, 0]);
    }

    #[test]
    fn ns_follow_the_rate() {
        let ns = Quantiles::of_cycles(&[26, 2600, 2601]).to_ns(2_600_000);
        assert_eq!((ns.min, ns.p50, ns.max), (10.0, 1000.0, 1000.385));
    }
}
