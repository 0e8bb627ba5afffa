//! The out-of-memory killer: whom to end when nothing else frees memory.
//!
//! The process that holds most is ended, since that frees most at the price of one; `oom_score_adj`, from -1000 to 1000 thousandths of all
//! memory, moves a process up or down, -1000 out of reach. What it holds is what ending it gives back: resident pages, pages in swap and
//! page tables; so not the pages of shmem objects that it once wrote but does not map, which stay.
//!
//! Source: Linux, mm/oom_kill.c (`oom_badness`, `select_bad_process`, `oom_kill_process`). Rule E16. Differs from Linux: the victim ends at
//! once, so it never needs the reserves, and there is never a second one before it is gone.

use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::MmId;

/// `oom_score_adj` of a process that is never chosen.
pub const OOM_SCORE_ADJ_MIN: i32 = -1000;

/// A process that could be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<T> {
    /// Whatever the caller knows it by.
    pub process: T,
    /// Its address space.
    pub mm: MmId,
    /// -1000 to 1000. Source: proc(5), `/proc/pid/oom_score_adj`.
    pub oom_score_adj: i32,
}

/// What a process holds, in pages: the line that names the victim says it. Source: Linux `__oom_kill_process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Mapped, resident or not.
    pub total_vm: u64,
    /// Resident anonymous pages.
    pub rss_anon: u64,
    /// Resident pages of files.
    pub rss_file: u64,
    /// Resident pages of shmem objects.
    pub rss_shmem: u64,
    /// Pages in swap.
    pub swapents: u64,
    /// Page tables.
    pub page_tables: u64,
}

impl Footprint {
    /// Pages that ending the process frees, or could free.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.rss_anon + self.rss_file + self.rss_shmem + self.swapents + self.page_tables
    }
}

impl<P: Platform> Memory<P> {
    /// What an address space holds.
    pub fn footprint(&self, mm_id: MmId) -> Footprint {
        let mm = self.mm(mm_id);
        Footprint {
            total_vm: mm.total_vm(),
            rss_anon: mm.rss_anon(),
            rss_file: mm.rss_file(),
            rss_shmem: mm.rss_shmem(),
            swapents: mm.swapents(),
            page_tables: mm.nr_ptes(),
        }
    }

    /// How much a process deserves to be ended, in pages; `None` when it is exempt. Rule E16.
    pub fn oom_badness<T>(&self, candidate: &Candidate<T>) -> Option<i64> {
        if candidate.oom_score_adj <= OOM_SCORE_ADJ_MIN {
            return None;
        }
        let total = (self.totalram_pages() + self.total_swap_pages()).cast_signed();
        let adjustment = i64::from(candidate.oom_score_adj) * (total / 1000);
        Some(self.footprint(candidate.mm).pages().cast_signed() + adjustment)
    }

