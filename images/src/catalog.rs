//! The bundled programs: names and one-line descriptions, for the build script (what to compile) and for
//! `faultlab programs` (what to show).

/// Name and description of every bundled program, in the order in which they are listed.
pub const CATALOG: &[(&str, &str)] = &[
    ("faults", "times every kind of memory fault and exit, phase by phase"),
    (
        "shm-pair",
        "two processes attach one System V segment, and each checks what the other wrote",
    ),
    (
        "shm-press",
        "writes a segment of the given size and verifies every byte of it twice",
    ),
    (
        "swap-check",
        "writes self-describing pages, has them swapped under fork, holes and swapoff, and verifies",
    ),
    (
        "rules-shm",
        "shows what the kernel does in every case of System V shared memory, one line a case",
    ),
    (
        "hello",
        "prints its arguments and environment, exits with the status given as first argument",
    ),
    (
        "crash",
        "misbehaves in the way named by its argument: faults, traps, endless loop, exit status",
    ),
    (
        "rules-mmap",
        "one line for each rule of mmap and its relatives: what this kernel does",
    ),
    (
        "rules-file",
        "one line for each rule of memory files: descriptors, reading and writing, size, holes, seals, mappings",
    ),
    (
        "rules-random",
        "calls drawn from a seed, made in turn by several processes, one line each: what this kernel does",
    ),
    (
        "rules-signal",
        "one line for each case of signals: what a handler is told of every fault, actions, masks, frames",
    ),
    (
        "rules-exec",
        "one line for each case of processes: what execve keeps and ends, how children are waited for, groups, sleep",
    ),
    (
        "rules-tmpfs",
        "one line for each rule of tmpfs: names, links, mounts and their limits, rights, times; mounts one on /dev/shm",
    ),
    (
        "lab-check",
        "asks /dev/faultlab for everything it can do, verifies each state, and tries hostile arguments",
    ),
];
