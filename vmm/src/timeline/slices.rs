//! A fault as slices of time, nested as the functions are that its stages are named after.

use faultlab_abi::trace::Stage;

use super::log::BlockSpan;
use crate::trace_ring::{Fault, Stamp};

/// A slice of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Linux's name for what is done in it.
    pub name: &'static str,
    /// Cycles since the fault's entry at its beginning.
    pub start: u32,
    /// The same at its end.
    pub end: u32,
    /// How many slices it lies in; the fault itself is at 0.
    pub depth: usize,
    /// The swap slot, of a slice in which the disk was waited for.
    pub slot: Option<u32>,
}

/// The slices of a fault, each before those that lie in it.
#[must_use]
pub fn of(fault: &Fault) -> Vec<Slice> {
    let slice = |name, start, end, depth| Slice {
        name,
        start,
        end,
        depth,
        slot: None,
    };
    let mut slices = vec![slice("exc_page_fault", 0, fault.cycles(), 0)];
    let handler = handler(fault);
    if let Some((name, start, end)) = handler {
        slices.push(slice(name, start, end, 1));
    }
    let stamps = &fault.stamps;
    let mut reclaim_until = None;
    for (at, pair) in stamps.windows(2).enumerate() {
        let (before, now) = (pair[0], pair[1]);
        let in_handler = handler.is_some_and(|(_, start, end)| start <= before.cycles && now.cycles <= end);
        let depth = 1 + usize::from(in_handler);
        if before.stage == Stage::ReclaimStart {
            reclaim_until = end_of_reclaim(&stamps[at..]);
            if let Some(end) = reclaim_until {
                slices.push(slice(Stage::ReclaimStart.name(), before.cycles, end, depth));
            }
        }
        let in_reclaim = reclaim_until.is_some_and(|end| now.cycles <= end);
        slices.push(Slice {
            slot: matches!(now.stage, Stage::SwapReadEnd | Stage::SwapWriteEnd).then_some(now.arg),
            ..slice(
                name(now.stage),
                before.cycles,
                now.cycles,
                depth + usize::from(in_reclaim),
            )
        });
    }
    slices
}

/// What was done up to a stage.
fn name(reached: Stage) -> &'static str {
    match reached {
        Stage::ReclaimStart => "__alloc_pages_slowpath",
        Stage::ReclaimEnd => "shrink_lruvec",
        stage => stage.name(),
    }
}

fn end_of_reclaim(stamps: &[Stamp]) -> Option<u32> {
    let end = stamps.iter().find(|stamp| stamp.stage == Stage::ReclaimEnd)?;
    Some(end.cycles)
}

/// The function that got the page: from the page-table walk to the entry's being set, or to the end where none was.
fn handler(fault: &Fault) -> Option<(&'static str, u32, u32)> {
    let has = |stage: Stage| fault.stamps.iter().any(|stamp| stamp.stage == stage);
    let name = match (has(Stage::FilemapGetEntry), has(Stage::SwapReadEnd)) {
        (true, _) => "shmem_fault",
        (false, true) => "do_swap_page",
        (false, false) => return None,
    };
    let start = fault.stamps.iter().find(|stamp| stamp.stage == Stage::WalkPageTables)?;
    let last = fault
        .stamps
        .iter()
        .take_while(|stamp| !matches!(stamp.stage, Stage::SetPte | Stage::FaultExit))
        .last()?;
    (last.cycles > start.cycles).then_some((name, start.cycles, last.cycles))
}

/// The disk request that the guest waited for from `start` to `end` (host time-stamp counter), for swap slot `slot`; times may be
/// wrong by `error` cycles. `spans` are in the order of time.
#[must_use]
pub fn request(spans: &[BlockSpan], start: u64, end: u64, error: u64, slot: u32) -> Option<&BlockSpan> {
    /// Sectors of a page.
    const SECTORS: u64 = 8;
    let first = spans.partition_point(|span| span.start + error < start);
    spans[first..]
        .iter()
        .take_while(|span| span.start <= end + error)
        .find(|span| span.end <= end + error && span.sector == u64::from(slot) * SECTORS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::log::BlockKind;

    fn fault(stamps: &[(Stage, u32)]) -> Fault {
        let stamp = |&(stage, cycles): &(Stage, u32)| Stamp { stage, cycles, arg: 3 };
        Fault {
            stamps: stamps.iter().map(stamp).collect(),
            ..Fault::default()
        }
    }

    #[test]
    fn slices_nest_as_the_functions_do() {
        let fault = fault(&[
            (Stage::FaultEntry, 0),
            (Stage::FindVma, 10),
            (Stage::WalkPageTables, 20),
            (Stage::FilemapGetEntry, 30),
            (Stage::ReclaimStart, 40),
            (Stage::SwapWriteStart, 50),
            (Stage::SwapWriteEnd, 90),
            (Stage::ReclaimEnd, 95),
            (Stage::AllocPages, 100),
            (Stage::SwapReadStart, 110),
            (Stage::SwapReadEnd, 150),
            (Stage::SetPte, 160),
            (Stage::FaultExit, 170),
        ]);
        let shown: Vec<_> = of(&fault)
            .into_iter()
            .map(|slice| (slice.depth, slice.name, slice.start, slice.end))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "exc_page_fault", 0, 170),
                (1, "shmem_fault", 20, 150),
                (1, "find_vma", 0, 10),
                (1, "pte_offset_map", 10, 20),
                (2, "filemap_get_entry", 20, 30),
                (2, "__alloc_pages_slowpath", 30, 40),
                (2, "try_to_free_pages", 40, 95),
                (3, "submit_bio (write)", 40, 50),
                (3, "swap_writepage", 50, 90),
                (3, "shrink_lruvec", 90, 95),
                (2, "alloc_pages", 95, 100),
                (2, "submit_bio (read)", 100, 110),
                (2, "swap_read", 110, 150),
                (1, "set_pte", 150, 160),
                (1, "exc_page_fault return", 160, 170),
            ]
        );
        assert_eq!(of(&fault)[12].slot, Some(3));
    }

    #[test]
    fn a_request_is_found_by_time_and_slot() {
        let span = |start, sector| BlockSpan {
            start,
            end: start + 10,
            kind: BlockKind::Read,
            sector,
            bytes: 4096,
            ..BlockSpan::default()
        };
        let spans = [span(100, 24), span(200, 32), span(300, 24)];
        assert_eq!(request(&spans, 295, 315, 0, 3), Some(&spans[2]));
        assert_eq!(request(&spans, 195, 215, 0, 3), None, "another slot");
        assert_eq!(request(&spans, 301, 309, 0, 3), None, "not within");
        assert_eq!(
            request(&spans, 301, 309, 1, 3),
            Some(&spans[2]),
            "within what the clocks allow"
        );
    }
}
