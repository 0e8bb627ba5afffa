//! Calls about a range of the program's pages: the frames behind them, of RAM or of the lab window, go to the VMM.

use core::cell::Cell;

use faultlab_abi::lab::{PageRange, kind};
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_linux::Errno;
use faultlab_mm::addr::{Pfn, VirtAddr};

use super::pair;
use crate::dev::lab;
use crate::global::Global;
use crate::mem::platform::MEMORY;
use crate::mem::{ram, uaccess};
use crate::task::process;

/// Most ranges in one command.
const RANGES_MAX: usize = 256;

/// Page ranges on their way to the VMM.
pub(super) struct Ranges {
    kind: u32,
    list: &'static Cell<[PageRange; RANGES_MAX]>,
    len: usize,
    /// Sum of the answers.
    counted: u64,
}

impl Ranges {
    /// For commands of this kind.
    pub(super) fn of(kind: u32) -> Self {
        static LIST: Global<Cell<[PageRange; RANGES_MAX]>> =
            Global::new(Cell::new([PageRange { start: 0, pages: 0 }; RANGES_MAX]));
        Self {
            kind,
            list: &LIST,
            len: 0,
            counted: 0,
        }
    }

    /// Adds pages, to the last range if they continue it.
    pub(super) fn push(&mut self, pfn: Pfn, pages: u64) -> Result<(), Errno> {
        let list = self.list.as_array_of_cells();
        if let Some(last) = self.len.checked_sub(1) {
            let PageRange { start, pages: before } = list[last].get();
            if start + before * PAGE_SIZE == pfn.phys() {
                list[last].set(PageRange {
                    start,
                    pages: before + pages,
                });
                return Ok(());
            }
        }
        if self.len == RANGES_MAX {
            self.send()?;
        }
        list[self.len].set(PageRange {
            start: pfn.phys(),
            pages,
        });
        self.len += 1;
        Ok(())
    }

    /// Sends what is left.
    pub(super) fn send(&mut self) -> Result<(), Errno> {
        let len = core::mem::take(&mut self.len);
        if len == 0 {
            return Ok(());
        }
        let mut answer = 0u64;
        let (list, answer_at) = (ram::phys_of(self.list.as_ptr()), ram::phys_of(&raw mut answer));
        match lab::command(self.kind, [list, len as u64, answer_at, 0, 0, 0]) {
            // SAFETY: a local; commands that count wrote it meanwhile.
            0 => self.counted += unsafe { (&raw const answer).read_volatile() },
            status => return Err(Errno::of_status(status)),
        }
        Ok(())
    }
}

/// Whether a command changes what lies in the frames, or how stores to them go.
fn changes(kind: u32) -> bool {
    matches!(kind, kind::COLD | kind::WRITE_PROTECT)
}

/// Sends the frames behind `[addr, addr + len)`. Those before one that is not present, or that the program may not change where the command
/// would, have been sent when this fails.
fn send_range(kind: u32, [addr, len]: [u64; 2]) -> Result<Ranges, Errno> {
    if addr % PAGE_SIZE != 0 || len % PAGE_SIZE != 0 || addr.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    let mut ranges = Ranges::of(kind);
    let (mut addr, mut left) = (addr, len / PAGE_SIZE);
    while left != 0 {
        // Device memory is all present, and large: not page by page.
        let (pfn, pages) = match MEMORY.device_pages(process::current_mm(), VirtAddr(addr)) {
            Some((pfn, pages)) => (pfn, pages.min(left)),
            None => {
                let pfn = uaccess::present_frame(addr).ok_or(Errno::EFAULT)?;
                // The device is everybody's.
                if changes(kind) && !MEMORY.may_change_page(process::current_mm(), VirtAddr(addr)) {
                    return Err(Errno::EACCES);
                }
                (pfn, 1)
            }
        };
        ranges.push(pfn, pages)?;
        addr += pages * PAGE_SIZE;
        left -= pages;
    }
    ranges.send()?;
    Ok(ranges)
}

/// A command with a [`faultlab_abi::dev::Range`].
pub(super) fn send(kind: u32, arg: u64) -> Result<(), Errno> {
    send_range(kind, pair(arg)?).map(drop)
}

/// A command with a [`faultlab_abi::dev::RangeCount`].
pub(super) fn count(kind: u32, arg: u64) -> Result<(), Errno> {
    const AT: u64 = core::mem::offset_of!(faultlab_abi::dev::RangeCount, pages) as u64;
    let ranges = send_range(kind, pair(arg)?)?;
    uaccess::copy_to_user(arg.wrapping_add(AT), &ranges.counted.to_le_bytes())
}
