//! Spans of what the VMM did, each with the host's time-stamp counter at its beginning and end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most spans of a kind that are kept.
const KEEP_MAX: usize = 262_144;

/// The first spans, and how many came after those.
#[derive(Clone, Debug)]
pub struct Log<T> {
    /// In the order of their ends.
    pub spans: Vec<T>,
    /// Spans that were not kept.
    pub lost: u64,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Log {
            spans: Vec::new(),
            lost: 0,
        }
    }
}

impl<T> Log<T> {
    /// Keeps a span if there is room.
    pub(crate) fn push(&mut self, span: T) {
        if self.spans.len() < KEEP_MAX {
            self.spans.push(span);
        } else {
            self.lost += 1;
        }
    }
}

/// What the guest did that only the VMM could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// `in`.
    PioRead,
    /// `out`.
    PioWrite,
    /// A load from device memory.
    MmioRead,
    /// A store to device memory.
    MmioWrite,
    /// Anything else.
    Other,
}

impl ExitKind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ExitKind::PioRead => "pio read",
            ExitKind::PioWrite => "pio write",
            ExitKind::MmioRead => "mmio read",
            ExitKind::MmioWrite => "mmio write",
            ExitKind::Other => "exit",
        }
    }
}

/// One exit, from `KVM_RUN`'s return to the moment before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitSpan {
    /// Host time-stamp counter at the return.
    pub start: u64,
    /// The same when it was served.
    pub end: u64,
    /// Why.
    pub kind: ExitKind,
    /// Port or guest-physical address; 0 for [`ExitKind::Other`].
    pub address: u64,
}

/// What a disk request asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockKind {
    /// Disk to guest.
    Read,
    /// Guest to disk.
    Write,
    /// Anything else.
    #[default]
    Other,
}

impl BlockKind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BlockKind::Read => "disk read",
            BlockKind::Write => "disk write",
            BlockKind::Other => "disk request",
        }
    }
}

/// One disk request. Times are of the host's time-stamp counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockSpan {
    /// When the device took it from the queue.
    pub start: u64,
    /// When it began to be carried out; 0 if it never was.
    pub submitted: u64,
    /// When it had been carried out, delays on purpose included; 0 likewise.
    pub completed: u64,
    /// When its status was written.
    pub end: u64,
    /// What was asked.
    pub kind: BlockKind,
    /// First sector of 512 bytes.
    pub sector: u64,
    /// Bytes of data.
    pub bytes: u64,
}

impl BlockSpan {
    /// The request's way through the VMM: what it was in, from when, until when. Empty if it was not carried out.
    #[must_use]
    pub fn stages(&self) -> Vec<(&'static str, u64, u64)> {
        if self.submitted == 0 || self.completed == 0 {
            return Vec::new();
        }
        vec![
            ("host queue", self.start, self.submitted),
            ("device", self.submitted, self.completed),
            ("completion", self.completed, self.end),
        ]
    }
}

/// For each of `spans`, which are in the order of their beginnings, the lowest lane that no earlier one is still in.
#[must_use]
pub fn lanes(spans: &[BlockSpan]) -> Vec<usize> {
    let mut free_from: Vec<u64> = Vec::new();
    let lane_of = |span: &BlockSpan| {
        let lane = free_from.iter().position(|free| *free <= span.start);
        let lane = lane.unwrap_or_else(|| {
            free_from.push(0);
            free_from.len() - 1
        });
        free_from[lane] = span.end;
        lane
    };
    spans.iter().map(lane_of).collect()
}

/// A log of disk requests that the thread which serves them writes, and others read.
///
/// Locks: its own, held to copy a span or to take them all.
#[derive(Clone, Debug, Default)]
pub struct SharedLog {
    log: Arc<Mutex<Log<BlockSpan>>>,
}

impl SharedLog {
    /// A log whose first `spans` spans need no memory that is not there already: who writes it may be one whose faults are counted.
    pub(crate) fn with_room(spans: usize) -> SharedLog {
        let mut room = vec![BlockSpan::default(); spans.min(KEEP_MAX)];
        room.clear();
        SharedLog {
            log: Arc::new(Mutex::new(Log { spans: room, lost: 0 })),
        }
    }

    /// As [`SharedLog::take`], and keeps the room.
    pub(crate) fn drain(&self) -> Log<BlockSpan> {
        let mut log = self.lock();
        let mut spans: Vec<BlockSpan> = log.spans.drain(..).collect();
        spans.sort_by_key(|span| span.start);
        let lost = std::mem::take(&mut log.lost);
        Log { spans, lost }
    }

    /// Keeps a span if there is room.
    pub(crate) fn push(&self, span: BlockSpan) {
        self.lock().push(span);
    }

    /// Everything that was kept so far, in the order of beginnings; nothing of it is kept from now on.
    #[must_use]
    pub fn take(&self) -> Log<BlockSpan> {
        let mut log = std::mem::take(&mut *self.lock());
        log.spans.sort_by_key(|span| span.start);
        log
    }

    fn lock(&self) -> MutexGuard<'_, Log<BlockSpan>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_at_the_same_time_are_in_different_lanes() {
        let span = |start, end| BlockSpan {
            start,
            end,
            ..BlockSpan::default()
        };
        let spans = [span(0, 10), span(5, 30), span(10, 12), span(11, 15), span(12, 40)];
        assert_eq!(lanes(&spans), [0, 1, 0, 2, 0]);
    }

    #[test]
    fn a_shared_log_is_in_the_order_of_beginnings() {
        let log = SharedLog::default();
        for start in [7, 3, 5] {
            log.push(BlockSpan {
                start,
                ..BlockSpan::default()
            });
        }
        let starts: Vec<u64> = log.take().spans.iter().map(|span| span.start).collect();
        assert_eq!(starts, [3, 5, 7]);
        assert!(log.take().spans.is_empty(), "it was taken");
    }

    #[test]
    fn a_drained_log_keeps_its_room() {
        let log = SharedLog::with_room(2);
        let room = |log: &SharedLog| {
            let log = log.lock();
            (log.spans.as_ptr(), log.spans.capacity())
        };
        let before = room(&log);
        log.push(BlockSpan::default());
        log.push(BlockSpan::default());
        assert_eq!((log.drain().spans.len(), room(&log)), (2, before));
        assert!(log.drain().spans.is_empty());
    }

    #[test]
    fn a_request_has_stages_if_it_was_carried_out() {
        let mut span = BlockSpan {
            start: 1,
            end: 9,
            ..BlockSpan::default()
        };
        assert!(span.stages().is_empty());
        (span.submitted, span.completed) = (3, 6);
        let stages = [("host queue", 1, 3), ("device", 3, 6), ("completion", 6, 9)];
        assert_eq!(span.stages(), stages);
    }

    #[test]
    fn a_full_log_counts_what_it_leaves_out() {
        let mut log = Log::default();
        (0..KEEP_MAX + 3).for_each(|number| log.push(number));
        assert_eq!((log.spans.len(), log.lost), (KEEP_MAX, 3));
    }
}
