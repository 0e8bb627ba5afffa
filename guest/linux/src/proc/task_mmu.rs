//! A process's memory: `maps smaps smaps_rollup pagemap mem`. Source: Linux, fs/proc/task_mmu.c, fs/proc/base.c (`mem_rw`);
//! proc_pid_maps(5), proc_pid_smaps(5), proc_pid_pagemap(5), proc_pid_mem(5). Rules I2, I3, B36.

use faultlab_mm::addr::VirtAddr;
use faultlab_mm::huge::HPAGE_SIZE;
use faultlab_mm::mmap::TASK_SIZE;
use faultlab_mm::task_mmu::{MapInfo, PSS_SHIFT, PageInfo, Role, Usage};
use faultlab_mm::vma::{MmId, vm};
use faultlab_mm::{Platform, addr};

use super::Shows;
use super::system::Process;
use super::text::{Hex0, Left, Out, Right, put};
use crate::read_write::Buffer;
use crate::{Errno, Linux};

/// Columns before a mapping's name. Source: Linux `show_vma_header_prefix`, 25 and those of 16 digits and 6 gaps.
const NAME_COLUMN: usize = 73;

impl<P: Platform> Linux<'_, P> {
    fn each_map(&self, process: &Process, mut each: impl FnMut(MmId, &MapInfo)) {
        let Some(mm) = process.mm else { return };
        let mut next = 0;
        while let Some(map) = self.memory.map_info(mm, next) {
            each(mm, &map);
            next = map.end;
        }
    }

    pub(super) fn show_maps(&self, process: &Process, out: &mut Out<'_>) {
        self.each_map(process, |_, map| self.show_map(map, out));
    }

    fn show_map(&self, map: &MapInfo, out: &mut Out<'_>) {
        let mut columns = 0;
        let line = &mut Out(&mut |bytes| {
            columns += bytes.len();
            (out.0)(bytes);
        });
        put!(line; Hex0(map.start, 8), "-", Hex0(map.end, 8), " ");
        for (bit, letter) in [(vm::READ, "r"), (vm::WRITE, "w"), (vm::EXEC, "x")] {
            put!(line; if map.flags & bit != 0 { letter } else { "-" });
        }
        // Of anonymous memory the place is not shown.
        let object = map.file.map(|file| (file, self.memory.getattr(file)));
        let offset = if object.is_some() {
            map.pgoff << addr::PAGE_SHIFT
        } else {
            0
        };
        let (dev, ino) = match (map.segment, object) {
            (Some((id, _)), Some((_, stat))) => (stat.dev, u64::from(id)),
            (_, Some((_, stat))) => (stat.dev, stat.ino),
            _ => (0, 0),
        };
        put!(line; if map.flags & vm::MAYSHARE != 0 { "s " } else { "p " }, Hex0(offset, 8), " ");
        put!(line; Hex0(dev >> 8, 2), ":", Hex0(dev & 0xff, 2), " ", ino);
        put!(line; " ");
        let pad = NAME_COLUMN.saturating_sub(columns);
        let name = &mut Out(out.0);
        match (map.segment, map.file, map.role) {
            (Some((_, key)), ..) => put!(name; Left("", pad), "/SYSV", Hex0(u64::from(key), 8), " (deleted)"),
            (None, Some(file), _) => {
                put!(name; Left("", pad));
                self.each_path_piece(file, &mut |piece| name_line(piece, name));
            }
            (None, None, _) if map.flags & vm::PFNMAP != 0 => put!(name; Left("", pad), "/dev/faultlab"),
            (None, None, Role::Heap) => put!(name; Left("", pad), "[heap]"),
            (None, None, Role::Stack) => put!(name; Left("", pad), "[stack]"),
            (None, None, Role::Other) => {}
        }
        put!(name; "\n");
    }

    pub(super) fn show_smaps(&self, process: &Process, out: &mut Out<'_>) {
        self.each_map(process, |mm, map| {
            self.show_map(map, out);
            let usage = self.memory.map_usage(mm, map);
            kib("Size:", map.end - map.start, out);
            let page = if map.flags & vm::HUGETLB != 0 {
                HPAGE_SIZE
            } else {
                addr::PAGE_SIZE
            };
            kib("KernelPageSize:", page, out);
            kib("MMUPageSize:", page, out);
            show_usage(&usage, false, out);
            let eligible = self.memory.thp_eligible(mm, VirtAddr(map.start));
            put!(out; "THPeligible:           ", u64::from(eligible), "\nVmFlags:");
            // Linux takes VM_SHARED from what was opened for reading only; here it stays, without the right to write.
            let hidden = if map.flags & vm::MAYWRITE == 0 { vm::SHARED } else { 0 };
            for (bit, name) in FLAGS {
                if map.flags & !hidden & bit != 0 {
                    put!(out; " ", *name);
                }
            }
            put!(out; " \n");
        });
    }

    /// # Errors
    /// `ESRCH` for a process without memory.
    pub(super) fn show_smaps_rollup(&self, process: &Process, out: &mut Out<'_>) -> Result<(), Errno> {
        process.mm.ok_or(Errno::ESRCH)?;
        let mut sum = Usage::default();
        let (mut first, mut last) = (None, 0);
        self.each_map(process, |mm, map| {
            first.get_or_insert(map.start);
            last = map.end;
            add(&mut sum, &self.memory.map_usage(mm, map));
        });
        let (start, pad) = (first.unwrap_or(0), Left("", 26));
        put!(out; Hex0(start, 8), "-", Hex0(last, 8), " ---p 00000000 00:00 0", pad, "[rollup]\n");
        show_usage(&sum, true, out);
        Ok(())
    }

    /// What is behind pages: 8 bytes each, from that of `pos` on. Frame numbers are shown to root only.
    ///
    /// # Errors
    /// `EINVAL` for what is no multiple of 8, `EFAULT`, `ESRCH`.
    pub(super) fn read_pagemap(&self, shows: Shows, pos: u64, to: Buffer, len: u64) -> Result<u64, Errno> {
        const ENTRY_BYTES: u64 = 8;
        if !pos.is_multiple_of(ENTRY_BYTES) || !len.is_multiple_of(ENTRY_BYTES) {
            return Err(Errno::EINVAL);
        }
        let process = self.system.process(shows.pid).ok_or(Errno::ESRCH)?;
        let Some(mm) = process.mm else { return Ok(0) };
        let (_, reader) = self.system.current();
        let privileged = self
            .system
            .process(reader)
            .is_some_and(|process| process.cred.privileged());
        let pages = (TASK_SIZE >> addr::PAGE_SHIFT)
            .saturating_sub(pos / ENTRY_BYTES)
            .min(len / ENTRY_BYTES);
        let mut done = 0;
        while done < pages {
            let part = (pages - done).min(32);
            let start = (pos / ENTRY_BYTES + done) << addr::PAGE_SHIFT;
            let (mut bytes, mut at) = ([0; 32 * ENTRY_BYTES as usize], 0);
            self.memory
                .pages_info(mm, start..start + (part << addr::PAGE_SHIFT), &mut |info| {
                    bytes[at..at + 8].copy_from_slice(&pagemap_entry(info, privileged).to_le_bytes());
                    at += 8;
                });
            self.memory
                .copy_to_user(to.mm, to.addr + done * ENTRY_BYTES, &bytes[..at])?;
            done += part;
        }
        Ok(pages * ENTRY_BYTES)
    }

    /// Copies between a process's memory at `pos` and a buffer; how many bytes went.
    ///
    /// # Errors
    /// `EIO` where the process could not access it itself. Rule B36.
    pub(super) fn copy_mem(&self, shows: Shows, pos: u64, buffer: Buffer, len: u64, write: bool) -> Result<u64, Errno> {
        let process = self.system.process(shows.pid).ok_or(Errno::ESRCH)?;
        let Some(mm) = process.mm else { return Ok(0) };
        let (mut bytes, mut done) = ([0; 256], 0);
        while done < len {
            let at = pos + done;
            let page_end = addr::PAGE_SIZE - at % addr::PAGE_SIZE;
            let part = (len - done).min(bytes.len() as u64).min(page_end) as usize;
            let own = buffer.addr + done;
            let result = if write {
                self.memory.copy_from_user(buffer.mm, &mut bytes[..part], own)?;
                self.memory.copy_to_user(mm, at, &bytes[..part])
            } else {
                let read = self.memory.copy_from_user(mm, &mut bytes[..part], at);
                if read.is_ok() {
                    self.memory.copy_to_user(buffer.mm, own, &bytes[..part])?;
                }
                read
            };
            match result {
                Ok(()) => done += part as u64,
                Err(_) if done == 0 => return Err(Errno::EIO),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// Bits of `pagemap`. Source: Linux, Documentation/admin-guide/mm/pagemap.rst.
fn pagemap_entry(info: PageInfo, privileged: bool) -> u64 {
    const EXCLUSIVE: u64 = 1 << 56;
    const FILE: u64 = 1 << 61;
    const SWAP: u64 = 1 << 62;
    const PRESENT: u64 = 1 << 63;
    match info {
        PageInfo::Empty => 0,
        PageInfo::Present(pfn, file, exclusive) => {
            let flag = |set, bit| if set { bit } else { 0 };
            PRESENT | flag(file, FILE) | flag(exclusive, EXCLUSIVE) | if privileged { u64::from(pfn.0) } else { 0 }
        }
        PageInfo::Swapped(area, offset) => SWAP | if privileged { area | offset << 5 } else { 0 },
    }
}

/// Source: Linux `seq_path`: a line's end would be mistaken.
fn name_line(piece: &[u8], out: &mut Out<'_>) {
    for part in piece.split_inclusive(|&byte| byte == b'\n') {
        match part.strip_suffix(b"\n") {
            Some(front) => put!(out; front, "\\012"),
            None => put!(out; part),
        }
    }
}

fn kib(name: &str, bytes: u64, out: &mut Out<'_>) {
    put!(out; Left(name, 16), Right(bytes >> 10, 8), " kB\n");
}

fn show_usage(usage: &Usage, rollup: bool, out: &mut Out<'_>) {
    let part = |shifted: u64| shifted >> PSS_SHIFT;
    kib("Rss:", usage.rss, out);
    kib("Pss:", part(usage.pss), out);
    kib("Pss_Dirty:", part(usage.pss_dirty), out);
    if rollup {
        kib("Pss_Anon:", part(usage.pss_anon), out);
        kib("Pss_File:", part(usage.pss_file), out);
        kib("Pss_Shmem:", part(usage.pss_shmem), out);
    }
    kib("Shared_Clean:", usage.shared_clean, out);
    kib("Shared_Dirty:", usage.shared_dirty, out);
    kib("Private_Clean:", usage.private_clean, out);
    kib("Private_Dirty:", usage.private_dirty, out);
    kib("Referenced:", usage.referenced, out);
    kib("Anonymous:", usage.anonymous, out);
    kib("KSM:", 0, out);
    kib("LazyFree:", 0, out);
    kib("AnonHugePages:", usage.anon_huge, out);
    kib("ShmemPmdMapped:", usage.shmem_pmd_mapped, out);
    kib("FilePmdMapped:", 0, out);
    kib("Shared_Hugetlb:", usage.shared_hugetlb, out);
    kib("Private_Hugetlb:", usage.private_hugetlb, out);
    kib("Swap:", usage.swap, out);
    kib("SwapPss:", part(usage.swap_pss), out);
    kib("Locked:", part(usage.locked), out);
}

fn add(sum: &mut Usage, usage: &Usage) {
    sum.rss += usage.rss;
    sum.pss += usage.pss;
    sum.pss_dirty += usage.pss_dirty;
    sum.pss_anon += usage.pss_anon;
    sum.pss_file += usage.pss_file;
    sum.pss_shmem += usage.pss_shmem;
    sum.shared_clean += usage.shared_clean;
    sum.shared_dirty += usage.shared_dirty;
    sum.private_clean += usage.private_clean;
    sum.private_dirty += usage.private_dirty;
    sum.referenced += usage.referenced;
    sum.anonymous += usage.anonymous;
    sum.swap += usage.swap;
    sum.swap_pss += usage.swap_pss;
    sum.locked += usage.locked;
    sum.anon_huge += usage.anon_huge;
    sum.shmem_pmd_mapped += usage.shmem_pmd_mapped;
    sum.shared_hugetlb += usage.shared_hugetlb;
    sum.private_hugetlb += usage.private_hugetlb;
}

/// Source: Linux `show_smap_vma_flags`, in the order of the bits.
const FLAGS: &[(u64, &str)] = &[
    (vm::READ, "rd"),
    (vm::WRITE, "wr"),
    (vm::EXEC, "ex"),
    (vm::SHARED, "sh"),
    (vm::MAYREAD, "mr"),
    (vm::MAYWRITE, "mw"),
    (vm::MAYEXEC, "me"),
    (vm::MAYSHARE, "ms"),
    (vm::GROWSDOWN, "gd"),
    (vm::UFFD_MISSING, "um"),
    (vm::PFNMAP, "pf"),
    (vm::LOCKED, "lo"),
    (vm::SEQ_READ, "sr"),
    (vm::RAND_READ, "rr"),
    (vm::DONTCOPY, "dc"),
    (vm::DONTEXPAND, "de"),
    (vm::LOCKONFAULT, "lf"),
    (vm::ACCOUNT, "ac"),
    (vm::NORESERVE, "nr"),
    (vm::HUGETLB, "ht"),
    (vm::WIPEONFORK, "wf"),
    (vm::DONTDUMP, "dd"),
    (vm::HUGEPAGE, "hg"),
    (vm::NOHUGEPAGE, "nh"),
    (vm::UFFD_MINOR, "ui"),
];
