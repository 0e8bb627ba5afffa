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
        self.measured.trace_lost = self.measured.trace_lost.saturating_add(second.measured.trace_lost);
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
