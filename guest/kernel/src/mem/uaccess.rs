//! The programs' memory, as the kernel reads and writes it: page by page through the direct map, each page faulted in
//! as the program itself would. No exception can happen, so none has to be fixed up.
//!
//! Source: Linux, `copy_from_user(9)`.

use core::mem::MaybeUninit;

use faultlab_abi::layout::{PAGE_SIZE, USER_END};
use faultlab_linux::Errno;
use faultlab_mm::addr::{Pfn, VirtAddr};
use faultlab_mm::platform::PteFormat;
use faultlab_mm::vma::MmId;

use crate::mem::platform::MEMORY;
use crate::mem::ram;
use crate::task::process;
use faultlab_kernel::pte::X86Pte;

/// A piece of a program's range that lies in one page.
pub(crate) struct Piece {
    /// The frame behind it.
    pub(crate) pfn: Pfn,
    /// First byte within the frame.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// Bytes of the range before it.
    pub(crate) done: u64,
}

impl Piece {
    /// Physical address of its first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.pfn.phys() + self.offset
    }

    fn address(&self) -> *mut u8 {
        ram::frame_address(self.pfn)
            .cast::<u8>()
            .wrapping_add(self.offset as usize)
    }
}

/// Calls `each` for every page's part of a range, faulted in for reading or writing.
///
/// # Errors
/// `EFAULT` where the program itself would fault; what `each` says. Pieces before that are done.
pub(crate) fn for_each_piece(
    addr: u64,
    len: u64,
    write: bool,
    each: impl FnMut(&Piece) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for_each_piece_of(process::current_mm(), addr, len, write, each)
}

fn for_each_piece_of(
    mm: MmId,
    addr: u64,
    len: u64,
    write: bool,
    mut each: impl FnMut(&Piece) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if addr.checked_add(len).is_none_or(|end| end > USER_END) {
        return Err(Errno::EFAULT);
    }
    let mut done = 0;
    while done < len {
        let at = addr + done;
        let offset = at & (PAGE_SIZE - 1);
        let pfn = MEMORY
            .get_user_page(mm, VirtAddr(at - offset), write)
            .map_err(|_| Errno::EFAULT)?;
        let piece = Piece {
            pfn,
            offset,
            len: (PAGE_SIZE - offset).min(len - done),
            done,
        };
        each(&piece)?;
        done += piece.len;
    }
    Ok(())
}

/// Copies a program's bytes.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn copy_from_user(to: &mut [u8], addr: u64) -> Result<(), Errno> {
    copy_from(process::current_mm(), to, addr)
}

/// Copies any program's bytes.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn copy_from(mm: MmId, to: &mut [u8], addr: u64) -> Result<(), Errno> {
    for_each_piece_of(mm, addr, to.len() as u64, false, |piece| {
        let part = &mut to[piece.done as usize..(piece.done + piece.len) as usize];
        // SAFETY: the piece lies in one frame of RAM; `part` is as long and not in a program's frame.
        unsafe { part.as_mut_ptr().copy_from_nonoverlapping(piece.address(), part.len()) };
        Ok(())
    })
}

/// Copies bytes to a program.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn copy_to_user(addr: u64, from: &[u8]) -> Result<(), Errno> {
    copy_to(process::current_mm(), addr, from)
}

/// Copies bytes to any program.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn copy_to(mm: MmId, addr: u64, from: &[u8]) -> Result<(), Errno> {
    for_each_piece_of(mm, addr, from.len() as u64, true, |piece| {
        let part = &from[piece.done as usize..(piece.done + piece.len) as usize];
        // SAFETY: as in `copy_from_user`; the frame is the program's to lose.
        unsafe { piece.address().copy_from_nonoverlapping(part.as_ptr(), part.len()) };
        Ok(())
    })
}

/// Zeroes a program's bytes.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn clear_user(addr: u64, len: u64) -> Result<(), Errno> {
    clear(process::current_mm(), addr, len)
}

/// Zeroes any program's bytes.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn clear(mm: MmId, addr: u64, len: u64) -> Result<(), Errno> {
    for_each_piece_of(mm, addr, len, true, |piece| {
        // SAFETY: the piece lies in one frame of RAM, which is the program's to lose.
        unsafe { piece.address().write_bytes(0, piece.len as usize) };
        Ok(())
    })
}

/// The `N` bytes at `addr`.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn read<const N: usize>(addr: u64) -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    copy_from_user(&mut bytes, addr)?;
    Ok(bytes)
}

/// Bytes before the NUL of a program's string; `None` when there are more than `most`.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn string_len(addr: u64, most: usize) -> Result<Option<usize>, Errno> {
    const STEP: u64 = 64;
    let mut len = 0;
    while len <= most {
        let at = addr.wrapping_add(len as u64);
        // Pieces that end where their 64 bytes do never reach into another page.
        let step = (STEP - at % STEP) as usize;
        let mut piece = [0; STEP as usize];
        copy_from_user(&mut piece[..step], at)?;
        match piece[..step].iter().position(|byte| *byte == 0) {
            Some(end) => return Ok(Some(len + end).filter(|len| *len <= most)),
            None => len += step,
        }
    }
    Ok(None)
}

/// A program's string without its NUL, in a buffer that it must fit in with it; `None` when it does not.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn read_string(buffer: &mut [MaybeUninit<u8>], addr: u64) -> Result<Option<&[u8]>, Errno> {
    let mut len = 0;
    while len < buffer.len() {
        let at = addr.wrapping_add(len as u64);
        let step = (PAGE_SIZE - at % PAGE_SIZE).min((buffer.len() - len) as u64);
        let mut ended = false;
        for_each_piece(at, step, false, |piece| {
            // SAFETY: the piece lies in one frame of RAM, which no program changes while the kernel runs.
            let bytes = unsafe { core::slice::from_raw_parts(piece.address(), piece.len as usize) };
            for (to, from) in buffer[len..].iter_mut().zip(bytes) {
                if *from == 0 {
                    ended = true;
                    break;
                }
                to.write(*from);
                len += 1;
            }
            Ok(())
        })?;
        if ended {
            // SAFETY: so many were just written.
            return Ok(Some(unsafe {
                core::slice::from_raw_parts(buffer.as_ptr().cast(), len)
            }));
        }
    }
    Ok(None)
}

/// The frame that the running process's page tables map at `addr` now, without faulting anything in.
pub(crate) fn present_frame(addr: u64) -> Option<Pfn> {
    if addr >= USER_END {
        return None;
    }
    let mut table = MEMORY.pgd(process::current_mm());
    for shift in [39, 30, 21, 12] {
        let entry = ram::frame(table)[(addr >> shift) as usize & 511].get();
        if !X86Pte::is_present(entry) {
            return None;
        }
        table = X86Pte::pfn(entry);
        if shift == 21 && !X86Pte::is_table(entry) {
            return Some(table.offset((addr >> 12) as u32 & 511));
        }
    }
    Some(table)
}
