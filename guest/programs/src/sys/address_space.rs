//! The calls of an address space, bare: every argument is the program's, good or bad. For programs that show what a kernel
//! makes of them.
//!
//! Source: the man page of each.

bare! {
    mmap, __NR_mmap, 6, "mmap(address, bytes, protection, flags, descriptor, offset)";
    munmap, __NR_munmap, 2, "munmap(address, bytes)";
    mprotect, __NR_mprotect, 3, "mprotect(address, bytes, protection)";
    mremap, __NR_mremap, 5, "mremap(address, old_bytes, new_bytes, flags, new_address)";
    madvise, __NR_madvise, 3, "madvise(address, bytes, advice)";
    msync, __NR_msync, 3, "msync(address, bytes, flags)";
    mincore, __NR_mincore, 3, "mincore(address, bytes, vector)";
    mlock, __NR_mlock, 2, "mlock(address, bytes)";
    mlock2, __NR_mlock2, 3, "mlock2(address, bytes, flags)";
    munlock, __NR_munlock, 2, "munlock(address, bytes)";
    mlockall, __NR_mlockall, 1, "mlockall(flags)";
    munlockall, __NR_munlockall, 0, "munlockall()";
    sched_yield, __NR_sched_yield, 0, "sched_yield()";
    write, __NR_write, 3, "write(descriptor, address, bytes)";
}
