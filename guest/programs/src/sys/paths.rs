//! The calls that take paths, bare, as those of [`super::files`].
//!
//! Source: the man page of each.

bare! {
    openat, __NR_openat, 4, "openat(descriptor, path, flags, mode)";
    mkdirat, __NR_mkdirat, 3, "mkdirat(descriptor, path, mode)";
    mknodat, __NR_mknodat, 4, "mknodat(descriptor, path, mode, device)";
    unlinkat, __NR_unlinkat, 3, "unlinkat(descriptor, path, flags)";
    renameat2, __NR_renameat2, 5, "renameat2(descriptor, path, descriptor, path, flags)";
    linkat, __NR_linkat, 5, "linkat(descriptor, path, descriptor, path, flags)";
    symlinkat, __NR_symlinkat, 3, "symlinkat(target, descriptor, path)";
    readlinkat, __NR_readlinkat, 4, "readlinkat(descriptor, path, address, bytes)";
    newfstatat, __NR_newfstatat, 4, "newfstatat(descriptor, path, address, flags)";
    statx, __NR_statx, 5, "statx(descriptor, path, flags, mask, address)";
    fchmodat, __NR_fchmodat, 3, "fchmodat(descriptor, path, mode)";
    fchownat, __NR_fchownat, 5, "fchownat(descriptor, path, user, group, flags)";
    utimensat, __NR_utimensat, 4, "utimensat(descriptor, path, times, flags)";
    faccessat, __NR_faccessat, 3, "faccessat(descriptor, path, rights)";
    truncate, __NR_truncate, 2, "truncate(path, bytes)";
    umask, __NR_umask, 1, "umask(mask)";
    getdents64, __NR_getdents64, 3, "getdents64(descriptor, address, bytes)";
    chdir, __NR_chdir, 1, "chdir(path)";
    fchdir, __NR_fchdir, 1, "fchdir(descriptor)";
    getcwd, __NR_getcwd, 2, "getcwd(address, bytes)";
    mount, __NR_mount, 5, "mount(source, target, type, flags, options)";
    umount2, __NR_umount2, 2, "umount2(target, flags)";
    statfs, __NR_statfs, 2, "statfs(path, address)";
    fstatfs, __NR_fstatfs, 2, "fstatfs(descriptor, address)";
    sendfile, __NR_sendfile, 4, "sendfile(to, from, offset, bytes)";
    copy_file_range, __NR_copy_file_range, 6, "copy_file_range(from, offset, to, offset, bytes, flags)";
}