    /// The process to be ended, of equal ones the first; `None` when all are exempt.
    pub fn select_bad_process<T>(&self, candidates: impl Iterator<Item = Candidate<T>>) -> Option<Candidate<T>> {
        let mut chosen: Option<(i64, Candidate<T>)> = None;
        for candidate in candidates {
            let Some(badness) = self.oom_badness(&candidate) else {
                continue;
            };
            if chosen.as_ref().is_none_or(|(most, _)| badness > *most) {
                chosen = Some((badness, candidate));
            }
        }
        chosen.map(|(_, candidate)| candidate)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::addr::PAGE_SIZE;
    use crate::ipc::{Caller, shm_flag};
    use crate::mmap::{map_flag, prot};
    use crate::testing::{FakeMachine, machine};

    const RW: u64 = prot::READ | prot::WRITE;
    const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;

    /// A process that holds so many private pages, the first `swapped` of them in swap.
    fn process(memory: &Memory<FakeMachine>, pages: u64, swapped: u64) -> MmId {
        let mm = memory.mm_alloc().expect("an address space");
        if pages > 0 {
            let at = memory
                .do_mmap(mm, 0, pages * PAGE_SIZE, RW, PRIVATE, None, 0)
                .expect("addresses");
            for page in 0..pages {
                memory.store(mm, at + page * PAGE_SIZE, 1).expect("a page");
            }
            if swapped > 0 {
                memory.do_madvise(mm, at, swapped * PAGE_SIZE, 21).expect("madvise");
            }
        }
        mm
    }

    fn candidate<T>(process: T, mm: MmId, oom_score_adj: i32) -> Candidate<T> {
        Candidate {
            process,
            mm,
            oom_score_adj,
        }
    }

    /// E16: resident, swapped and page tables count; the adjustment is in thousandths of all memory; -1000 is exempt.
    #[test]
    fn badness_is_what_a_process_holds() {
        let memory = machine(1024, 1024 + 1);
        let mm = process(&memory, 100, 40);
        let holds = memory.footprint(mm);
        assert_eq!((holds.rss_anon, holds.swapents, holds.total_vm), (60, 40, 100));
        assert!(holds.page_tables >= 4);
        assert_eq!(holds.pages(), 100 + holds.page_tables);
        let pages = holds.pages().cast_signed();
        // 2048 pages of memory and swap: 2 a thousandth, the division rounding down.
        let adjusted = |adj| memory.oom_badness(&candidate((), mm, adj));
        assert_eq!(adjusted(0), Some(pages));
        assert_eq!(adjusted(300), Some(pages + 600));
        assert_eq!(adjusted(-999), Some(pages - 1998));
        assert_eq!(adjusted(-1000), None);
    }

    /// E16: the largest is chosen, of equal ones the first, and the adjustment counts; nobody when all are exempt.
    #[test]
    fn the_largest_process_is_chosen() {
        let memory = machine(2048, 1024);
        let sizes = [10, 300, 299, 300];
        let mms: Vec<MmId> = sizes.iter().map(|&pages| process(&memory, pages, pages / 2)).collect();
        let chosen = |adjs: [i32; 4]| {
            let candidates = mms.iter().zip(adjs).enumerate();
            let chosen = memory.select_bad_process(candidates.map(|(who, (&mm, adj))| candidate(who, mm, adj)));
            chosen.map(|chosen| chosen.process)
        };
        assert_eq!(chosen([0; 4]), Some(1));
        assert_eq!(chosen([0, 0, 1, 0]), Some(2));
        assert_eq!(chosen([0, -1000, 0, 0]), Some(3));
        assert_eq!(chosen([1000, 0, 0, 0]), Some(0));
        assert_eq!(chosen([0, -1000, -1000, -1000]), Some(0), "however little it holds");
        assert_eq!(chosen([-1000; 4]), None);
    }

    /// E16: what a process wrote to a segment stays when it is ended, so it counts only as far as it is mapped.
    #[test]
    fn pages_of_segments_stay() {
        let memory = machine(1024, 0);
        let caller = Caller {
            pid: 1,
            euid: 0,
            egid: 0,
        };
        let id = memory
            .shmget(caller, 0, 200 * PAGE_SIZE, shm_flag::IPC_CREAT | 0o600)
            .expect("a segment");
        let mm = process(&memory, 5, 0);
        let at = memory.shmat(caller, mm, id, 0, 0).expect("attached");
        for page in 0..200 {
            memory.store(mm, at + page * PAGE_SIZE, page + 1).expect("a page");
        }
        assert_eq!(memory.footprint(mm).rss_shmem, 200);
        let free = memory.nr_free_pages();
        memory.mmput(mm, 1);
        assert!(memory.nr_free_pages() - free < 20, "only its own pages come back");
        let next = process(&memory, 0, 0);
        let at = memory.shmat(caller, next, id, 0, 0).expect("attached");
        assert_eq!(memory.load(next, at + 199 * PAGE_SIZE), Ok(200));
    }
}
