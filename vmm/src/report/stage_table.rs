//! Where the time of each row's faults went, for people: a line a stage, a column a row that was traced.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::key::{Naming, RowKey};
use super::model::Report;
use super::stages::Stages;

/// Columns that fit into 120 characters beside the stages' names.
const ROWS_ABREAST: usize = 6;

/// The table of `report`, every line ended; nothing if it was measured without tracing.
#[must_use]
pub fn render(report: &Report) -> String {
    let naming = Naming::of_rows(&report.scenarios);
    let rows = report.scenarios.iter();
    let traced: Vec<(String, &Stages)> = rows
        .filter_map(|row| Some((naming.name(&RowKey::of(row)), row.stages.as_ref()?)))
        .collect();
    let mut text = String::new();
    for abreast in traced.chunks(ROWS_ABREAST) {
        text.push('\n');
        for line in table(abreast, report.cost_unit.name()).lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    if !traced.is_empty() {
        text.push_str(
            "Mean of a fault, tracing included: each stage is charged what passed since the one before it.\n",
        );
    }
    text.push_str(&explanations(traced.iter().map(|(_, stages)| *stages)));
    for (name, stages) in traced.iter().filter(|(_, stages)| stages.lost > 0) {
        let (records, lost) = (stages.records, stages.lost);
        text.push_str(&format!(
            "{name}: from its last {records} records; {lost} older ones were overwritten.\n"
        ));
    }
    text
}

/// What is said of `rows` beside their stages: whole sentences, a line each.
pub(super) fn explanations<'a>(rows: impl Iterator<Item = &'a Stages> + Clone) -> String {
    let mut text = String::new();
    if rows.clone().any(|stages| stages.apart_percent.is_some()) {
        text.push_str(
            "The row: the mean as the program timed it. Apart: what the sum of the stages is from it; the trap, its return and, of a call, what lies around it\nare in no stage.\n",
        );
    }
    if let Some(error) = rows.filter_map(|stages| stages.clock_error_cycles).max() {
        text.push_str(&format!(
            "From doorbell exit to return to guest the host's clock counts, on which the guest's is exact to {error}.\n"
        ));
    }
    text
}

/// Every stage that any of `rows` has, each once, in the order of a fault as far as the first of them has it.
pub(super) fn stage_names<'a>(rows: impl Iterator<Item = &'a Stages>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for stages in rows {
        // A new stage stands behind the one that it follows in its own row; one that follows none, at the end.
        let mut after = None;
        for cost in &stages.stages {
            let at = names.iter().position(|name| *name == cost.stage).unwrap_or_else(|| {
                let at = after.map_or(names.len(), |before| before + 1);
                names.insert(at, &cost.stage);
                at
            });
            after = Some(at);
        }
    }
    names
}

fn table(rows: &[(String, &Stages)], unit: &str) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty();
    let names = rows.iter().map(|(name, _)| name.clone());
    table.set_header([format!("stage, {unit}")].into_iter().chain(names));
    for name in stage_names(rows.iter().map(|(_, stages)| *stages)) {
        let mean = |stages: &Stages| {
            let cost = stages.stages.iter().find(|cost| cost.stage == name)?;
            Some(format!("{:.0}", stages.mean_cycles(cost)))
        };
        let means = rows
            .iter()
            .map(|(_, stages)| mean(stages).unwrap_or_else(|| "-".to_owned()));
        table.add_row([name.to_owned()].into_iter().chain(means));
    }
    let sums = rows
        .iter()
        .map(|(_, stages)| format!("{:.0}", stages.mean_sum_cycles()));
    table.add_row(["all".to_owned()].into_iter().chain(sums).map(Cell::new));
    if rows.iter().any(|(_, stages)| stages.whole_mean_cycles.is_some()) {
        let shown = |of: fn(&Stages) -> Option<String>| {
            let cells = rows.iter().map(move |(_, stages)| of(stages));
            cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
        };
        let whole = shown(|stages| stages.whole_mean_cycles.map(|mean| format!("{mean:.0}")));
        let apart = shown(|stages| stages.apart_percent.map(|percent| format!("{percent:+.1} %")));
        table.add_row(["the row".to_owned()].into_iter().chain(whole));
        table.add_row(["apart".to_owned()].into_iter().chain(apart));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at == 0 { 0 } else { 2 }, 0));
        if at > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::hostile_tests::full;
    use super::super::stages::StageCost;
    use super::*;

    #[test]
    fn a_line_a_stage_and_a_column_a_row() {
        let mut report = full();
        let cost = |stage: &str, count, total_cycles| StageCost {
            stage: stage.to_owned(),
            count,
            total_cycles,
            ..StageCost::default()
        };
        let stages = vec![
            cost("find_vma", 4, 400),
            cost("alloc_pages", 2, 300),
            cost("set_pte", 4, 40),
        ];
        let (records, lost) = (12, 0);
        report.scenarios[2].stages = Some(Stages {
            records,
            lost,
            stages,
            ..Stages::default()
        });
        let text = render(&report);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["stage,", "cycles", "minor", "alloc-warm"]);
        assert_eq!(lines[2], ["find_vma", "300", "100"]);
        assert_eq!(lines[3], ["alloc_pages", "-", "75"]);
        assert_eq!(lines[4], ["set_pte", "100", "10"]);
        assert_eq!(lines[5], ["all", "400", "185"]);
        assert_eq!(lines[6], ["the", "row", "420", "-"]);
        assert_eq!(lines[7], ["apart", "-4.8", "%", "-"]);
        assert!(text.contains("exact to 5.\n"), "{text}");
        assert!(
            text.ends_with("minor: from its last 10 records; 3 older ones were overwritten.\n"),
            "{text}"
        );
        report.scenarios.iter_mut().for_each(|row| row.stages = None);
        assert_eq!(render(&report), "");
    }
}
