//! A comparison for people: what differs besides the rows, one line a row, and what the words mean.

use comfy_table::{Cell, Color, Table};

use super::{Comparison, Pair, Row, Verdict};
use crate::report::key::{Naming, RowKey};
use crate::report::plain;

/// The comparison as plain text, every line ended; colours only when asked for.
#[must_use]
pub fn render(comparison: &Comparison, colours: bool) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    for pair in &comparison.pairs {
        head(pair).iter().for_each(|each| line(each));
        line("");
        if !pair.rows.is_empty() {
            grid(pair, colours).lines().for_each(|each| line(&each));
            line("");
        }
        rest(pair).iter().for_each(|each| line(each));
        line("");
    }
    for (name, hosts) in [
        ("A", &comparison.reports_only_in_a),
        ("B", &comparison.reports_only_in_b),
    ] {
        hosts
            .iter()
            .for_each(|host| line(&format!("only in {name}, a report of {host}")));
    }
    line(
        "B/A: ratio of the medians, and the range that holds the true ratio with 95 % confidence. Different is what lies",
    );
    line(
        "beyond 1 by more than the noise with the whole range: noise is what two runs of the same thing may differ by.",
    );
    text
}

fn head(pair: &Pair) -> Vec<String> {
    let mut lines = if pair.host_a == pair.host_b {
        vec![format!("A, B  {}", pair.host_a)]
    } else {
        vec![format!("A     {}", pair.host_a), format!("B     {}", pair.host_b)]
    };
    let differs = pair.differs.iter();
    lines.extend(differs.map(|it| format!("      {}: {} in A, {} in B", it.field, it.a, it.b)));
    lines.extend(pair.warnings.iter().map(|warning| format!("WARNING: {warning}")));
    lines
}

fn grid(pair: &Pair, colours: bool) -> Table {
    let mut table = plain::table(colours);
    let unit = pair.cost_unit.name();
    let names = ["", &format!("{unit}, p50"), "", "", "95 %", "", "", ""];
    let second = ["scenario", "A", "B", "B/A", "from", "to", "noise", "verdict"];
    table.set_header(
        names
            .iter()
            .zip(second)
            .map(|(first, second)| Cell::new(format!("{first}\n{second}"))),
    );
    let keys: Vec<RowKey> = pair.rows.iter().map(|row| row.key.clone()).collect();
    let naming = Naming::of(&keys);
    for row in &pair.rows {
        table.add_row(cells(row, naming));
    }
    plain::align(&mut table, 2, plain::outer);
    table
}

fn cells(row: &Row, naming: Naming) -> Vec<Cell> {
    let ratio = |value: f64| {
        if value < 100.0 {
            format!("{value:.4}")
        } else {
            format!("{value:.3e}")
        }
    };
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), ratio);
    let colour = match row.verdict {
        Verdict::Same => Color::Reset,
        Verdict::Faster => Color::Green,
        Verdict::Slower | Verdict::Unsound => Color::Red,
        Verdict::TooFew => Color::Yellow,
    };
    vec![
        Cell::new(naming.name(&row.key)),
        Cell::new(row.a_p50_cycles),
        Cell::new(row.b_p50_cycles),
        Cell::new(shown(row.ratio)),
        Cell::new(shown(row.ratio_interval.map(|ends| ends[0]))),
        Cell::new(shown(row.ratio_interval.map(|ends| ends[1]))),
        Cell::new(format!("{:.1} %", row.noise_percent)),
        Cell::new(row.verdict.name()).fg(colour),
    ]
}

/// Rows that one side lacks, and the sum of it all.
fn rest(pair: &Pair) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, keys) in [("A", &pair.only_in_a), ("B", &pair.only_in_b)] {
        if !keys.is_empty() {
            let naming = Naming::of(keys);
            let names: Vec<String> = keys.iter().map(|key| naming.name(key)).collect();
            lines.push(format!("only in {name}: {}", names.join(", ")));
        }
    }
    let count = |verdict| pair.rows.iter().filter(|row| row.verdict == verdict).count();
    let mut sum = format!(
        "{} slower, {} faster, {} the same",
        count(Verdict::Slower),
        count(Verdict::Faster),
        count(Verdict::Same)
    );
    let not_judged = count(Verdict::Unsound) + count(Verdict::TooFew);
    if not_judged > 0 {
        sum += &format!(", {not_judged} not judged");
    }
    lines.push(sum);
    lines
}
