//! Closure: the instrument against itself.
//!
//! What the host charges for a cold page is learnt in two ways that share no code path in the guest: (alloc-cold −
//! alloc-warm) and (second-level-only − warm-touch), both of medians. They should agree. How far apart they may lie by
//! chance is taken from three sources: the sampling of each median, by how much each row differs from itself when it is
//! measured again, and the resolution of the counter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Scenario;
use super::quantiles::SAMPLES_MIN;

/// The two ways, on one backing and in one pattern. Informational: it judges the instrument, not a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Closure {
    /// Of the rows.
    #[serde(default)]
    pub backing: String,
    /// Of the rows.
    #[serde(default)]
    pub pattern: String,
    /// alloc-cold − alloc-warm, p50, cycles.
    pub alloc_difference_cycles: i64,
    /// second-level-only − warm-touch, p50, cycles.
    pub second_level_difference_cycles: i64,
    /// How far the first is from the second, in percent of the second.
    pub error_percent: f64,
    /// How far the two may lie apart by chance, in cycles: of each of the four rows the larger of its median's 95 % interval and its
    /// A/A noise floor, combined; at least 1.
    pub noise_cycles: u64,
}

impl Closure {
    /// Every closure that `scenarios` have the rows for, in their order.
    #[must_use]
    pub fn all_of(scenarios: &[Scenario]) -> Vec<Self> {
        let starts = scenarios.iter().filter(|row| row.name == "alloc-cold");
        starts.filter_map(|row| Self::beside(row, scenarios)).collect()
    }

    /// The closure of this alloc-cold row, when the three others are there, the second-level fault costs something, and each median is of
    /// enough samples.
    fn beside(cold: &Scenario, scenarios: &[Scenario]) -> Option<Self> {
        let alike = |row: &&Scenario| {
            (&row.backing, &row.pattern, &row.access) == (&cold.backing, &cold.pattern, &cold.access)
                && row.count >= SAMPLES_MIN
        };
        let row = |name: &str| scenarios.iter().filter(alike).find(|row| row.name == name);
        let rows = [
            row("alloc-cold")?,
            row("alloc-warm")?,
            row("second-level-only")?,
            row("warm-touch")?,
        ];
        let difference = |from: &Scenario, what: &Scenario| from.cycles.p50.wrapping_sub(what.cycles.p50) as i64;
        let (alloc, second_level) = (difference(rows[0], rows[1]), difference(rows[2], rows[3]));
        if second_level == 0 {
            return None;
        }
        let error_percent = (alloc as f64 - second_level as f64) / second_level as f64 * 100.0;
        // Independent errors add in squares.
        let noise = rows.map(uncertainty).iter().map(|each| each * each).sum::<f64>().sqrt();
        Some(Self {
            backing: cold.backing.clone(),
            pattern: cold.pattern.clone(),
            alloc_difference_cycles: alloc,
            second_level_difference_cycles: second_level,
            error_percent: super::quantiles::round_milli(error_percent),
            noise_cycles: (noise.round() as u64).max(1),
        })
    }

    /// Whether the difference is no larger than chance explains.
    #[must_use]
    pub fn within_noise(&self) -> bool {
        self.alloc_difference_cycles
            .abs_diff(self.second_level_difference_cycles)
            <= self.noise_cycles
    }
}

/// How uncertain a row's median is, in cycles.
fn uncertainty(row: &Scenario) -> f64 {
    let sampling = row.p50_interval_cycles[1].saturating_sub(row.p50_interval_cycles[0]) as f64 / 2.0;
    sampling.max(row.noise_floor_cycles.unwrap_or(0) as f64)
}

#[cfg(test)]
#[path = "closure_tests.rs"]
mod tests;
