//! The report as GitHub's Markdown, for a comment: the host, a table, and what the table's footer says.
//!
//! Text from the report stands in code spans and code blocks only, where nothing is markup, a link or a mention.
//!
//! Source: GitHub Flavored Markdown, <https://github.github.com/gfm/>, 4.10 (tables), 6.3 (code spans).

use std::fmt::Write;

use super::key::{Naming, RowKey};
use super::model::{CostUnit, Report, Scenario};
use super::table::{CounterColumn, counter_columns, explained, notes, short};
use super::{four_way, header, host_side, stage_table};

/// All of `reports`, one table each.
#[must_use]
pub fn render(reports: &[Report]) -> String {
    let parts: Vec<String> = reports.iter().map(one).collect();
    parts.join("\n")
}

fn one(report: &Report) -> String {
    let mut text = block(&header::lines(report));
    text.push('\n');
    if report.scenarios.is_empty() {
        text.push_str("Nothing was measured.\n");
    } else {
        table(&mut text, report);
    }
    text.push('\n');
    let explained = explained(report).map(str::to_owned).into_iter();
    let notes = notes(report, host_side::warnings(report));
    text.push_str(&block(&explained.chain(notes).collect::<Vec<_>>()));
    four_way_table(&mut text, report);
    // Wide tables that people read row by row: as they stand on a terminal.
    let stages = stage_table::render(report);
    if !stages.is_empty() {
        text.push('\n');
        text.push_str(&block(&stages.trim().lines().map(str::to_owned).collect::<Vec<_>>()));
    }
    text
}

fn table(text: &mut String, report: &Report) {
    let counters = counter_columns(report);
    let unit = report.cost_unit.name();
    let mut names = vec!["scenario".to_owned(), "count".to_owned()];
    names.extend(["p50", "p99"].map(|quantile| format!("{quantile}, {unit}")));
    if report.cost_unit == CostUnit::Cycles {
        names.extend(["p50, ns".to_owned(), "p99, ns".to_owned()]);
    }
    names.extend(counters.iter().map(|column| span(column.name)));
    if host_side::is_asked_for(report) {
        names.extend(["exit to entry p50, ns", "of it host fault"].map(str::to_owned));
    }
    names.push("check".to_owned());
    line(text, &names);
    let numbers = names.len() - 2;
    let rule = std::iter::once(":--").chain(std::iter::repeat_n("--:", numbers));
    line(text, &rule.chain([":--"]).map(str::to_owned).collect::<Vec<_>>());
    let naming = Naming::of_rows(&report.scenarios);
    for row in &report.scenarios {
        line(text, &cells(row, report, naming, &counters));
    }
}

/// Small and huge pages, if the report has both.
fn four_way_table(text: &mut String, report: &Report) {
    let rows = four_way::rows(report);
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}\n", four_way::caption(report));
    line(text, &four_way::HEADINGS.map(str::to_owned));
    let rule = (0..four_way::HEADINGS.len()).map(|at| if at < four_way::WORDS { ":--" } else { "--:" });
    line(text, &rule.map(str::to_owned).collect::<Vec<_>>());
    for mut row in rows {
        // What the report calls its backing is text like any other.
        row[four_way::WORDS - 1] = span(&row[four_way::WORDS - 1]);
        line(text, &row);
    }
}

fn cells(row: &Scenario, report: &Report, naming: Naming, counters: &[&CounterColumn]) -> Vec<String> {
    let mut cells = vec![span(&naming.name(&RowKey::of(row))), row.count.to_string()];
    cells.extend([row.cycles.p50, row.cycles.p99].map(|cycles| cycles.to_string()));
    if report.cost_unit == CostUnit::Cycles {
        cells.extend([row.ns.p50, row.ns.p99].map(short));
    }
    let counted = counters
        .iter()
        .map(|column| column.of(row).map_or_else(|| "-".to_owned(), short));
    cells.extend(counted);
    if host_side::is_asked_for(report) {
        cells.extend(host_side::cells(row));
    }
    cells.push(if row.adds_up() { "ok" } else { "**FAIL**" }.to_owned());
    cells
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// `text` as a code span that is a table's cell.
fn span(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}

/// `lines` as a code block. None of them begins with a fence.
fn block(lines: &[String]) -> String {
    let mut text = "```text\n".to_owned();
    for line in lines {
        text.push_str(&line.replace('`', "'"));
        text.push('\n');
    }
    text + "```\n"
}

#[cfg(test)]
mod tests {
    use super::super::measured::Regime;
    use super::super::testing::report;
    use super::*;
    use crate::host_events::HostSide;

    #[test]
    fn a_table_for_a_comment() {
        let mut report = report(Regime::TwoDimensional);
        report.scenarios.truncate(2);
        report.scenarios[1].checks[0].ok = false;
        let text = render(std::slice::from_ref(&report));
        let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(
            table,
            [
                "| scenario | count | p50, cycles | p99, cycles | p50, ns | p99, ns | `pgfault` | `pgmajfault` | \
                 `pgalloc` | `pswpout` | `pswpin` | `pf_taken` | `exits` | `insn_emulation` | `minflt` | check |",
                "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | :-- |",
                "| `warm-touch` | 100 | 1049 | 1098 | 524 | 549 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | ok |",
                "| `minor` | 100 | 2049 | 2098 | 1024 | 1049 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | **FAIL** |",
            ]
        );
        assert!(
            text.starts_with("```text\nhost  Test CPU, ") && text.contains("\nFAIL minor: count "),
            "{text}"
        );
        report.cost_unit = CostUnit::Instructions;
        let text = render(&[report.clone(), report]);
        assert!(
            text.contains("| p99, instructions | `pgfault` |") && !text.contains(", ns"),
            "{text}"
        );
        assert_eq!(text.matches("```text\nhost ").count(), 2);
    }

    #[test]
    fn the_hosts_side_has_columns_if_it_was_asked_for() {
        let mut report = report(Regime::TwoDimensional);
        report.scenarios.truncate(2);
        let unavailable = "no tracefs".to_owned();
        report.scenarios[0].host_side = Some(HostSide::Unavailable { unavailable });
        let text = render(&[report]);
        let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert!(
            table[0].ends_with("| `minflt` | exit to entry p50, ns | of it host fault | check |"),
            "{text}"
        );
        assert!(table[2].ends_with("| not permitted | not permitted | ok |"), "{text}");
        assert!(table[3].ends_with("| - | - | ok |"), "{text}");
        assert_eq!(
            table[1].matches("--:").count() + 2,
            table[0].matches(" | ").count() + 1,
            "{text}"
        );
    }

    #[test]
    fn hostile_text_is_no_markup() {
        let mut report = report(Regime::Shadow);
        report.scenarios[0].name = "a|b`<img src=x> @everyone".to_owned();
        report.scenarios[0].checks[0].ok = false;
        report.host.insert("cpu_model".to_owned(), "``` @everyone".into());
        let text = render(&[report]);
        assert!(text.contains("| `a\\|b'<img src=x> @everyone` | 100 |"), "{text}");
        // Two blocks, two fences each.
        assert_eq!(text.matches("```").count(), 4, "{text}");
    }
}
