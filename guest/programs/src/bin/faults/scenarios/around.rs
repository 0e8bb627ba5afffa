//! Loads of shared memory in the page cache that map the pages around them, too.
//!
//! ```text
//! | L l l l l l l l l l l l l l l l | L l l l ...        a group of 16 pages, aligned in addresses
//!   L timed: faults, and maps the group; l not timed: loads that do not fault
//! ```
//!
//! That the other loads take no fault is what the count of faults says: one a group. The pages are a memory file's, mapped as often as it
//! takes; around those of a System V segment Linux maps nothing.

use faultlab_abi::dev::PhaseArgs;
use faultlab_programs::sys::memory::{self, MAP_SHARED, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::{self, files, process};
use faultlab_programs::tsc;

use super::resident::{self, Pages};
use crate::phase::{Failure, Phases};

/// Pages that one load maps. Source: Linux, mm/memory.c, `fault_around_bytes`.
const GROUP: usize = 16;
/// Bytes of a group.
const GROUP_BYTES: usize = GROUP * PAGE_BYTES;
/// Groups of a mapping. Its file is a group longer, so that there are as many aligned ones wherever it is mapped.
const VIEW: usize = 64;
/// Bytes of the file.
const FILE_BYTES: usize = (VIEW + 1) * GROUP_BYTES;
/// Most mappings: as many as 65,536 groups take.
const VIEWS_MAX: usize = 1024;

/// Groups of pages, unmapped when dropped.
///
/// # Invariants
/// The first `views` mappings of [`FILE_BYTES`] bytes are there, readable and writable, as long as this lives.
struct Groups {
    count: usize,
    mappings: [*mut u8; VIEWS_MAX],
    views: usize,
}

impl Groups {
    /// So many groups, cached, with their page tables, and not mapped.
    fn create(count: usize) -> Result<Groups, Failure> {
        // SAFETY: only reads the name.
        let file = unsafe { files::memfd_create([c"groups".as_ptr() as usize, 0]) }
            .map_err(|errno| Failure::Call("memfd_create", errno))? as i32;
        let mut groups = Groups {
            count,
            mappings: [core::ptr::null_mut(); VIEWS_MAX],
            views: 0,
        };
        // SAFETY: the file is ours.
        let mapped = unsafe { files::ftruncate([file as usize, FILE_BYTES]) }
            .map_err(|errno| Failure::Call("ftruncate", errno))
            .and_then(|_| groups.map(file));
        _ = sys::close(file);
        mapped?;
        groups.fill();
        groups.unmap_pages()?;
        Ok(groups)
    }

    fn map(&mut self, file: i32) -> Result<(), Failure> {
        for mapping in self.mappings.iter_mut().take(self.count.div_ceil(VIEW)) {
            *mapping = memory::map(FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file)
                .map_err(|errno| Failure::Call("mmap", errno))?;
            self.views += 1;
            // A kernel that has no huge pages refuses, and none are what is wanted.
            _ = memory::small_pages(*mapping as usize, FILE_BYTES);
        }
        Ok(())
    }

    #[inline(always)]
    fn page(&self, group: usize, page: usize) -> *mut u64 {
        let base = (self.mappings[group / VIEW] as usize).next_multiple_of(GROUP_BYTES);
        (base + group % VIEW * GROUP_BYTES + page * PAGE_BYTES) as *mut u64
    }

    fn fill(&self) {
        for (group, page) in (0..self.count).flat_map(|group| (0..GROUP).map(move |page| (group, page))) {
            // SAFETY: a page of a mapping (invariant), aligned.
            unsafe { self.page(group, page).write_volatile(1) };
        }
    }

    /// Unmaps all pages, which stay in the page cache.
    fn unmap_pages(&self) -> Result<(), Failure> {
        for &mapping in &self.mappings[..self.views] {
            // SAFETY: the mapping is shared.
            unsafe { memory::unmap_pages(mapping as usize, FILE_BYTES) }
                .map_err(|errno| Failure::Call("madvise MADV_DONTNEED", errno))?;
        }
        Ok(())
    }

    /// Loads from all pages of a group but the first.
    #[inline(always)]
    fn load_others(&self, group: usize) {
        for page in 1..GROUP {
            // SAFETY: a page of a mapping (invariant), aligned.
            unsafe { self.page(group, page).read_volatile() };
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for &mapping in &self.mappings[..self.views] {
            // SAFETY: addresses into it are handed out by methods only, whose callers borrow it.
            _ = unsafe { memory::unmap(mapping, FILE_BYTES) };
        }
    }
}

impl Pages for Groups {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        self.page(index, 0)
    }
}

/// One load in each of so many groups.
pub(super) fn fault_around(phases: &mut Phases, count: usize) -> Result<(), Failure> {
    let groups = Groups::create(count)?;
    match phases.lab() {
        Ok(lab) => lab
            .fault_around(GROUP_BYTES)
            .map_err(|errno| Failure::Call("ioctl FAULT_AROUND", errno))?,
        Err(_) => require_linux_default(&groups)?,
    }
    resident::require_each(&groups)?;
    let expected = PhaseArgs {
        count: count as u64,
        expect_pgfault: count as u64,
        ..PhaseArgs::default()
    };
    phases.time(expected, |index| {
        // SAFETY: the page is ours to read (invariant), and aligned.
        let cycles = unsafe { tsc::load(groups.address(index)) };
        groups.load_others(index);
        cycles
    })
}

/// Plain Linux lets only root set how far is looked, through debugfs and for the whole machine. So it is left alone there, and this
/// looks whether it is what Linux starts with.
fn require_linux_default(groups: &Groups) -> Result<(), Failure> {
    let before = process::faults().minor;
    for group in 0..groups.count {
        // SAFETY: the page is ours to read (invariant), and aligned.
        unsafe { groups.address(group).read_volatile() };
        groups.load_others(group);
    }
    if process::faults().minor - before != groups.count as u64 {
        return Err(Failure::Skip(
            "a load maps other than 16 pages here: debugfs's fault_around_bytes is not 65536, or pages are huge",
        ));
    }
    groups.unmap_pages()
}
