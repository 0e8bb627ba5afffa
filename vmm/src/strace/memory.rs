//! A process's memory, read through its own page tables in guest RAM. Nothing is faulted in.
//!
//! Source: Intel SDM vol. 3, 4.5 "4-Level Paging".

use vm_memory::{Bytes, GuestAddress};

use crate::memory::GuestRam;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Memory that can be read, as far as it is there.
pub trait Memory {
    /// Fills as much of `to` as lies at `address`, up to the first page that is not there; how many bytes.
    fn read(&self, address: u64, to: &mut [u8]) -> usize;
}

/// That of a process: RAM and the root of its page tables.
pub struct Space<'a> {
    /// Guest RAM.
    pub ram: &'a GuestRam,
    /// Physical address of the tables' root; 0 for none.
    pub root: u64,
}

impl Space<'_> {
    /// Where an address lies in RAM.
    fn translate(&self, address: u64) -> Option<u64> {
        const PRESENT: u64 = 1;
        const LARGE: u64 = 1 << 7;
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        if self.root == 0 || address >= 1 << 47 {
            return None;
        }
        let mut table = self.root & FRAME;
        for shift in [39, 30, 21, 12] {
            let at = table + (address >> shift & 511) * 8;
            let entry: u64 = self.ram.memory().read_obj(GuestAddress(at)).ok()?;
            if entry & PRESENT == 0 {
                return None;
            }
            let below = (1 << shift) - 1;
            if shift == 12 || entry & LARGE != 0 && shift <= 30 {
                return Some((entry & FRAME & !below) | address & below);
            }
            table = entry & FRAME;
        }
        None
    }
}

impl Memory for Space<'_> {
    fn read(&self, address: u64, to: &mut [u8]) -> usize {
        let mut done = 0;
        while done < to.len() {
            let at = address.wrapping_add(done as u64);
            let len = (PAGE - at % PAGE).min((to.len() - done) as u64) as usize;
            let read = self.translate(at).map(|physical| {
                let part = &mut to[done..done + len];
                self.ram.memory().read_slice(part, GuestAddress(physical))
            });
            match read {
                Some(Ok(())) => done += len,
                _ => break,
            }
        }
        done
    }
}
