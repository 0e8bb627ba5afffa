//! The host's side of the rows as lines of text.

use super::key::{Naming, RowKey};
use super::model::Report;
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
        let lines = lines(&report([
            HostSide::Measured(times),
            HostSide::Measured(HostSideTimes::default()),
        ]));
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
