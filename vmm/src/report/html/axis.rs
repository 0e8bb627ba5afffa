//! Scales and ticks: from costs and percentages to the plane of a plot, and round numbers along its edges.

/// Nines at the right edge, at the least and at the most: 90 % to 99.999 %.
const NINES: (f64, f64) = (1.0, 5.0);

/// Where `percent` lies on an axis that gives every nine the same room: 0 % at 0, 90 % at 1, 99 % at 2, and what is
/// rarer than one of `count` samples at the edge.
pub(super) fn nines(percent: f64, count: u64) -> f64 {
    let edge = right_edge(count);
    let left = 1.0 - percent.clamp(0.0, 100.0) / 100.0;
    if left <= 0.0 {
        edge
    } else {
        (-left.log10()).clamp(0.0, edge)
    }
}

/// The largest value of [`nines`] for `count` samples: the middle of the last one's share.
pub(super) fn right_edge(count: u64) -> f64 {
    (2.0 * count as f64).max(1.0).log10().clamp(NINES.0, NINES.1)
}

/// Ticks of that axis up to `edge`: position, and label in percent.
pub(super) fn nines_ticks(edge: f64) -> Vec<(f64, String)> {
    let all = ["0", "50", "90", "99", "99.9", "99.99", "99.999"].into_iter();
    let placed = all.zip([0.0, std::f64::consts::LOG10_2, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let shown = placed.filter(|(_, at)| *at <= edge);
    shown.map(|(label, at)| (at, label.to_owned())).collect()
}

/// The axis of costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CostAxis {
    /// Whether positions are logarithms to base 10.
    logarithmic: bool,
    /// Positions at the ends; the first is less than the second.
    pub(super) range: (f64, f64),
    /// Positions with a label.
    ticks: Vec<f64>,
}

impl CostAxis {
    /// An axis for costs from `min` to `max`: from zero, or logarithmic if they are more than twentyfold apart.
    pub(super) fn of(min: u64, max: u64) -> Self {
        let (min, max) = (min.min(max).max(1) as f64, max.max(1) as f64);
        if max / min <= 20.0 {
            let step = round_step(max / 4.0);
            let top = (max / step).ceil() * step;
            let ticks = (0..=(top / step).round() as u32).map(|at| f64::from(at) * step);
            return Self {
                logarithmic: false,
                range: (0.0, top),
                ticks: ticks.collect(),
            };
        }
        let (low, high) = (min.log10().floor(), max.log10().ceil());
        // At most seven labels, whatever the range.
        let every = ((high - low) / 6.0).ceil().max(1.0);
        let ticks = (0..=((high - low) / every) as u32).map(|at| low + f64::from(at) * every);
        Self {
            logarithmic: true,
            range: (low, high),
            ticks: ticks.collect(),
        }
    }

    /// Where `cost` lies, between the ends.
    pub(super) fn position(&self, cost: u64) -> f64 {
        let cost = cost as f64;
        let at = if self.logarithmic { cost.max(1.0).log10() } else { cost };
        at.clamp(self.range.0, self.range.1)
    }

    /// Positions with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let cost = |at: f64| if self.logarithmic { 10_f64.powf(at) } else { at };
        self.ticks.iter().map(|at| (*at, short_cost(cost(*at)))).collect()
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten that is at least `step`, which is positive; at least 1.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1.0).log10().floor());
    let rounded = [1.0, 2.0, 2.5, 5.0].iter().map(|factor| factor * power);
    let fits = rounded.into_iter().find(|each| *each >= step);
    fits.unwrap_or(10.0 * power).max(1.0)
}

/// A cost in at most four characters and a prefix of the International System: 640k, 1.5M.
pub(super) fn short_cost(cost: f64) -> String {
    let prefixes = [
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
    ];
    let (unit, prefix) = prefixes
        .into_iter()
        .find(|(unit, _)| cost >= *unit)
        .unwrap_or((1.0, ""));
    let value = cost / unit;
    let digits = if value.fract().abs() < 1e-9 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nine_has_the_same_room() {
        for (percent, at) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0), (100.0, 4.0)] {
            assert!((nines(percent, 5000) - at).abs() < 1e-9, "{percent}");
        }
        assert_eq!(nines(99.999, 50), 2.0, "rarer than one sample");
        assert_eq!((nines(-5.0, 100), nines(1e300, 50), right_edge(0)), (0.0, 2.0, 1.0));
        assert_eq!(right_edge(u64::MAX), 5.0);
        for (at, label) in nines_ticks(5.0) {
            assert!((nines(label.parse().unwrap(), u64::MAX) - at).abs() < 1e-9, "{label}");
        }
        assert_eq!(nines_ticks(2.9).last().unwrap().1, "99");
    }

    #[test]
    fn costs_start_at_zero_unless_they_are_far_apart() {
        let near = CostAxis::of(600_000, 740_000);
        assert_eq!((near.range, near.ticks.len()), ((0.0, 800_000.0), 5));
        assert_eq!(near.ticks()[1].1, "200k");
        assert_eq!(near.position(740_000), 740_000.0);
        let far = CostAxis::of(78, 100_000);
        assert_eq!((far.range, far.ticks.len()), ((1.0, 5.0), 5));
        assert_eq!((far.ticks()[1].1.as_str(), far.position(1000)), ("100", 3.0));
        assert_eq!(CostAxis::of(5, 5).ticks, [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(CostAxis::of(0, 0).range, (0.0, 1.0));
        let widest = CostAxis::of(0, u64::MAX);
        assert!(widest.ticks.len() <= 7 && widest.position(0) == 0.0, "{widest:?}");
    }

    #[test]
    fn short_costs() {
        let shown = [0.0, 5.0, 78.0, 1000.0, 1500.0, 12_345.0, 640_000.0, 2.5e6, 1.8e19].map(short_cost);
        assert_eq!(shown, ["0", "5", "78", "1k", "1.5k", "12.3k", "640k", "2.5M", "18E"]);
    }
}
