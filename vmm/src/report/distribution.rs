//! The distribution of a row's samples as a short list of exact percentiles, for plots and for those who read the JSON.
//!
//! Every point is a sample that was measured, by the nearest-rank definition ([`super::quantiles`]); nothing is
//! interpolated and nothing falls into buckets, because the samples are all there. The percentages are those of
//! HdrHistogram's output: five steps to half of what is left, then five to half of that, and so on, so that each
//! nine of the tail gets as many points as the one before it. Where the steps are finer than the samples they end, and
//! the largest sample is the last point: 7 points for 8 samples, 67 for the most that a phase may have.
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
    let samples = sorted.len() as f64;
    let (mut from, mut left) = (0.0, 1.0);
    // A step may be as short as one sample.
    while left / f64::from(2 * STEPS_PER_HALVING) * samples >= 1.0 || left == 1.0 {
        for step in 1..=STEPS_PER_HALVING {
            let fraction = from + left / 2.0 * f64::from(step) / f64::from(STEPS_PER_HALVING);
            let rank = (fraction * samples).ceil().max(1.0) as usize;
            points.push(Percentile(
                rounded_percent(fraction),
                sorted[rank.min(sorted.len()) - 1],
            ));
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
        // Seven halvings leave steps of more than one sample.
        assert_eq!(points.len(), 1 + 7 * 5 + 1);
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
            assert!(points.len() <= 67, "{count}: {} points", points.len());
        }
        assert_eq!(points(&[]), []);
    }
}
