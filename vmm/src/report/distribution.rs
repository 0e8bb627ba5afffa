//! The distribution of a row's samples as a short list of exact percentiles, for plots and for those who read the JSON.
//!
//! Every point is a sample that was measured, by the nearest-rank definition ([`super::quantiles`]); nothing is
//! interpolated and nothing falls into buckets, because the samples are all there. The percentages are those of
//! HdrHistogram's output: five steps to half of what is left, then five to half of that, and so on, so that each
//! nine of the tail gets as many points as the one before it. No sample is listed twice, so the largest ones are all there,
//! and the list is short: 9 points for 8 samples, at most 82.
//!
//! # Invariants
//! Percentages rise from 0 to 100, cycles do not fall, the first is the smallest sample and the last the largest.
//!
//! Source: HdrHistogram, `percentileTicksPerHalfDistance`.

use super::model::Percentile;

/// Steps to half of the distance to 100 %.
const STEPS_PER_HALVING: u32 = 5;

/// The points of `cycles` in any order; none without samples.
#[must_use]
pub fn points(cycles: &[u64]) -> Vec<Percentile> {
    let mut sorted = cycles.to_vec();
    sorted.sort_unstable();
    let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
        return Vec::new();
    };
    let mut points = vec![Percentile(0.0, min)];
    let samples = sorted.len();
    // A rank is listed at the first percentage that reaches it.
    let mut listed = 0;
    let (mut from, mut left) = (0.0, 1.0);
    while left * samples as f64 >= 1.0 {
        for step in 1..=STEPS_PER_HALVING {
            let fraction = from + left / 2.0 * f64::from(step) / f64::from(STEPS_PER_HALVING);
            let rank = ((fraction * samples as f64).ceil() as usize).clamp(1, samples);
            if rank > listed && rank < samples {
                points.push(Percentile(rounded_percent(fraction), sorted[rank - 1]));
                listed = rank;
            }
        }
        left /= 2.0;
        from = 1.0 - left;
    }
    points.push(Percentile(100.0, max));
    points
}

/// In percent, to a ten-thousandth: a 65,536th is 0.0015 %.
fn rounded_percent(fraction: f64) -> f64 {
    (fraction * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_samples() {
        let cycles: Vec<u64> = (1..=1000).rev().collect();
        let points = points(&cycles);
        assert_eq!(points[0], Percentile(0.0, 1));
        assert_eq!(points[5], Percentile(50.0, 500));
        assert_eq!(points[6], Percentile(55.0, 550));
        assert_eq!(points[11], Percentile(77.5, 775));
        assert_eq!(points.last(), Some(&Percentile(100.0, 1000)));
        let last: Vec<u64> = points.iter().map(|point| point.1).rev().take(8).collect();
        assert_eq!(last, [1000, 999, 998, 997, 996, 995, 994, 993]);
        assert_eq!(points.len(), 43);
    }

    #[test]
    fn points_rise_and_are_few() {
        for count in [1, 2, 3, 7, 10, 11, 64, 513, 65_536] {
            let points = points(&(0..count).map(|n| n * n).collect::<Vec<u64>>());
            assert!(
                points.is_sorted_by(|before, after| before.0 < after.0 && before.1 <= after.1),
                "{count}: {points:?}"
            );
            assert_eq!((points[0].1, points.last().unwrap().1), (0, (count - 1) * (count - 1)));
            assert!(points.len() <= 82, "{count}: {} points", points.len());
        }
        assert_eq!(points(&[]), []);
    }
}
