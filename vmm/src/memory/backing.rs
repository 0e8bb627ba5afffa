//! The kinds of backing, and what all of them can do.

use std::fmt::Debug;
use std::io;
use std::ops::Range;

use faultlab_abi::layout::PAGE_SIZE;

use super::anon;
use super::area::Area;
use crate::error::MemoryError;

/// What backs guest memory on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backing {
    /// Private anonymous memory in 4 KiB pages (`MADV_NOHUGEPAGE`), populated by touch.
    #[default]
    Anonymous,
}

/// What some backings need to know besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackingOptions {}

impl Backing {
    /// All of them.
    pub const ALL: [Backing; 1] = [Backing::Anonymous];

    /// The name in reports and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backing::Anonymous => "anon",
        }
    }

    /// Bytes that the host backs, and drops, as one.
    #[must_use]
    pub fn granule_bytes(self) -> u64 {
        match self {
            Backing::Anonymous => PAGE_SIZE,
        }
    }

    /// Whether pages that were made cold keep their contents.
    #[must_use]
    pub fn cold_keeps_contents(self) -> bool {
        false
    }

    /// Maps `bytes`, a multiple of the granule.
    pub(super) fn map(self, bytes: u64, _options: &BackingOptions) -> Result<Backed, MemoryError> {
        match self {
            Backing::Anonymous => anon::map(bytes),
        }
    }
}

/// A way to back an area: what is left to do once it is mapped.
pub(super) trait Store: Debug + Send {
    /// Drops the backing of a part of the area, `range` in bytes, whole granules.
    fn make_cold(&self, area: &Area, range: &Range<u64>) -> io::Result<()>;
}

/// An area and its backing.
#[derive(Debug)]
pub(super) struct Backed {
    // Dropped first: what serves the area's faults stops before the area goes.
    pub(super) store: Box<dyn Store>,
    pub(super) area: Area,
}
