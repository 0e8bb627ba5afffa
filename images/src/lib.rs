//! What faultlab boots, embedded: the guest kernel and the bundled programs.
//!
//! The build script compiles both with the stock stable toolchain for the host's default target (`build/flags.rs`
//! holds every flag and its reason), and then refuses a kernel that contains an instruction which ring 0 must not
//! contain (`build/ring0`).
//!
//! Invariants, established at build time: [`KERNEL`] is a static x86-64 ELF whose entry is a physical address, with
//! its symbol table and without debug information; every program of [`CATALOG`] is in [`PROGRAMS`], in that order,
//! and is a static, position-dependent x86-64 ELF.

mod catalog;
#[cfg(test)]
#[path = "../build/ring0/mod.rs"]
mod ring0;

pub use catalog::CATALOG;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The ELF image of the bundled program of this name.
///
/// ```
/// assert!(faultlab_images::program("faults").is_some_and(|elf| elf.starts_with(b"\x7fELF")));
/// assert!(faultlab_images::program("no-such-program").is_none());
/// ```
#[must_use]
pub fn program(name: &str) -> Option<&'static [u8]> {
    PROGRAMS
        .iter()
        .find(|(bundled, _)| *bundled == name)
        .map(|(_, elf)| *elf)
}

/// The one-line description of the bundled program of this name.
#[must_use]
pub fn summary(name: &str) -> Option<&'static str> {
    CATALOG
        .iter()
        .find(|(bundled, _)| *bundled == name)
        .map(|(_, summary)| *summary)
}
