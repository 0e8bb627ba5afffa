//! The rules: which differences between a baseline and a run are told, and which fail.
//!
//! | a scenario's median | verdict |
//! |---|---|
//! | more than [`TOLERANCE_PERCENT`] above the baseline's | [`Verdict::Dearer`], fails |
//! | more than [`TOLERANCE_PERCENT`] below | [`Verdict::Cheaper`], told: unrecorded, the gain could be lost unnoticed |
//! | between | [`Verdict::Same`] |
//! | only in the run | [`Verdict::New`], fails: nothing guards it |
//! | only in the baseline | [`Verdict::Gone`], fails |

use super::TOLERANCE_PERCENT;
use super::baseline::{Baseline, Cost};

/// What the comparison says of one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Same,
    /// Above it.
    Dearer,
    /// Below it.
    Cheaper,
    /// Not in the baseline.
    New,
    /// Not in the run.
    Gone,
}

impl Verdict {
    /// Whether the gate lets it through.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Verdict::Same | Verdict::Cheaper)
    }
}

/// One scenario, before and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The scenario.
    pub name: String,
    /// As recorded.
    pub before: Option<Cost>,
    /// As measured.
    pub now: Option<Cost>,
    /// What that means.
    pub verdict: Verdict,
}

impl Change {
    /// How far the median moved, in percent of the recorded one; `None` where that has no meaning.
    #[must_use]
    pub fn p50_percent(&self) -> Option<f64> {
        self.percent(|cost| cost.p50 as f64)
    }

    /// The same of the mean.
    #[must_use]
    pub fn mean_percent(&self) -> Option<f64> {
        self.percent(|cost| cost.mean)
    }

    fn percent(&self, of: fn(&Cost) -> f64) -> Option<f64> {
        let (before, now) = (of(self.before.as_ref()?), of(self.now.as_ref()?));
        (before > 0.0).then(|| (now - before) / before * 100.0)
    }
}

/// A run beside the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Scenarios of the run, in its order, then those that are gone.
    pub changes: Vec<Change>,
    /// What the baseline holds for that is otherwise now: (what, recorded, now).
    pub other_versions: Vec<(&'static str, String, String)>,
}

impl Comparison {
    /// Compares the run `now` with the recorded `before`.
    #[must_use]
    pub fn of(before: &Baseline, now: &Baseline) -> Self {
        let find = |costs: &[Cost], name: &str| costs.iter().find(|cost| cost.name == name).cloned();
        let measured = now
            .instructions
            .iter()
            .map(|cost| change(find(&before.instructions, &cost.name), Some(cost.clone())));
        let gone = before
            .instructions
            .iter()
            .filter(|cost| find(&now.instructions, &cost.name).is_none())
            .map(|cost| change(Some(cost.clone()), None));
        Self {
            changes: measured.chain(gone).collect(),
            other_versions: other_versions(before, now),
        }
    }

    /// Whether every scenario passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.changes.iter().all(|change| change.verdict.passes())
    }

    /// Names of the scenarios with this verdict.
    #[must_use]
    pub fn named(&self, verdict: Verdict) -> Vec<&str> {
        let chosen = self.changes.iter().filter(|change| change.verdict == verdict);
        chosen.map(|change| change.name.as_str()).collect()
    }
}

fn change(before: Option<Cost>, now: Option<Cost>) -> Change {
    let verdict = match (&before, &now) {
        (Some(before), Some(now)) => judge(before.p50, now.p50),
        (None, _) => Verdict::New,
        (Some(_), None) => Verdict::Gone,
    };
    let name = now
        .as_ref()
        .or(before.as_ref())
        .map_or_else(String::new, |cost| cost.name.clone());
    Change {
        name,
        before,
        now,
        verdict,
    }
}

/// In whole numbers, so that the limit is exact: 100 may become 101.
fn judge(before: u64, now: u64) -> Verdict {
    let (before, now) = (u128::from(before), u128::from(now));
    let tolerance = u128::from(TOLERANCE_PERCENT);
    if now * 100 > before * (100 + tolerance) {
        Verdict::Dearer
    } else if now * 100 < before * (100 - tolerance) {
        Verdict::Cheaper
    } else {
        Verdict::Same
    }
}

