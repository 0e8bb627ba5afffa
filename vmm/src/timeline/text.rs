//! One fault's timeline for people: guest, VMM and host in the order of time.

use std::fmt::Write;

use super::chrome::access;
use super::{Timeline, slices};
use crate::trace_ring::Fault;

/// The timeline of `fault`, one line a slice: start and length in nanoseconds, who, and what, indented as it nests.
#[must_use]
pub fn render(fault: &Fault, timeline: &Timeline, tsc_khz: u64) -> String {
    let entry = timeline.clock.to_host(fault.entry_tsc);
    let end = entry + u64::from(fault.cycles());
    // Start, length (an instant has none), indentation, who, what.
    let mut lines: Vec<(u64, Option<u64>, usize, &str, String)> = Vec::new();
    for slice in slices::of(fault) {
        let length = u64::from(slice.end - slice.start);
        let slot = slice.slot.map_or_else(String::new, |slot| format!(" slot {slot}"));
        let what = format!("{}{slot}", slice.name);
        lines.push((u64::from(slice.start), Some(length), slice.depth, "guest", what));
    }
    let during = |start: u64| (entry..=end).contains(&start);
    for exit in timeline.exits.spans.iter().filter(|exit| during(exit.start)) {
        let what = format!("{} {:#x}", exit.kind.name(), exit.address);
        lines.push((exit.start - entry, Some(exit.end - exit.start), 4, "VMM", what));
    }
    for request in timeline.block.spans.iter().filter(|request| during(request.start)) {
        let what = format!(
            "{} sector {}, {} bytes",
            request.kind.name(),
            request.sector,
            request.bytes
        );
        lines.push((
            request.start - entry,
            Some(request.end - request.start),
            5,
            "disk",
            what,
        ));
        for (stage, start, end) in request.stages() {
            lines.push((start - entry, Some(end - start), 6, "disk", stage.to_owned()));
        }
    }
    let host = timeline.host.iter().flatten().flat_map(|host| &host.events);
    for event in host.filter(|event| during(event.tsc)) {
        let what = format!("{} {}", event.kind.name(), event.detail);
        lines.push((event.tsc - entry, None, 4, "host", what));
    }
    lines.sort_by_key(|line| (line.0, line.2));
    let ns = |cycles: u64| u128::from(cycles) * 1_000_000 / u128::from(tsc_khz.max(1));
    let mut text = format!(
        "fault of process {} at rip {:#x}: {} of {:#x}, {} ns\n{:>10} {:>9}\n",
        fault.pid,
        fault.rip,
        access(fault.error_code),
        fault.address,
        ns(u64::from(fault.cycles())),
        "at ns",
        "for ns",
    );
    for (start, length, depth, who, what) in lines {
        let length = length.map_or_else(String::new, |length| ns(length).to_string());
        let _ = writeln!(
            text,
            "{:>10} {length:>9}  {who:<6}{}{what}",
            ns(start),
            "  ".repeat(depth)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::log::{ExitKind, ExitSpan};
    use crate::trace_ring::Stamp;
    use faultlab_abi::trace::Stage;

    #[test]
    fn what_happened_meanwhile_is_between_the_stages() {
        let stamp = |stage, cycles| Stamp { stage, cycles, arg: 0 };
        let fault = Fault {
            entry_tsc: 1000,
            stamps: vec![
                stamp(Stage::FaultEntry, 0),
                stamp(Stage::FindVma, 20),
                stamp(Stage::FaultExit, 60),
            ],
            error_code: 2,
            ..Fault::default()
        };
        let mut timeline = Timeline::default();
        let exit = |start| ExitSpan {
            start,
            end: start + 5,
            kind: ExitKind::PioWrite,
            address: 0x3f8,
        };
        timeline.exits.push(exit(1010));
        timeline.exits.push(exit(1100));
        let text = render(&fault, &timeline, 1_000_000);
        let order = ["write of", "exc_page_fault", "find_vma", "pio write 0x3f8", "return"];
        let found: Vec<_> = order.iter().map(|what| text.find(what)).collect();
        assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{text}");
        assert_eq!(text.matches("pio write").count(), 1, "{text}");
    }
}
