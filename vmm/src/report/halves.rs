//! A row is measured in two halves, its state set anew for the second. Here they become one: samples and counters
//! together, every rule applied to each, and their difference as the row's noise.

use super::checks::{Row, judge};
use super::measured::{Measured, Regime};
use super::model::{Check, Counters};
use super::quantiles::Quantiles;

/// One half, less the marks, and the verdicts on it.
#[derive(Clone, Debug)]
pub(super) struct Half {
    pub(super) measured: Measured,
    pub(super) net: Counters,
    pub(super) checks: Vec<Check>,
}

impl Half {
    /// Judges `measured`, from whose counters `marks` are subtracted.
    pub(super) fn new(measured: &Measured, marks: Option<&Counters>, regime: Regime) -> Self {
        let net = marks.map_or_else(|| measured.moved.clone(), |marks| measured.moved.less(marks));
        let checks = judge(&Row {
            measured,
            net: &net,
            regime,
        });
        Self {
            measured: measured.clone(),
            net,
            checks,
        }
    }

    /// Whether `second` is the other half of this.
    pub(super) fn is_continued_by(&self, second: &Measured) -> bool {
        let key = |measured: &Measured| (measured.args.scenario, measured.args.pattern, measured.args.access);
        second.args.half == 1 && self.measured.args.half == 0 && key(&self.measured) == key(second)
    }

    /// Both as one.
    pub(super) fn join(mut self, second: Half) -> Half {
        self.measured.cycles.extend(second.measured.cycles);
        self.measured.trace.extend(second.measured.trace);
        self.measured.requests.extend(second.measured.requests);
        self.measured.host_side = match (self.measured.host_side, second.measured.host_side) {
            (Some(Ok(first)), Some(Ok(second))) => Some(Ok(first.and(second))),
            (first, second) => second.filter(Result::is_err).or(first),
        };
        self.measured.args.count = self.measured.args.count.saturating_add(second.measured.args.count);
        self.net.add(&second.net);
        self.checks = self.checks.into_iter().zip(second.checks).map(both).collect();
        self
    }

    /// Its median, in cycles; `None` without samples.
    pub(super) fn p50(&self) -> Option<u64> {
        let cycles = &self.measured.cycles;
        (!cycles.is_empty()).then(|| Quantiles::of_cycles(cycles).p50)
    }
}

/// A rule holds if it holds for each half; counts that cancel each other out do not.
fn both((first, second): (Check, Check)) -> Check {
    let detail = match (first.ok, second.ok) {
        (true, true) => format!("{}, {}", first.detail, second.detail),
        (false, _) => format!("{} in the first half", first.detail),
        (true, false) => format!("{} in the second half", second.detail),
    };
    Check {
        ok: first.ok && second.ok,
        name: first.name,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{COUNT, builder, phase, vm};
    use super::super::{Report, Scenario};
    use super::*;

    /// The row of these phases.
    fn report(phases: &[Measured]) -> Report {
        let mut builder = builder(Regime::TwoDimensional);
        phases.iter().for_each(|phase| builder.add(phase));
        builder.finish(vm(), None)
    }

    fn halves() -> [Measured; 2] {
        let first = phase("minor", Regime::TwoDimensional);
        let mut second = first.clone();
        second.args.half = 1;
        second.cycles.iter_mut().for_each(|cycles| *cycles += 7);
        [first, second]
    }

    fn only_row(report: &Report) -> &Scenario {
        assert_eq!(report.scenarios.len(), 1);
        &report.scenarios[0]
    }

    #[test]
    fn two_halves_are_one_row_and_its_noise() {
        let report = report(&halves());
        let row = only_row(&report);
        assert_eq!(row.count, 2 * COUNT);
        assert_eq!(row.guest_per_fault["pgfault"], 1.0);
        assert_eq!((row.cycles.min, row.cycles.max), (2000, 2106));
        assert_eq!(
            (row.halves_p50_cycles, row.noise_floor_cycles),
            (Some([2049, 2056]), Some(7))
        );
        assert!(row.adds_up());
        assert_eq!(row.checks[0].detail, "100 of 100, 100 of 100");
    }

    #[test]
    fn equal_halves_still_have_the_counters_resolution() {
        let [first, _] = halves();
        let mut second = first.clone();
        second.args.half = 1;
        assert_eq!(only_row(&report(&[first, second])).noise_floor_cycles, Some(1));
    }

    #[test]
    fn errors_of_the_halves_do_not_cancel_out() {
        let [mut first, mut second] = halves();
        *first.moved.guest.get_mut("pgfault").unwrap() += 1;
        *second.moved.guest.get_mut("pgfault").unwrap() -= 1;
        let report = report(&[first, second]);
        let failing: Vec<_> = only_row(&report).checks.iter().filter(|check| !check.ok).collect();
        assert_eq!(failing.len(), 1);
        assert_eq!(failing[0].detail, "101 of 100 in the first half");
    }

    #[test]
    fn a_half_alone_or_of_another_row_is_a_row_without_noise() {
        let [first, second] = halves();
        assert_eq!(only_row(&report(std::slice::from_ref(&first))).noise_floor_cycles, None);
        assert_eq!(
            only_row(&report(std::slice::from_ref(&second))).noise_floor_cycles,
            None
        );
        let mut other = second.clone();
        other.args.pattern[..4].copy_from_slice(b"rand");
        assert_eq!(report(&[first.clone(), other]).scenarios.len(), 2);
        // What a hostile program may say.
        assert_eq!(report(&[first, second.clone(), second]).scenarios.len(), 2);
    }
}
