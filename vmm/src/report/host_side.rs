//! The host's side of the rows: as lines of text, and as columns of the forms that are tables.

use super::key::{Naming, RowKey};
use super::model::{Report, Scenario};
use super::table::short;
use crate::host_events::HostSide;

/// One line a row whose host side was asked for, or one for all if there are no events.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let naming = Naming::of_rows(&report.scenarios);
    let mut lines: Vec<String> = Vec::new();
    for row in &report.scenarios {
        let line = match &row.host_side {
            None => continue,
            Some(HostSide::Unavailable { unavailable }) => format!("host side: unavailable: {unavailable}"),
            Some(HostSide::Measured(times)) => {
                let exits = match (times.exit_to_entry_ns_p50, times.host_fault_share) {
                    (Some(ns), Some(share)) => format!(
                        "{} exits, exit to entry p50 {ns} ns, {:.1} % of it in the host's fault",
                        times.exits,
                        share * 100.0
                    ),
                    _ => "no kvm_exit seen".to_owned(),
                };
                format!(
                    "host side of {}: {exits}; {} page faults of the VMM; {} events lost",
                    naming.name(&RowKey::of(row)),
                    times.host_page_faults,
                    times.events_lost
                )
            }
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

/// What must be said where the rows have columns of their own: why there are no events, or that some were lost.
pub(super) fn warnings(report: &Report) -> Vec<String> {
    let is_whole = |line: &String| line.starts_with("host side of ") && line.ends_with("; 0 events lost");
    lines(report).into_iter().filter(|line| !is_whole(line)).collect()
}

/// The columns of the host's side, and a row's fields in them: empty where it was not asked for; where there are no events, the reason in
/// the last. Times are in nanoseconds, the share is a part of 1; [`crate::host_events::HostSideTimes`] says what is what.
pub(super) const COLUMNS: [&str; 7] = [
    "host_side_exits",
    "host_side_exit_to_entry_ns_p50",
    "host_side_host_fault_share",
    "host_side_kvm_page_faults",
    "host_side_host_page_faults",
    "host_side_events_lost",
    "host_side_unavailable",
];

/// See [`COLUMNS`].
pub(super) fn fields(row: &Scenario) -> [String; COLUMNS.len()] {
    let none = String::new;
    match &row.host_side {
        None => [const { String::new() }; COLUMNS.len()],
        Some(HostSide::Unavailable { unavailable }) => {
            [none(), none(), none(), none(), none(), none(), unavailable.clone()]
        }
        Some(HostSide::Measured(times)) => [
            times.exits.to_string(),
            times.exit_to_entry_ns_p50.map_or_else(none, |ns| ns.to_string()),
            times.host_fault_share.map_or_else(none, |share| share.to_string()),
            times.kvm_page_faults.to_string(),
            times.host_page_faults.to_string(),
            times.events_lost.to_string(),
            none(),
        ],
    }
}

/// Whether a row of the report was asked for its host's side.
pub(super) fn is_asked_for(report: &Report) -> bool {
    report.scenarios.iter().any(|row| row.host_side.is_some())
}

/// For people, in two cells: nanoseconds from exit to entry (the median), and the part of all that time which is the host's fault.
pub(super) fn cells(row: &Scenario) -> [String; 2] {
    let none = || "-".to_owned();
    match &row.host_side {
        None => [none(), none()],
        Some(HostSide::Unavailable { .. }) => ["not permitted", "not permitted"].map(str::to_owned),
        Some(HostSide::Measured(times)) => [
            times.exit_to_entry_ns_p50.map_or_else(none, short),
            times
                .host_fault_share
                .map_or_else(none, |share| format!("{:.1} %", share * 100.0)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::Regime;
    use super::super::testing;
    use super::*;
    use crate::host_events::HostSideTimes;

    fn report(sides: [HostSide; 2]) -> Report {
        let mut report = testing::report(Regime::TwoDimensional);
        for (row, side) in report.scenarios.iter_mut().zip(sides) {
            row.host_side = Some(side);
        }
        report
    }

    #[test]
    fn a_reason_is_told_once_and_times_for_each_row() {
        let unavailable = || HostSide::Unavailable {
            unavailable: "no tracefs".to_owned(),
        };
        assert_eq!(
            lines(&report([unavailable(), unavailable()])),
            ["host side: unavailable: no tracefs"]
        );
        let times = HostSideTimes {
            exits: 64,
            exit_to_entry_ns_p50: Some(1234.5),
            host_fault_share: Some(0.75),
            events_lost: 3,
            ..HostSideTimes::default()
        };
        let whole = HostSideTimes {
            events_lost: 0,
            ..times
        };
        let told = warnings(&report([HostSide::Measured(whole), HostSide::Measured(times)]));
        assert!(told.len() == 1 && told[0].contains("minor: 64 exits"), "{told:?}");
        let lines = lines(&report([
            HostSide::Measured(times),
            HostSide::Measured(HostSideTimes::default()),
        ]));
        let row = |side: HostSide| Scenario {
            host_side: Some(side),
            ..testing::report(Regime::TwoDimensional).scenarios.remove(0)
        };
        assert_eq!(fields(&row(HostSide::Measured(times)))[..3], ["64", "1234.5", "0.75"]);
        assert_eq!(cells(&row(HostSide::Measured(times))), ["1234", "75.0 %"]);
        assert_eq!(
            fields(&row(unavailable())).last().map(String::as_str),
            Some("no tracefs")
        );
        assert_eq!(cells(&row(unavailable())), ["not permitted"; 2]);
        assert!(
            lines[0].contains("warm-touch: 64 exits, exit to entry p50 1234.5 ns, 75.0 %"),
            "{lines:?}"
        );
        assert!(
            lines[0].contains("3 events lost") && lines[1].contains("no kvm_exit seen"),
            "{lines:?}"
        );
    }
}
