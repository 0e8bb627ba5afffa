//! Spans of what the VMM did, each with the host's time-stamp counter at its beginning and end.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Disk to guest.
    Read,
    /// Guest to disk.
    Write,
    /// Anything else.
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

/// One disk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpan {
    /// Host time-stamp counter when the device began to serve it.
    pub start: u64,
    /// The same when its status was written.
    pub end: u64,
    /// What was asked.
    pub kind: BlockKind,
    /// First sector of 512 bytes.
    pub sector: u64,
    /// Bytes of data.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_counts_what_it_leaves_out() {
        let mut log = Log::default();
        (0..KEEP_MAX + 3).for_each(|number| log.push(number));
        assert_eq!((log.spans.len(), log.lost), (KEEP_MAX, 3));
    }
}
