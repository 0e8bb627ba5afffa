//! Pairs the rows of two reports by key, and judges each pair.

use super::ratio::{Median, Ratio, counter_step};
use super::{Row, Verdict};
use crate::report::key::RowKey;
use crate::report::model::{Report, Scenario};
use crate::report::quantiles::{SAMPLES_MIN, round_milli};

/// Rows, paired.
pub(super) struct Rows {
    pub(super) both: Vec<Row>,
    pub(super) only_in_a: Vec<RowKey>,
    pub(super) only_in_b: Vec<RowKey>,
}

/// The rows of `a` and `b`. Differences of at least `noise` percent count. Rows with one key are paired in order.
pub(super) fn of(a: &Report, b: &Report, noise: f64) -> Rows {
    let steps = [a, b].map(counter_step);
    let mut rest: Vec<(RowKey, &Scenario)> = b.scenarios.iter().map(|row| (RowKey::of(row), row)).collect();
    let (mut both, mut only_in_a) = (Vec::new(), Vec::new());
    for row in &a.scenarios {
        let key = RowKey::of(row);
        match rest.iter().position(|(other, _)| *other == key) {
            Some(at) => both.push(judge(key, [row, rest.remove(at).1], steps, noise)),
            None => only_in_a.push(key),
        }
    }
    let only_in_b = rest.into_iter().map(|(key, _)| key).collect();
    Rows {
        both,
        only_in_a,
        only_in_b,
    }
}

fn judge(key: RowKey, rows: [&Scenario; 2], steps: [u64; 2], noise: f64) -> Row {
    let [a, b] = rows;
    let (median_a, median_b) = (Median::of(a, steps[0]), Median::of(b, steps[1]));
    let ratio = Ratio::of(median_a, median_b);
    let noise = noise_of(rows, noise);
    let few = a.count.min(b.count) < SAMPLES_MIN;
    let interval = ratio.filter(|_| !few).map(|ratio| ratio.interval);
    let verdict = if !(a.adds_up() && b.adds_up()) {
        Verdict::Unsound
    } else if few {
        Verdict::TooFew
    } else if let Some(interval) = interval {
        beyond(interval, noise)
    } else {
        // Nothing to divide by: a difference is one if the two ranges are apart.
        median_a.against(median_b)
    };
    // Six digits: finer than any counter.
    let rounded = |value: f64| round_milli(value * 1e3) / 1e3;
    Row {
        key,
        a_p50_cycles: a.cycles.p50,
        b_p50_cycles: b.cycles.p50,
        ratio: ratio.map(|ratio| rounded(ratio.ratio)),
        ratio_interval: interval.map(|ends| ends.map(rounded)),
        noise_percent: noise,
        verdict,
    }
}

/// The largest of `least` and what either row differs from itself by, in percent of its median.
fn noise_of(rows: [&Scenario; 2], least: f64) -> f64 {
    let percent = |row: &&Scenario| Some(row.noise_floor_cycles? as f64 * 100.0 / row.cycles.p50.max(1) as f64);
    let own = rows.iter().filter_map(percent);
    round_milli(own.fold(least, f64::max))
}

/// The verdict of a ratio's interval with so much noise in percent.
fn beyond([low, high]: [f64; 2], noise: f64) -> Verdict {
    let factor = 1.0 + noise / 100.0;
    if low > factor {
        Verdict::Slower
    } else if high < 1.0 / factor {
        Verdict::Faster
    } else {
        Verdict::Same
    }
}
