//! What a handler is told of accesses that memory refuses: B36, and the rules that say which refusal it is.

use core::arch::naked_asm;

use faultlab_programs::arena::{
    Arena, NONE, PRIVATE, RO, RW, SHARED, in_child, line, madvise, mmap_raw, mprotect, mremap, munmap, must, poke,
};
use faultlab_programs::sys::files;
use faultlab_programs::sys::memory::PAGE_BYTES;
use linux_raw_sys::general::{MADV_DONTFORK, MAP_GROWSDOWN, PROT_EXEC, PROT_READ};

use crate::attempt::{Instruction, attempt, install};

const P: usize = PAGE_BYTES;

#[unsafe(naked)]
extern "C" fn load(_: usize) {
    naked_asm!("mov al, [rdi]", "ret")
}

#[unsafe(naked)]
extern "C" fn store(_: usize) {
    naked_asm!("mov byte ptr [rdi], 195", "ret")
}

/// Eight bytes, of which the last may be what is refused.
#[unsafe(naked)]
extern "C" fn load_8(_: usize) {
    naked_asm!("mov rax, [rdi]", "ret")
}

#[unsafe(naked)]
extern "C" fn store_8(_: usize) {
    naked_asm!("mov [rdi], rdi", "ret")
}

/// Loads and stores.
#[unsafe(naked)]
extern "C" fn modify(_: usize) {
    naked_asm!("lock add byte ptr [rdi], 0", "ret")
}

#[unsafe(naked)]
pub(crate) extern "C" fn jump(_: usize) {
    naked_asm!("jmp rdi")
}

/// With the stack pointer there.
#[unsafe(naked)]
extern "C" fn push(_: usize) {
    naked_asm!("mov rsp, rdi", "push rax", "ud2")
}

const ALL: [(&str, Instruction); 4] = [("load", load), ("store", store), ("modify", modify), ("jump", jump)];

fn every(case: &str, address: usize) {
    for (access, instruction) in ALL {
        line("B36", format_args!("{case}: {access}"), attempt(instruction, address));
    }
}

pub(crate) fn show(arena: &Arena) {
    install();
    rights(arena);
    changed(arena);
    files_and_objects(arena);
    stacks(arena);
    far();
    forked(arena);
}

fn rights(arena: &Arena) {
    arena.clear();
    every("nothing mapped", arena.page(5) + 7);
    every("page 0", 0);
    let none = arena.map(10, 1, NONE, PRIVATE);
    every("no rights", none + 8);
    let read = arena.map(12, 1, RO, PRIVATE);
    every("read-only", read);
    let write = arena.map(14, 1, RW, PRIVATE);
    every("not executable", write + P - 1);
    let shared = arena.map(16, 1, RO, SHARED);
    every("shared, read-only", shared);
    let code = arena.map(18, 1, (PROT_EXEC | PROT_READ) as usize, PRIVATE);
    line("B26", "executable: load", attempt(load, code));
    line("B26", "executable: store", attempt(store, code));
    let only = arena.map(20, 1, PROT_EXEC as usize, PRIVATE);
    line("B26", "only executable: load", attempt(load, only));
    let only = arena.map(22, 1, 2, PRIVATE);
    line("B26", "only writable: load", attempt(load, only));
    // The first byte that is refused is told, not the first that is accessed.
    line("B36", "into a page without rights: load", attempt(load_8, none - 4));
    let edge = arena.map(30, 1, RW, PRIVATE) + P - 4;
    line("B36", "over the end of a mapping: load", attempt(load_8, edge));
    line("B36", "over the end of a mapping: store", attempt(store_8, edge));
}

fn changed(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 3, RW, PRIVATE);
    for page in 0..3 {
        poke(at + page * P, 1);
    }
    must(mprotect(at + P, P, RO));
    line("B25", "made read-only: load", attempt(load, at + P));
    line("B25", "made read-only: store", attempt(store, at + P));
    line("B25", "the page before it: store", attempt(store, at));
    must(mprotect(at + P, P, NONE));
    every("made inaccessible", at + P);
    must(mprotect(at + P, P, RW));
    line("B25", "given back: store", attempt(store, at + P));
    must(munmap(at + P, 1));
    every("unmapped", at + P);
    let moved = must(mremap(at, 1, 1, 3, arena.page(40)));
    line("B27", "moved away: load", attempt(load, at));
    line("B27", "moved away, there: load", attempt(load, moved));
    line("B33", "before it is dropped: load", attempt(load, at + 2 * P));
}

