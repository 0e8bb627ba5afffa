//! The kinds of backing, and what all of them can do.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use faultlab_abi::layout::PAGE_SIZE;

use super::area::Area;
use super::{anon, file, hugetlb, shmem, uffd};
use crate::error::MemoryError;

pub use super::uffd::{Fill, UffdOptions};

/// Bytes of x86-64's larger pages.
const LARGE: u64 = 2 << 20;
const HUGE: u64 = 1 << 30;

/// What backs guest memory on the host, populated by touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backing {
    /// Private anonymous memory in 4 KiB pages (`MADV_NOHUGEPAGE`).
    #[default]
    Anonymous,
    /// The same in transparent huge pages (`MADV_HUGEPAGE`).
    AnonymousThp,
    /// A memfd, mapped shared, in 4 KiB pages.
    Memfd,
    /// The same in transparent huge pages.
    MemfdThp,
    /// A memfd on hugetlbfs with 2 MiB pages.
    Hugetlb2m,
    /// The same with 1 GiB pages.
    Hugetlb1g,
    /// A regular file, mapped shared. Cold pages stay in the page cache.
    File,
    /// The same. Cold pages leave the page cache, too, so a fault reads the disk.
    FileCold,
    /// Private anonymous memory whose missing pages threads of the VMM fill through userfaultfd.
    UffdMissing,
    /// A memfd of whose mapping threads of the VMM let go each page through userfaultfd (`UFFDIO_CONTINUE`).
    UffdMinor,
}

/// What some backings need to know besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackingOptions {
    /// The file of [`Backing::File`] and [`Backing::FileCold`]: created if missing, emptied if not; RAM first, then the window.
    /// `None`: temporary ones in the temporary directory.
    pub file: Option<PathBuf>,
    /// How userfaultfd is served.
    pub uffd: UffdOptions,
}

impl Backing {
    /// All of them, in the order of reports.
    pub const ALL: [Backing; 10] = [
        Backing::Anonymous,
        Backing::AnonymousThp,
        Backing::Memfd,
        Backing::MemfdThp,
        Backing::Hugetlb2m,
        Backing::Hugetlb1g,
        Backing::File,
        Backing::FileCold,
        Backing::UffdMissing,
        Backing::UffdMinor,
    ];

    /// The name in reports and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backing::Anonymous => "anon",
            Backing::AnonymousThp => "anon-thp",
            Backing::Memfd => "memfd",
            Backing::MemfdThp => "memfd-thp",
            Backing::Hugetlb2m => "hugetlb-2m",
            Backing::Hugetlb1g => "hugetlb-1g",
            Backing::File => "file",
            Backing::FileCold => "file-cold",
            Backing::UffdMissing => "uffd-missing",
            Backing::UffdMinor => "uffd-minor",
        }
    }

    /// The backing of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Backing> {
        Backing::ALL.into_iter().find(|backing| backing.name() == name)
    }

    /// Bytes that the host backs, and drops, as one.
    #[must_use]
    pub fn granule_bytes(self) -> u64 {
        match self {
            Backing::AnonymousThp | Backing::MemfdThp | Backing::Hugetlb2m => LARGE,
            Backing::Hugetlb1g => HUGE,
            _ => PAGE_SIZE,
        }
    }

    /// Whether pages that were made cold keep their contents; otherwise they read as zero.
    #[must_use]
    pub fn cold_keeps_contents(self) -> bool {
        matches!(self, Backing::File | Backing::FileCold | Backing::UffdMinor)
    }

    /// Whether it has a file of its own ([`BackingOptions::file`]).
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Backing::File | Backing::FileCold)
    }

    /// Whether userfaultfd serves it ([`BackingOptions::uffd`]).
    #[must_use]
    pub fn is_uffd(self) -> bool {
        matches!(self, Backing::UffdMissing | Backing::UffdMinor)
    }

    /// Whether this host can: the least of it is mapped and let go again.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn probe(self) -> Result<(), MemoryError> {
        self.map(self.granule_bytes(), 0, &BackingOptions::default()).map(drop)
    }

    /// Maps `bytes`, a multiple of the granule; of a named file, from byte `offset` on.
    pub(super) fn map(self, bytes: u64, offset: u64, options: &BackingOptions) -> Result<Backed, MemoryError> {
        let mapped = match self {
            Backing::Anonymous => anon::map(bytes),
            Backing::AnonymousThp => anon::map_thp(bytes, LARGE),
            Backing::Memfd => shmem::map(bytes),
            Backing::MemfdThp => shmem::map_thp(bytes, LARGE),
            Backing::Hugetlb2m | Backing::Hugetlb1g => hugetlb::map(bytes, self.granule_bytes()),
            Backing::File | Backing::FileCold => {
                file::map(bytes, offset, options.file.as_deref(), self == Backing::FileCold)
            }
            Backing::UffdMissing => uffd::map_missing(bytes, &options.uffd),
            Backing::UffdMinor => uffd::map_minor(bytes, &options.uffd),
        };
        mapped.map_err(|unavailable| match unavailable {
            Unavailable::Here { why, remedy } => MemoryError::Unavailable {
                backing: self.name(),
                why,
                remedy,
            },
            Unavailable::File(error) => error,
            Unavailable::Failed(source) => MemoryError::Reserve {
                bytes,
                reason: source.to_string(),
            },
        })
    }
}

/// Why a backing cannot be had.
#[derive(Debug)]
pub(super) enum Unavailable {
    /// This host, as it is set up, cannot.
    Here { why: String, remedy: String },
    /// The file that was named cannot be used.
    File(MemoryError),
    /// A call failed that should not.
    Failed(io::Error),
}

impl Unavailable {
    pub(super) fn here(why: impl Into<String>, remedy: impl Into<String>) -> Unavailable {
        Unavailable::Here {
            why: why.into(),
            remedy: remedy.into(),
        }
    }
}

impl<E: Into<io::Error>> From<E> for Unavailable {
    fn from(error: E) -> Unavailable {
        Unavailable::Failed(error.into())
    }
}

/// A way to back an area: what is left to do once it is mapped.
pub(super) trait Store: Debug + Send + Sync {
    /// Drops the backing of a part of the area, `range` in bytes, whole granules.
    fn make_cold(&self, area: &Area, range: &Range<u64>) -> io::Result<()>;

    /// Makes bringing in a part of the area cheap, where it is cheaper to do so for many pages at a time. Contents stay.
    fn read_ahead(&self, _range: &Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// Faults in the area that threads of this process answered so far.
    fn served(&self) -> u64 {
        0
    }
}

/// An area and its backing.
#[derive(Debug)]
pub(super) struct Backed {
    // Dropped first: what serves the area's faults stops before the area goes.
    pub(super) store: Box<dyn Store>,
    pub(super) area: Area,
}

impl Backed {
    pub(super) fn new(area: Area, store: impl Store + 'static) -> Backed {
        Backed {
            store: Box::new(store),
            area,
        }
    }
}

#[cfg(test)]
mod tests;
