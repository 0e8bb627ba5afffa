//! The calls of files, bare, as those of [`super::address_space`]. For programs that show what a kernel makes of them.
//!
//! Source: the man page of each.

bare! {
    memfd_create, __NR_memfd_create, 2, "memfd_create(name, flags)";
    read, __NR_read, 3, "read(descriptor, address, bytes)";
    write, __NR_write, 3, "write(descriptor, address, bytes)";
    pread, __NR_pread64, 4, "pread(descriptor, address, bytes, offset)";
    pwrite, __NR_pwrite64, 4, "pwrite(descriptor, address, bytes, offset)";
    readv, __NR_readv, 3, "readv(descriptor, vectors, count)";
    writev, __NR_writev, 3, "writev(descriptor, vectors, count)";
    lseek, __NR_lseek, 3, "lseek(descriptor, offset, whence)";
    ftruncate, __NR_ftruncate, 2, "ftruncate(descriptor, bytes)";
    fallocate, __NR_fallocate, 4, "fallocate(descriptor, mode, offset, bytes)";
    fsync, __NR_fsync, 1, "fsync(descriptor)";
    fstat, __NR_fstat, 2, "fstat(descriptor, address)";
    fchmod, __NR_fchmod, 2, "fchmod(descriptor, mode)";
    fcntl, __NR_fcntl, 3, "fcntl(descriptor, command, argument)";
    dup, __NR_dup, 1, "dup(descriptor)";
    dup2, __NR_dup2, 2, "dup2(descriptor, descriptor)";
    dup3, __NR_dup3, 3, "dup3(descriptor, descriptor, flags)";
    close, __NR_close, 1, "close(descriptor)";
}