fn other_versions(before: &Baseline, now: &Baseline) -> Vec<(&'static str, String, String)> {
    let (held, holds) = (&before.holds_for, &now.holds_for);
    let pairs = [
        ("machine", &before.machine, &now.machine),
        ("toolchain", &held.toolchain, &holds.toolchain),
        ("Linux", &held.linux, &holds.linux),
        ("simulator", &held.simulator, &holds.simulator),
    ];
    let differing = pairs.into_iter().filter(|(_, before, now)| before != now);
    differing
        .map(|(what, before, now)| (what, before.clone(), now.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::baseline::tests::baseline;
    use super::*;

    /// The comparison after `edit` changed the run.
    fn after(edit: impl FnOnce(&mut Baseline)) -> Comparison {
        let mut now = baseline();
        edit(&mut now);
        Comparison::of(&baseline(), &now)
    }

    #[test]
    fn the_same_run_passes() {
        let comparison = after(|_| {});
        assert!(comparison.passes() && comparison.other_versions.is_empty());
        assert_eq!(comparison.named(Verdict::Same), ["minor", "alloc-cold"]);
        assert_eq!(comparison.changes[0].p50_percent(), Some(0.0));
    }

    #[test]
    fn one_percent_is_the_limit_to_the_instruction() {
        for (p50, verdict) in [
            (10_101, Verdict::Dearer),
            (10_100, Verdict::Same),
            (9_900, Verdict::Same),
            (9_899, Verdict::Cheaper),
        ] {
            let comparison = after(|now| now.instructions[1].p50 = p50);
            assert_eq!(comparison.changes[1].verdict, verdict, "{p50}");
            assert_eq!(comparison.passes(), verdict != Verdict::Dearer, "{p50}");
        }
        assert_eq!(judge(5, 6), Verdict::Dearer, "one instruction of five");
        assert_eq!((judge(0, 0), judge(0, 1)), (Verdict::Same, Verdict::Dearer));
        assert_eq!(judge(u64::MAX, u64::MAX), Verdict::Same);
    }

    #[test]
    fn the_mean_is_told_and_not_judged() {
        let comparison = after(|now| now.instructions[1].mean *= 2.0);
        assert_eq!(comparison.changes[1].mean_percent(), Some(100.0));
        assert!(comparison.passes());
    }

    #[test]
    fn a_scenario_that_one_side_lacks_fails() {
        let gone = after(|now| drop(now.instructions.remove(0)));
        assert_eq!(gone.named(Verdict::Gone), ["minor"]);
        assert_eq!(gone.changes.last().unwrap().p50_percent(), None);
        let new = after(|now| now.instructions[0].name = "fork".to_owned());
        assert_eq!(
            (new.named(Verdict::New), new.named(Verdict::Gone)),
            (vec!["fork"], vec!["minor"])
        );
        assert!(!gone.passes() && !new.passes());
    }

    #[test]
    fn other_versions_are_told_and_excuse_nothing() {
        let versions = |comparison: Comparison| {
            let whats = comparison.other_versions.iter().map(|(what, _, _)| *what);
            (whats.collect::<Vec<_>>(), comparison.passes())
        };
        assert_eq!(
            versions(after(|now| now.holds_for.toolchain.push('1'))),
            (vec!["toolchain"], true)
        );
        assert_eq!(
            versions(after(|now| now.holds_for.linux.push('1'))),
            (vec!["Linux"], true)
        );
        assert_eq!(
            versions(after(|now| now.holds_for.simulator.push('1'))),
            (vec!["simulator"], true)
        );
        assert_eq!(
            versions(after(|now| now.machine = "rig:intel:icount".into())),
            (vec!["machine"], true)
        );
        let dearer = after(|now| {
            now.holds_for.linux = "6.2.0".to_owned();
            now.instructions[1].p50 += 101;
        });
        assert_eq!(
            dearer.other_versions,
            [("Linux", "6.1.0".to_owned(), "6.2.0".to_owned())]
        );
        assert!(!dearer.passes());
    }
}
