//! What is mounted where: `mounts`, `mountinfo`. Source: Linux, fs/proc_namespace.c (`show_vfsmnt`, `show_mountinfo`), mm/shmem.c
//! (`shmem_show_options`); proc_pid_mounts(5), proc_pid_mountinfo(5). Rule I8.

use faultlab_mm::Platform;
use faultlab_mm::huge::ShmemPolicy;
use faultlab_mm::shmem::{FsType, InodeId, SuperBlock, super_flag};

use super::text::{Octal0, Out, put};
use crate::Linux;
use crate::vfs::{MountInfo, PATH_MAX};

impl<P: Platform> Linux<'_, P> {
    pub(super) fn show_mounts(&self, out: &mut Out<'_>) {
        self.each_mount(&mut |mount| {
            let sb = self.super_block(mount.sb);
            escaped(mount.source(), out);
            put!(out; " ");
            self.mount_point(mount, out);
            put!(out; " ", kind(sb), " ", access(sb), ",relatime");
            self.options(sb, out);
            put!(out; " 0 0\n");
        });
    }

    /// A mount has the number of its device.
    pub(super) fn show_mountinfo(&self, out: &mut Out<'_>) {
        self.each_mount(&mut |mount| {
            let sb = self.super_block(mount.sb);
            let above = mount
                .covered
                .map_or(sb, |covered| self.super_block(self.sb_of(covered)));
            put!(out; sb.s_dev(), " ", above.s_dev(), " 0:", sb.s_dev(), " / ");
            self.mount_point(mount, out);
            put!(out; " ", access(sb), ",relatime - ", kind(sb), " ");
            escaped(mount.source(), out);
            put!(out; " ", access(sb));
            self.options(sb, out);
            put!(out; "\n");
        });
    }

    fn mount_point(&self, mount: &MountInfo, out: &mut Out<'_>) {
        match mount.covered {
            None => put!(out; "/"),
            Some(covered) => self.put_path(covered, out),
        }
    }

    /// The path of an object, with what would be mistaken for the end of a field escaped.
    fn put_path(&self, id: InodeId, out: &mut Out<'_>) {
        let mut path = [0; PATH_MAX];
        if let Ok(start) = self.d_path(id, &mut path) {
            escaped(&path[start..], out);
        }
    }

    /// Those that are not as they would be if nobody had said anything.
    fn options(&self, sb: SuperBlock<'_>, out: &mut Out<'_>) {
        let default = self.memory.default_limits();
        let (mode, owner) = sb.s_owner();
        match sb.s_type() {
            FsType::Tmpfs => {
                if sb.max_blocks() != default.blocks {
                    put!(out; ",size=", sb.max_blocks() * 4, "k");
                }
                if sb.max_inodes() != default.inodes {
                    put!(out; ",nr_inodes=", sb.max_inodes());
                }
                if mode != 0o1777 {
                    put!(out; ",mode=", Octal0(u64::from(mode), 3));
                }
                if owner.0 != 0 {
                    put!(out; ",uid=", owner.0);
                }
                if owner.1 != 0 {
                    put!(out; ",gid=", owner.1);
                }
                if sb.huge() != ShmemPolicy::Never {
                    put!(out; ",huge=", sb.huge().name());
                }
                if sb.s_flags() & super_flag::NOSWAP != 0 {
                    put!(out; ",noswap");
                }
            }
            FsType::Ramfs if mode != 0o755 => put!(out; ",mode=", Octal0(u64::from(mode), 1)),
            FsType::Ramfs | FsType::Proc | FsType::Sysfs => {}
        }
    }
}

fn kind(sb: SuperBlock<'_>) -> &'static str {
    match sb.s_type() {
        FsType::Tmpfs => "tmpfs",
        FsType::Ramfs => "ramfs",
        FsType::Proc => "proc",
        FsType::Sysfs => "sysfs",
    }
}

fn access(sb: SuperBlock<'_>) -> &'static str {
    if sb.s_flags() & super_flag::RDONLY != 0 {
        "ro"
    } else {
        "rw"
    }
}

/// Source: Linux `mangle`.
fn escaped(text: &[u8], out: &mut Out<'_>) {
    for piece in text.split_inclusive(|byte| b" \t\n\\#".contains(byte)) {
        match piece.split_last() {
            Some((last, front)) if b" \t\n\\#".contains(last) => {
                put!(out; front, "\\", Octal0(u64::from(*last), 3));
            }
            _ => put!(out; piece),
        }
    }
}