fn memory_file(bytes: usize) -> usize {
    // SAFETY: reads the name only.
    let file = must(unsafe { files::memfd_create([c"rules".as_ptr() as usize, 0]) });
    truncate(file, bytes);
    file
}

fn truncate(file: usize, bytes: usize) {
    // SAFETY: what the program maps of the file is accessed by attempts only.
    must(unsafe { files::ftruncate([file, bytes]) });
}

fn files_and_objects(arena: &Arena) {
    arena.clear();
    let file = memory_file(2 * P + 100);
    let shared = must(mmap_raw([arena.page(10), 5 * P, RW, 0x11, file, 0]));
    let private = must(mmap_raw([arena.page(20), 5 * P, RW, 0x12, file, 0]));
    let read = must(mmap_raw([arena.page(30), 5 * P, RO, 0x11, file, 0]));
    for (case, at) in [("shared", shared), ("private", private), ("read-only", read)] {
        line(
            "B36",
            format_args!("{case}, the end's page: load"),
            attempt(load, at + 3 * P - 1),
        );
        line(
            "B36",
            format_args!("{case}, past the end: load"),
            attempt(load, at + 3 * P),
        );
        line(
            "B36",
            format_args!("{case}, past the end: store"),
            attempt(store, at + 3 * P + 5),
        );
        line(
            "B36",
            format_args!("{case}, past the end: modify"),
            attempt(modify, at + 4 * P),
        );
        line(
            "B36",
            format_args!("{case}, over the end: load"),
            attempt(load_8, at + 3 * P - 3),
        );
        line(
            "B36",
            format_args!("{case}, past the end: jump"),
            attempt(jump, at + 3 * P),
        );
    }
    poke(private + P, 3);
    truncate(file, 100);
    for (case, at) in [("shared", shared), ("private", private), ("private copy", private + P)] {
        line("B40", format_args!("{case}, truncated: load"), attempt(load, at + P));
        line("B40", format_args!("{case}, truncated: store"), attempt(store, at + P));
    }
    truncate(file, 2 * P);
    line("B40", "grown again: store", attempt(store, shared + P));
    line("B40", "grown again, private: store", attempt(store, private + P));
    let object = arena.map(40, 1, RW, SHARED);
    must(mremap(object, 1, 3, 0, 0));
    line("B36", "past the end of an object: load", attempt(load, object + P));
    line(
        "B36",
        "past the end of an object: store",
        attempt(store, object + 2 * P + 9),
    );
    // SAFETY: its mappings stay.
    must(unsafe { files::close([file]) });
}

fn stacks(arena: &Arena) {
    const STACK: usize = PRIVATE | MAP_GROWSDOWN as usize;
    arena.clear();
    let stack = arena.map(40, 2, RW, STACK);
    line("B11", "below a stack: store", attempt(store, stack - P));
    line("B11", "far below: push", attempt(push, stack - 4 * P));
    arena.map(30, 1, RW, PRIVATE);
    line("B11", "into the guard gap: store", attempt(store, stack - 7 * P + 16));
    line("B11", "into the guard gap: push", attempt(push, stack - 7 * P + 16));
    line("B11", "below the guard gap: load", attempt(load, arena.page(31) + 1));
    let read = arena.map(12, 1, RO, PRIVATE);
    line("B36", "a stack that is read-only: push", attempt(push, read + 16));
    line("B36", "a stack that is nowhere: push", attempt(push, 64));
}

fn far() {
    every("the kernel's image", 0xffff_ffff_8010_0000);
    line(
        "B36",
        "where the kernel's half begins: load",
        attempt(load, 0xffff_8000_0000_0000),
    );
    line("B36", "the last byte: load", attempt(load, usize::MAX));
    line(
        "B36",
        "the last page of programs: load",
        attempt(load, 0x7fff_ffff_f000),
    );
    line(
        "B36",
        "the last canonical address: load",
        attempt(load, 0x7fff_ffff_ffff),
    );
    for (case, address) in [("not canonical", 0x8000_0000_0000), ("not canonical, high", 1 << 62)] {
        line("B36", format_args!("{case}: load"), attempt(load, address));
        line("B36", format_args!("{case}: store"), attempt(store, address));
        line("B36", format_args!("{case}: push"), attempt(push, address + 16));
    }
}

/// A mapping that a child did not get.
fn forked(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 1, RW, PRIVATE);
    poke(at, 1);
    must(madvise(at, P, MADV_DONTFORK));
    let child = in_child(|| {
        line("B35", "not in the child: load", attempt(load, at));
        0
    });
    line("B35", "the child goes on", child);
    line("B35", "in the parent: load", attempt(load, at));
}
