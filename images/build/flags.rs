//! Every compiler and linker flag of the guest, with its reason: the one place for them.
//!
//! Source: rustc book, "Codegen Options"; GNU ld manual, "Command-line Options"; `guest/kernel/linker.ld`.

/// The target, always given explicitly: Cargo then keeps flags away from the nested build's own build scripts.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The profile of the root `Cargo.toml` that the guest is built with.
pub(crate) const PROFILE: &str = "guest";

/// Both the kernel and the programs.
const COMMON: &[&str] = &[
    // The baseline, whatever the user's configuration says: the guest may run on another machine than the builder.
    "-Ctarget-cpu=x86-64",
    // No unwinder: a freestanding program has none, and the kernel discards the tables.
    "-Cpanic=abort",
    // Fixed addresses: nobody relocates a kernel or a static program at load time.
    "-Crelocation-model=static",
    // The symbol table stays, for panics and profiles; line tables (precompiled `core` has them too) would make the
    // embedded images ten times larger. Done by the linker, so that no `objcopy` is needed.
    "-Cstrip=debuginfo",
    // No C runtime, no libraries, no interpreter, no relocation.
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    // Nothing reads a build ID here, and it would take a page of the image.
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-z,max-page-size=4096",
    "-Clink-arg=-Wl,-z,noexecstack",
];

/// The kernel only.
const KERNEL: &[&str] = &[
    // Linked in the last 2 GiB: addresses are sign-extended 32-bit values.
    "-Ccode-model=kernel",
    // An exception in ring 0 pushes its frame right below the stack pointer.
    "-Cno-redzone=yes",
    // KVM's instruction emulator, which runs ring 0 on hosts without hardware virtualization, has no SSE arithmetic;
    // and a kernel that touches no vector register need not save the programs' registers on each fault.
    // On stable this warns that `sse2` belongs to the target's ABI. The warning is about passing floats between
    // crates, which no guest crate does; `build/nested.rs` keeps it out of the user's sight.
    "-Ctarget-feature=-sse,-sse2",
];

/// Flags for the guest kernel, linked with the script at `linker_script` (an absolute path).
pub(crate) fn kernel(linker_script: &str) -> Vec<String> {
    let mut flags = owned(&[COMMON, KERNEL]);
    flags.push(format!("-Clink-arg=-Wl,-T,{linker_script}"));
    flags
}

/// Flags for the programs. They run in ring 3, which is native on every host, so SSE stays on.
pub(crate) fn programs() -> Vec<String> {
    owned(&[COMMON])
}

fn owned(groups: &[&[&str]]) -> Vec<String> {
    groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|flag| (*flag).to_owned())
        .collect()
}
