//! An address space from outside: its mappings, and what is behind each page. Source: Linux, fs/proc/task_mmu.c, mm/shmem.c
//! (`shmem_swap_usage`); proc_pid_maps(5), proc_pid_smaps(5), proc_pid_pagemap(5). Rules I2, I3, I10.

use core::ops::Range;

use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::huge::{HPAGE_PAGES, HPAGE_SIZE};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::shmem::InodeId;
use crate::swap::SwapSlot;
use crate::vma::{MmId, vm};
use crate::vma_tree::find_vma;
use crate::xarray::Filter;

/// A mapping.
#[derive(Clone, Copy, Debug)]
pub struct MapInfo {
    /// First address.
    pub start: u64,
    /// First address past the end.
    pub end: u64,
    /// [`vm`] bits.
    pub flags: u64,
    /// Where in the object it begins, in pages.
    pub pgoff: u64,
    /// The object.
    pub file: Option<InodeId>,
    /// Id and key of the System V segment that it attaches.
    pub segment: Option<(u32, u32)>,
    /// What it is if it is of no object.
    pub role: Role,
}

/// What anonymous memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Anything.
    Other,
    /// What `brk` moves.
    Heap,
    /// The first thread's stack.
    Stack,
}

/// What of a mapping is in memory: bytes, and of [`Usage::pss`] and the like, bytes shifted left by [`PSS_SHIFT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the lines of proc_pid_smaps(5)")]
pub struct Usage {
    pub rss: u64,
    pub pss: u64,
    pub pss_dirty: u64,
    pub pss_anon: u64,
    pub pss_file: u64,
    pub pss_shmem: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub referenced: u64,
    pub anonymous: u64,
    pub swap: u64,
    pub swap_pss: u64,
    pub locked: u64,
    pub anon_huge: u64,
    pub shmem_pmd_mapped: u64,
    pub shared_hugetlb: u64,
    pub private_hugetlb: u64,
}

/// Fraction bits of proportional sizes. Source: Linux `PSS_SHIFT`.
pub const PSS_SHIFT: u32 = 12;

const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;

/// What is behind a page of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageInfo {
    /// Nothing.
    Empty,
    /// A frame: its number, whether it is of an object, and whether it is mapped nowhere else.
    Present(Pfn, bool, bool),
    /// A slot: number of the area, and in it.
    Swapped(u64, u64),
}

/// Pages of an address space, by what its mappings are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the lines of proc_pid_status(5)")]
pub struct Sizes {
    pub total: u64,
    pub locked: u64,
    pub anon: u64,
    pub file: u64,
    pub shmem: u64,
    pub data: u64,
    pub stack: u64,
    pub exec: u64,
    pub tables: u64,
    pub swap: u64,
    pub hugetlb: u64,
}

impl<P: Platform> Memory<P> {
    /// The first mapping that ends above an address.
    pub fn map_info(&self, mm_id: MmId, addr: u64) -> Option<MapInfo> {
        let mm = self.mm(mm_id);
        let id = find_vma(self, mm, VirtAddr(addr))?;
        let vma = self.vma(id);
        let (start, end) = (vma.vm_start().0, vma.vm_end().0);
        let role = if start < mm.brk().0 && end > mm.start_brk().0 {
            Role::Heap
        } else if start <= mm.start_stack() && end >= mm.start_stack() {
            Role::Stack
        } else {
            Role::Other
        };
        Some(MapInfo {
            start,
            end,
            flags: vma.vm_flags(),
            pgoff: vma.vm_pgoff(),
            file: vma.vm_file(),
            segment: vma.shm().map(|shm| {
                let segment = self.segment(shm);
                (segment.id() as u32, segment.made_with())
            }),
            role,
        })
    }

