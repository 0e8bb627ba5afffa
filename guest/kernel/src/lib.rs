//! The pure half of the guest kernel: what it reads and writes that has a format, without any machine.
//!
//! | module | what it is |
//! |---|---|
//! | [`boot_params`] | the zero page of the Linux boot protocol |
//! | [`cmdline`] | the kernel's command line |
//! | [`cpio`] | the initrd |
//! | [`elf`] | static x86-64 executables |
//! | [`pte`] | page-table entries |
//! | [`script`] | the first line of a script |
//! | [`shm_ds`] | the structures of `shmctl` |
//! | [`swap_header`] | the first page of a swap disk |
//! | [`stack`] | a program's initial stack |
//! | [`text`] | lines of text without `core::fmt` |
//! | [`virtqueue`] | what a virtio driver and its device share |
//!
//! Everything here is compiled into ring 0 by the binary of this package (`main.rs`), so the limits of ring 0 hold:
//! no floating point, and no integer formatting of `core`, which is precompiled with SSE.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod boot_params;
pub mod cmdline;
pub mod cpio;
pub mod elf;
pub mod pte;
pub mod script;
pub mod shm_ds;
pub mod stack;
pub mod swap_header;
pub mod text;
pub mod virtqueue;

/// The little-endian integer at `offset`, if the bytes reach that far.
pub(crate) fn le<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
