//! sysfs: what an administrator reads and sets about huge pages, one value a file. Source: Linux, fs/sysfs/file.c, fs/kernfs/file.c,
//! mm/huge_memory.c (`enabled_store`, `defrag_store`), mm/shmem.c (`shmem_enabled_store`); Documentation/admin-guide/mm/transhuge.rst.
//! Rule G1.
//!
//! What is written is taken whole, wherever it is written. Differs from Linux: there are no knobs a size, nor khugepaged's; there is no huge
//! page of zeroes, so `use_zero_page` is 0 and can only be set to that.

use faultlab_mm::Platform;
use faultlab_mm::huge::{AnonPolicy, Defrag, HPAGE_SIZE, ShmemPolicy};

use super::hugepages::Pool;
use super::text::{Out, put};
use crate::{Errno, Linux};

/// A file of sysfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// `transparent_hugepage/enabled`.
    Enabled,
    /// `transparent_hugepage/shmem_enabled`.
    ShmemEnabled,
    /// `transparent_hugepage/defrag`.
    Defrag,
    /// `transparent_hugepage/use_zero_page`.
    UseZeroPage,
    /// `transparent_hugepage/hpage_pmd_size`.
    HpagePmdSize,
    /// Of `hugepages`.
    Pool(Pool),
}

impl<P: Platform> Linux<'_, P> {
    pub(super) fn show_attribute(&self, attribute: Attribute, out: &mut Out<'_>) {
        match attribute {
            Attribute::Enabled => choice(
                AnonPolicy::ALL.map(AnonPolicy::name),
                self.memory.anon_policy().name(),
                out,
            ),
            Attribute::ShmemEnabled => {
                choice(
                    ShmemPolicy::ALL.map(ShmemPolicy::name),
                    self.memory.shmem_policy().name(),
                    out,
                );
            }
            Attribute::Defrag => choice(Defrag::ALL.map(Defrag::name), self.memory.defrag().name(), out),
            Attribute::UseZeroPage => put!(out; "0\n"),
            Attribute::HpagePmdSize => put!(out; HPAGE_SIZE, "\n"),
            Attribute::Pool(pool) => self.show_pool(pool, out),
        }
    }

    /// Sets what is written, `bytes` of `len`; how many were taken: all.
    pub(super) fn store_attribute(&self, attribute: Attribute, bytes: &[u8], len: u64) -> Result<u64, Errno> {
        let word = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let memory = self.memory;
        let known = match attribute {
            Attribute::Enabled => AnonPolicy::of_name(word).map(|policy| memory.set_anon_policy(policy)),
            Attribute::ShmemEnabled => ShmemPolicy::of_name(word).map(|policy| memory.set_shmem_policy(policy)),
            Attribute::Defrag => Defrag::of_name(word).map(|defrag| memory.set_defrag(defrag)),
            Attribute::UseZeroPage => (word == b"0").then_some(()),
            Attribute::HpagePmdSize => return Err(Errno::EIO),
            Attribute::Pool(pool) => return self.store_pool(pool, word).map(|()| len),
        };
        known.map(|()| len).ok_or(Errno::EINVAL)
    }
}

/// All words in a line, the one in force in brackets.
fn choice<const N: usize>(words: [&str; N], chosen: &str, out: &mut Out<'_>) {
    for (at, word) in words.into_iter().enumerate() {
        put!(out; if at == 0 { "" } else { " " });
        if word == chosen {
            put!(out; "[", word, "]");
        } else {
            put!(out; word);
        }
    }
    put!(out; "\n");
}
