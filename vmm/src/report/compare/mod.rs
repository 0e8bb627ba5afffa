//! Two files of reports, row by row: which costs differ, and by how much, when chance is taken away.
//!
//! | file | what it does |
//! |---|---|
//! | [`pair`] | which report of B is compared with which of A, and in what their hosts differ |
//! | [`ratio`] | the ratio of two medians with its 95 % confidence interval |
//! | [`rows`] | pairs the rows and judges each |
//! | [`table`] | the result for people |
//!
//! # What is called different
//! A row is `slower` if the whole interval of the ratio B / A lies above 1 + noise, `faster` if it lies below
//! 1 / (1 + noise), and otherwise `same`. The interval is what chance does *within* the two runs. Noise is what differs
//! *between* runs of the same thing, which no interval of one run can hold: where pages and code happen to lie, what else
//! the host does. It is at least [`noise_percent`], and more where a row's own A/A measurement says so. A row whose
//! checks failed in either file is not judged: it measured something else; nor is one with fewer than [`SAMPLES_MIN`](super::quantiles::SAMPLES_MIN) samples.
//!
//! Source: Mytkowicz and others 2009, "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS; Kalibera and
//! Jones 2013, "Rigorous Benchmarking in Reasonable Time", ISMM.

mod pair;
mod ratio;
mod rows;
pub mod table;

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::key::RowKey;
use super::model::{CostUnit, Report};

/// Name and version of the JSON's shape.
pub const SCHEMA: &str = "faultlab.comparison/1";

/// How far the medians of two runs of the same thing may lie apart, in percent, unless the caller knows better.
///
/// Measured on a host with emulated ring 0: two runs while it was idle differed by up to 1.4 % in the median of a row, and
/// eight while it compiled something by up to 47 %, which only a row's own A/A measurement can tell. In the simulated
/// machine, another binary or working directory moves a row by up to 0.3 %.
#[must_use]
pub fn noise_percent(unit: CostUnit) -> f64 {
    match unit {
        CostUnit::Cycles => 2.0,
        CostUnit::Instructions => 0.5,
    }
}

/// Two files, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// One for each report of A that B has a counterpart of.
    pub pairs: Vec<Pair>,
    /// Hosts of reports that only A has.
    pub reports_only_in_a: Vec<String>,
    /// Hosts of reports that only B has.
    pub reports_only_in_b: Vec<String>,
}

/// Two reports, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// A's host in a few words.
    pub host_a: String,
    /// B's host in a few words.
    pub host_b: String,
    /// The unit of everything called cycles, the same in both.
    pub cost_unit: CostUnit,
    /// What makes the two hard to compare, one sentence each.
    pub warnings: Vec<String>,
    /// Which faultlab measured, where the two differ.
    pub differs: Vec<Difference>,
    /// Whether B ended before all was measured.
    pub b_is_partial: bool,
    /// Rows that both have, in A's order.
    pub rows: Vec<Row>,
    /// Rows that only A has.
    pub only_in_a: Vec<RowKey>,
    /// Rows that only B has.
    pub only_in_b: Vec<RowKey>,
}

/// A fact that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name in the report's `host` or `vm`.
    pub field: String,
    /// In A.
    pub a: String,
    /// In B.
    pub b: String,
}

/// A row that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    #[serde(flatten)]
    pub key: RowKey,
    /// A's median, in cycles.
    pub a_p50_cycles: u64,
    /// B's median, in cycles.
    pub b_p50_cycles: u64,
    /// B's median divided by A's; absent if either is zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The range that holds the true ratio with 95 % confidence. Absent as `ratio`, and with too few samples; an infinite end is `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_interval: Option<[f64; 2]>,
    /// Differences up to this are noise, in percent.
    pub noise_percent: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// What is said of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No difference beyond interval and noise.
    Same,
    /// B costs less.
    Faster,
    /// B costs more.
    Slower,
    /// Fewer than [`SAMPLES_MIN`](super::quantiles::SAMPLES_MIN) samples in A or B: their medians may be anywhere.
    TooFew,
    /// Its checks failed in A or B, so its cost is not that of the scenario.
    Unsound,
}

impl Verdict {
    /// As the table names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::TooFew => "too few samples",
            Verdict::Unsound => "checks FAILED",
        }
    }
}

/// Why two files cannot be compared. One line, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Cycles are time, instructions are not.
    #[error("A counts {a} and B {b}; compare reports of one unit")]
    Units {
        /// A's unit.
        a: &'static str,
        /// B's unit.
        b: &'static str,
    },
    /// Collections without a machine in common.
    #[error("no report of B is of a machine that A has ({a}); compare reports of the same machines")]
    NothingInCommon {
        /// The machines in A.
        a: String,
    },
}

impl Comparison {
    /// Compares the reports `a` with `b`, at least one each. `noise` replaces [`noise_percent`], in percent.
    ///
    /// # Errors
    /// They have different units, or no machine in common.
    pub fn of(a: &[Report], b: &[Report], noise: Option<f64>) -> Result<Self, Refusal> {
        let pair::Pairing {
            pairs,
            only_in_a,
            only_in_b,
        } = pair::reports(a, b)?;
        let compared = pairs.into_iter().map(|(a, b)| Pair::of(a, b, noise));
        Ok(Self {
            schema: SCHEMA,
            pairs: compared.collect(),
            reports_only_in_a: only_in_a.into_iter().map(pair::host).collect(),
            reports_only_in_b: only_in_b.into_iter().map(pair::host).collect(),
        })
    }

    /// Whether a row is slower by more than `percent` beyond doubt, or cannot be judged: its checks failed, it has too few samples, or it is
    /// not in B. A partial B cannot be judged, either.
    #[must_use]
    pub fn fails(&self, percent: f64) -> bool {
        let gone = |pair: &Pair| pair.b_is_partial || !pair.only_in_a.is_empty();
        self.has_slower(percent) || !self.reports_only_in_a.is_empty() || self.pairs.iter().any(gone)
    }

    fn has_slower(&self, percent: f64) -> bool {
        let rows = self.pairs.iter().flat_map(|pair| &pair.rows);
        let slower = |row: &Row| match row.verdict {
            Verdict::Slower => row.ratio_interval.is_none_or(|[low, _]| low > 1.0 + percent / 100.0),
            Verdict::Unsound | Verdict::TooFew => true,
            Verdict::Same | Verdict::Faster => false,
        };
        rows.into_iter().any(slower)
    }
}

impl Pair {
    fn of(a: &Report, b: &Report, noise: Option<f64>) -> Self {
        let noise = noise.unwrap_or_else(|| noise_percent(a.cost_unit));
        let rows::Rows {
            both,
            only_in_a,
            only_in_b,
        } = rows::of(a, b, noise);
        Self {
            host_a: pair::host(a),
            host_b: pair::host(b),
            cost_unit: a.cost_unit,
            warnings: pair::warnings(a, b),
            differs: pair::software(a, b),
            b_is_partial: b.partial,
            rows: both,
            only_in_a,
            only_in_b,
        }
    }
}