    /// What of a mapping is in memory. Rule I3.
    pub fn map_usage(&self, mm_id: MmId, map: &MapInfo) -> Usage {
        let pgd = self.mm(mm_id).pgd();
        let mut usage = Usage::default();
        self.for_each_leaf(pgd, VirtAddr(map.start)..VirtAddr(map.end), |_, pmd| {
            self.account_leaf(&mut usage, pmd.slot.get(), map.flags & vm::LOCKED != 0);
            true
        });
        self.for_each_pte(pgd, VirtAddr(map.start)..VirtAddr(map.end), |_, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) {
                self.account_page(&mut usage, entry, map.flags & vm::LOCKED != 0);
            } else if let Some(slot) = SwapSlot::of_entry(P::Pte::swap_entry(entry)) {
                usage.swap += PAGE_BYTES;
                usage.swap_pss += (PAGE_BYTES << PSS_SHIFT) / self.swap_users(slot).max(1);
            }
            true
        });
        usage.swap += self.swapped_behind(pgd, map) * PAGE_BYTES;
        usage
    }

    fn account_leaf(&self, usage: &mut Usage, leaf: u64, locked: bool) {
        let (entry, head) = (P::Pte::small(leaf), P::Pte::pfn(leaf));
        // Not among what is resident. Source: Linux `smaps_hugetlb_range`.
        if self.is_hugetlb_page(head) {
            if self.leaf_mapcount(head) > 1 {
                usage.shared_hugetlb += HPAGE_SIZE;
            } else {
                usage.private_hugetlb += HPAGE_SIZE;
            }
            return;
        }
        self.make_tails(head);
        for i in 0..HPAGE_PAGES {
            self.account_page(usage, P::Pte::with_pfn(entry, head.offset(i)), locked);
        }
        if self.page(head).has(flag::ANON) {
            usage.anon_huge += HPAGE_SIZE;
        } else {
            usage.shmem_pmd_mapped += HPAGE_SIZE;
        }
    }

    fn account_page(&self, usage: &mut Usage, entry: u64, locked: bool) {
        let pfn = P::Pte::pfn(entry);
        // The frame of zeroes belongs to nobody, and device memory is none.
        if pfn.0 == self.zero_pfn.get() || pfn.index() >= self.platform.memmap().len() {
            return;
        }
        let page = self.page(self.compound_head(pfn));
        let mapped = self.page_mapcount(pfn).max(1);
        let dirty = P::Pte::is_dirty(entry) || page.has(flag::DIRTY);
        let part = (PAGE_BYTES << PSS_SHIFT) / mapped;
        usage.rss += PAGE_BYTES;
        usage.pss += part;
        if page.has(flag::ANON) {
            usage.anonymous += PAGE_BYTES;
            usage.pss_anon += part;
        } else if page.has(flag::SWAPBACKED) {
            usage.pss_shmem += part;
        } else {
            usage.pss_file += part;
        }
        if P::Pte::is_young(entry) || page.has(flag::REFERENCED) {
            usage.referenced += PAGE_BYTES;
        }
        if dirty {
            usage.pss_dirty += part;
        }
        if locked {
            usage.locked += part;
        }
        match (mapped, dirty) {
            (1, true) => usage.private_dirty += PAGE_BYTES,
            (1, false) => usage.private_clean += PAGE_BYTES,
            (_, true) => usage.shared_dirty += PAGE_BYTES,
            (_, false) => usage.shared_clean += PAGE_BYTES,
        }
    }

    /// Pages of the object behind a mapping that are in swap; for a private writable one, those that have no copy.
    fn swapped_behind(&self, pgd: Pfn, map: &MapInfo) -> u64 {
        let Some(file) = map.file.map(|id| self.inode(id)).filter(|inode| inode.swapped() != 0) else {
            return 0;
        };
        let pages = (map.end - map.start) >> PAGE_SHIFT;
        let copies = map.flags & (vm::SHARED | vm::WRITE) == vm::WRITE;
        let mut swapped = 0;
        let mut next = map.pgoff;
        while let Some((index, entry)) = file.i_pages().find(self, next, map.pgoff + pages - 1, Filter::Any) {
            let addr = VirtAddr(map.start + ((index - map.pgoff) << PAGE_SHIFT));
            let copied = || copies && self.pte(pgd, addr).is_some_and(|pte| pte.get() != 0);
            if entry.as_value().and_then(SwapSlot::of_entry).is_some() && !copied() {
                swapped += 1;
            }
            next = index + 1;
        }
        swapped
    }

    /// What is behind each page of a range, in order.
    pub fn pages_info(&self, mm_id: MmId, range: Range<u64>, each: &mut dyn FnMut(PageInfo)) {
        let pgd = self.mm(mm_id).pgd();
        for addr in range.step_by(PAGE_BYTES as usize) {
            if let Some(leaf) = self.leaf(pgd, VirtAddr(addr)) {
                self.make_tails(P::Pte::pfn(leaf.get()));
            }
            let entry = self.entry_at(pgd, VirtAddr(addr));
            each(match entry {
                0 => PageInfo::Empty,
                entry if P::Pte::is_present(entry) => self.present(P::Pte::pfn(entry)),
                entry => match SwapSlot::of_entry(P::Pte::swap_entry(entry)) {
                    Some(slot) => PageInfo::Swapped(slot.area() as u64, u64::from(slot.offset())),
                    None => PageInfo::Empty,
                },
            });
        }
    }

    fn present(&self, pfn: Pfn) -> PageInfo {
        if pfn.0 == self.zero_pfn.get() || pfn.index() >= self.platform.memmap().len() {
            return PageInfo::Present(pfn, false, false);
        }
        let page = self.page(pfn);
        PageInfo::Present(pfn, !page.has(flag::ANON), self.page_mapcount(pfn) == 1)
    }

    /// Pages of an address space by use. Rule I10.
    pub fn mm_sizes(&self, mm_id: MmId) -> Sizes {
        let mm = self.mm(mm_id);
        let mut sizes = Sizes {
            total: mm.total_vm(),
            locked: mm.locked_vm(),
            anon: mm.rss_anon(),
            file: mm.rss_file(),
            shmem: mm.rss_shmem(),
            tables: mm.nr_ptes(),
            swap: mm.swapents(),
            hugetlb: mm.hugetlb_usage(),
            ..Sizes::default()
        };
        let mut addr = 0;
        while let Some(map) = self.map_info(mm_id, addr) {
            let pages = (map.end - map.start) >> PAGE_SHIFT;
            if map.role == Role::Stack || map.flags & vm::GROWSDOWN != 0 {
                sizes.stack += pages;
            } else if map.flags & (vm::SHARED | vm::WRITE) == vm::WRITE {
                sizes.data += pages;
            } else if map.flags & (vm::EXEC | vm::WRITE) == vm::EXEC {
                sizes.exec += pages;
            }
            addr = map.end;
        }
        sizes
    }

    /// Where an address space's program, stack and strings are, for `/proc/PID/stat` and what reads its strings.
    pub fn mm_layout(&self, mm_id: MmId) -> Layout {
        let mm = self.mm(mm_id);
        Layout {
            start_brk: mm.start_brk().0,
            start_stack: mm.start_stack(),
            arguments: mm.arg_start()..mm.env_start(),
            environment: mm.env_start()..mm.env_end(),
        }
    }

    /// Notes where a program's stack and strings begin and end.
    pub fn set_mm_layout(&self, mm_id: MmId, start_stack: u64, arg_start: u64, env: Range<u64>) {
        let mm = self.mm(mm_id);
        mm.set_start_stack(start_stack);
        mm.set_arg_start(arg_start);
        mm.set_env_start(env.start);
        mm.set_env_end(env.end);
    }
}

/// See [`Memory::mm_layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where the heap begins.
    pub start_brk: u64,
    /// Stack pointer at the start.
    pub start_stack: u64,
    /// The arguments, each with its NUL.
    pub arguments: Range<u64>,
    /// The environment.
    pub environment: Range<u64>,
}
