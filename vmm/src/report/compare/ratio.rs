//! How two medians compare: their ratio and the range that holds the true ratio with 95 % confidence.
//!
//! Each median comes with its own distribution-free interval ([`crate::report::quantiles::median_interval`]). The two runs are
//! independent, so the intervals combine by the method of variance estimates recovery, on logarithms because it is a
//! ratio: with a, b the logarithms of the medians and (la, ua), (lb, ub) those of the intervals' ends, the logarithm of the
//! ratio lies between `b - a - sqrt((b - lb)^2 + (ua - a)^2)` and `b - a + sqrt((ub - b)^2 + (a - la)^2)`. No
//! distribution is assumed, skewed intervals stay skewed, nothing is drawn at random, and reports of any version have
//! what it takes.
//!
//! The counter may step by more than one (by 26 cycles on some machines): then a sample is the difference of two
//! roundings, off by up to one step, whatever its interval says. So where time is measured each interval is widened by
//! one step; instructions are counted exactly.
//!
//! Source: Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine
//! 27:1693; Price and Bonett 2002, "Distribution-free confidence intervals for difference and ratio of medians", Journal
//! of Statistical Computation and Simulation 72:119.

use super::Verdict;
use crate::report::model::{CostUnit, Report, Scenario};

/// A median and the range that it may be in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Median {
    low: f64,
    p50: f64,
    high: f64,
}

impl Median {
    /// The median of `row`, measured by a counter that steps by `step`. In a hostile report the interval may be anywhere;
    /// it is stretched to hold the median.
    pub(super) fn of(row: &Scenario, step: u64) -> Self {
        let [low, high] = row.p50_interval_cycles;
        let p50 = row.cycles.p50;
        Self {
            low: low.min(high).min(p50).saturating_sub(step) as f64,
            p50: p50 as f64,
            high: low.max(high).max(p50).saturating_add(step) as f64,
        }
    }
}

impl Median {
    /// What is said of B against this A where no ratio can be: a difference if the two ranges do not meet.
    pub(super) fn against(self, b: Median) -> Verdict {
        if b.low > self.high {
            Verdict::Slower
        } else if b.high < self.low {
            Verdict::Faster
        } else {
            Verdict::Same
        }
    }
}

/// The ratio of two medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    /// B's median divided by A's.
    pub(super) ratio: f64,
    /// The range that holds the true ratio with 95 % confidence; the end may be infinite.
    pub(super) interval: [f64; 2],
}

impl Ratio {
    /// `b` divided by `a`; `None` if either is zero.
    pub(super) fn of(a: Median, b: Median) -> Option<Self> {
        if a.p50 <= 0.0 || b.p50 <= 0.0 {
            return None;
        }
        // Logarithms of quotients, at least 0; infinite where an interval reaches down to zero.
        let (a_down, a_up) = ((a.p50 / a.low).ln(), (a.high / a.p50).ln());
        let (b_down, b_up) = ((b.p50 / b.low).ln(), (b.high / b.p50).ln());
        let ratio = b.p50 / a.p50;
        let interval = [ratio * (-b_down.hypot(a_up)).exp(), ratio * b_up.hypot(a_down).exp()];
        Some(Self { ratio, interval })
    }
}

/// The largest step of which every cost in `report` is a multiple; 0 where the counter is exact.
pub(super) fn counter_step(report: &Report) -> u64 {
    if report.cost_unit == CostUnit::Instructions {
        return 0;
    }
    let costs = report.scenarios.iter().flat_map(|row| {
        let points = row.percentiles_cycles.iter().map(|point| point.1);
        points.chain([row.cycles.min, row.cycles.p50, row.cycles.max])
    });
    costs.fold(0, greatest_common_divisor)
}

/// Euclid's; 0 with 0 is 0.
fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median(low: u64, p50: u64, high: u64) -> Median {
        let [low, p50, high] = [low, p50, high].map(|each| each as f64);
        Median { low, p50, high }
    }

    #[test]
    fn certain_medians_give_a_certain_ratio() {
        let ratio = Ratio::of(median(200, 200, 200), median(300, 300, 300)).unwrap();
        assert_eq!((ratio.ratio, ratio.interval), (1.5, [1.5, 1.5]));
    }

    #[test]
    fn one_uncertain_median_gives_its_own_interval() {
        let ratio = Ratio::of(median(100, 100, 100), median(90, 110, 140)).unwrap();
        assert!((ratio.interval[0] - 0.9).abs() < 1e-12 && (ratio.interval[1] - 1.4).abs() < 1e-12);
        // In the denominator the ends change places.
        let ratio = Ratio::of(median(90, 110, 140), median(100, 100, 100)).unwrap();
        assert!((ratio.interval[0] - 100.0 / 140.0).abs() < 1e-12 && (ratio.interval[1] - 100.0 / 90.0).abs() < 1e-12);
    }

    #[test]
    fn two_uncertain_medians_add_in_squares() {
        let ratio = Ratio::of(median(100, 110, 121), median(100, 110, 121)).unwrap();
        let half_width = 2.0_f64.sqrt() * 1.1_f64.ln();
        assert!((ratio.interval[1].ln() - half_width).abs() < 1e-12);
        assert!((ratio.interval[0].ln() + half_width).abs() < 1e-12);
    }

    #[test]
    fn zeros_and_extremes() {
        assert_eq!(Ratio::of(median(0, 0, 0), median(1, 1, 1)), None);
        assert_eq!(Ratio::of(median(1, 1, 1), median(0, 0, 0)), None);
        let open = Ratio::of(median(0, 1, 1), median(0, 1, u64::MAX)).unwrap();
        assert_eq!(open.interval, [0.0, f64::INFINITY]);
    }

    /// The interval must hold the true ratio in at least 95 of 100 experiments, and it may not be so wide that it always
    /// does. Samples are exponential: skewed, like latencies.
    #[test]
    fn covers_what_it_promises() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut measure = |scale: f64| {
            let samples: Vec<u64> = (0..200)
                .map(|_| (scale * (1.0 - (1.0 - uniform()).ln())) as u64)
                .collect();
            let [low, high] = crate::report::quantiles::median_interval(&samples);
            let p50 = crate::report::quantiles::Quantiles::of_cycles(&samples).p50;
            median(low, p50, high)
        };
        let experiments = 4000;
        let covered = (0..experiments).filter(|_| {
            let ratio = Ratio::of(measure(1e6), measure(1.2e6)).unwrap();
            ratio.interval[0] <= 1.2 && 1.2 <= ratio.interval[1]
        });
        let percent = covered.count() as f64 * 100.0 / f64::from(experiments);
        assert!((94.5..99.0).contains(&percent), "{percent} % covered");
    }

    #[test]
    fn the_counters_step_is_found_where_time_is_measured() {
        let mut report = crate::report::testing::report(crate::report::Regime::Shadow);
        assert_eq!(counter_step(&report), 1);
        for row in &mut report.scenarios {
            row.percentiles_cycles.iter_mut().for_each(|point| point.1 *= 26);
            for cost in [&mut row.cycles.min, &mut row.cycles.p50, &mut row.cycles.max] {
                *cost *= 26;
            }
        }
        assert_eq!(counter_step(&report), 26);
        let minor = &report.scenarios[1];
        assert_eq!(Median::of(minor, 26).p50, minor.cycles.p50 as f64);
        report.cost_unit = CostUnit::Instructions;
        assert_eq!(counter_step(&report), 0);
    }
}
