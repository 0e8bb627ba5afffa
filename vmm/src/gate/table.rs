//! The comparison as text: one line a scenario, what moved marked, and what to do about it.

use comfy_table::Table;

use super::TOLERANCE_PERCENT;
use super::baseline::Baseline;
use super::compare::{Change, Comparison, Verdict};
use crate::report::plain;

/// The table of `comparison`, every line ended. `now` is the run; `record` is the command that makes it the baseline.
#[must_use]
pub fn render(comparison: &Comparison, now: &Baseline, record: &str) -> String {
    let mut text = conditions(now);
    text.push('\n');
    for line in grid(comparison).lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    for line in footer(comparison, record) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// What the run holds for, every line ended.
#[must_use]
pub fn conditions(now: &Baseline) -> String {
    let holds = &now.holds_for;
    format!(
        "simulated: {}, one cycle = one instruction\nLinux {}, {}, {} pages a scenario\n",
        holds.simulator, holds.linux, holds.toolchain, now.pages
    )
}

fn grid(comparison: &Comparison) -> Table {
    let mut table = plain::table(false);
    table.set_header([
        "\nscenario",
        "instructions, p50\nbaseline",
        "\nnow",
        "\nchange",
        "mean\nnow",
        "\nchange",
        "\n",
    ]);
    for change in &comparison.changes {
        table.add_row(cells(change));
    }
    plain::align(&mut table, 2, plain::outer);
    table
}

fn cells(change: &Change) -> [String; 7] {
    let none = || "-".to_owned();
    let percent = |percent: Option<f64>| percent.map_or_else(none, |percent| format!("{percent:+.2} %"));
    let p50 = |cost: &Option<super::Cost>| cost.as_ref().map_or_else(none, |cost| cost.p50.to_string());
    let mark = match change.verdict {
        Verdict::Same => "ok",
        Verdict::Dearer => "FAIL costs more",
        Verdict::Cheaper => "costs less",
        Verdict::New => "FAIL not in the baseline",
        Verdict::Gone => "FAIL not measured",
    };
    [
        change.name.clone(),
        p50(&change.before),
        p50(&change.now),
        percent(change.p50_percent()),
        change
            .now
            .as_ref()
            .map_or_else(none, |cost| format!("{:.1}", cost.mean)),
        percent(change.mean_percent()),
        mark.to_owned(),
    ]
}

fn footer(comparison: &Comparison, record: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (what, before, now) in &comparison.other_versions {
        lines.push(format!("The baseline holds for another {what}: {before}; now {now}."));
    }
    let moved = comparison.changes.iter().any(|change| change.verdict != Verdict::Same);
    if moved && comparison.other_versions.is_empty() {
        lines.push("Toolchain, Linux and simulator are the baseline's: what moved is faultlab's own code.".to_owned());
    }
    for (verdict, what) in [
        (Verdict::Dearer, format!("More than {TOLERANCE_PERCENT} % dearer")),
        (Verdict::New, "Not in the baseline".to_owned()),
        (Verdict::Gone, "Not measured".to_owned()),
        (Verdict::Cheaper, format!("More than {TOLERANCE_PERCENT} % cheaper")),
    ] {
        let names = comparison.named(verdict);
        if !names.is_empty() {
            let mark = if verdict.passes() { "" } else { "FAIL " };
            lines.push(format!("{mark}{what}: {}", names.join(", ")));
        }
    }
    lines.push(match (comparison.passes(), moved) {
        (true, false) => format!("No scenario moved by more than {TOLERANCE_PERCENT} %."),
        (true, true) => format!("To keep the gain, record it: {record}"),
        (false, _) => format!("If that is meant, record it: {record}"),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::super::baseline::tests::baseline;
    use super::*;

    fn rendered(edit: impl FnOnce(&mut Baseline)) -> String {
        let mut now = baseline();
        edit(&mut now);
        render(&Comparison::of(&baseline(), &now), &now, "RECORD")
    }

    #[test]
    fn nothing_moved() {
        let expected = "\
simulated: QEMU 7.2, one cycle = one instruction
Linux 6.1.0, rustc 1.95.0, 512 pages a scenario

            instructions, p50                     mean
scenario             baseline    now   change      now   change
minor                     352    352  +0.00 %    353.5  +0.00 %  ok
alloc-cold              10000  10000  +0.00 %  12000.0  +0.00 %  ok

No scenario moved by more than 1 %.
";
        let text = rendered(|_| {});
        assert!(text == expected, "it is now:\n{text}");
    }

    #[test]
    fn what_moved_is_told_with_the_command() {
        let text = rendered(|now| {
            now.instructions[0].p50 = 300;
            now.instructions[1].p50 = 10_500;
            now.instructions.push(super::super::Cost {
                name: "fork".to_owned(),
                p50: 1,
                mean: 1.0,
            });
        });
        for line in [
            "FAIL More than 1 % dearer: alloc-cold",
            "FAIL Not in the baseline: fork",
            "More than 1 % cheaper: minor",
            "If that is meant, record it: RECORD",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("+5.00 %") && text.contains("-14.77 %"), "{text}");
        assert!(text.contains("what moved is faultlab's own code"), "{text}");
    }

    #[test]
    fn a_gain_alone_passes_and_is_pointed_out() {
        let text = rendered(|now| now.instructions[0].p50 = 300);
        assert!(text.ends_with("To keep the gain, record it: RECORD\n"), "{text}");
        assert!(!text.contains("FAIL"), "{text}");
    }

    #[test]
    fn another_version_is_told_even_if_nothing_moved() {
        let text = rendered(|now| now.holds_for.linux = "6.2.0".to_owned());
        assert!(
            text.contains("another Linux: 6.1.0; now 6.2.0.\nNo scenario moved"),
            "{text}"
        );
    }
}
