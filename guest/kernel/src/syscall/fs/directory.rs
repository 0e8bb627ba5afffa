//! What is in directories, and which one the process is in.

use faultlab_linux::vfs::{Fs, PATH_MAX, PathAt};

use super::{Errno, path, path_buffer, task};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::syscall::file::file;
use crate::task::process::{current, current_files};

/// Bytes of a `struct linux_dirent64` before the name.
const HEADER_BYTES: usize = 19;

/// Bytes of the entries that there was room for.
pub(super) fn getdents64(descriptor: u64, to: u64, bytes: u64) -> Result<u64, Errno> {
    let room = u64::from(bytes as u32);
    let mut done = 0;
    let result = LINUX.iterate_dir(file(descriptor)?, &mut |entry| {
        // The name's end is counted.
        let len = (HEADER_BYTES + entry.name.len() + 1).next_multiple_of(8);
        if done + len as u64 > room {
            return if done == 0 { Err(Errno::EINVAL) } else { Ok(false) };
        }
        let mut record = [0; (HEADER_BYTES + 256).next_multiple_of(8)];
        record[..8].copy_from_slice(&entry.ino.to_le_bytes());
        record[8..16].copy_from_slice(&entry.next.to_le_bytes());
        record[16..18].copy_from_slice(&(len as u16).to_le_bytes());
        record[18] = entry.d_type;
        record[HEADER_BYTES..HEADER_BYTES + entry.name.len()].copy_from_slice(entry.name);
        uaccess::copy_to_user(to.wrapping_add(done), &record[..len])?;
        done += len as u64;
        Ok(true)
    });
    match result {
        Err(errno) if done == 0 => Err(errno),
        _ => Ok(done),
    }
}

/// Changes the working directory or umask of the running thread, and of those that share them.
pub(super) fn set_fs(fs: Fs) {
    if let Some(id) = current().fs.get() {
        LINUX.set_fs(id, fs);
    }
}

pub(super) fn chdir(addr: u64) -> Result<u64, Errno> {
    let buffer = &mut path_buffer();
    let fs = LINUX.chdir(&task(), PathAt::cwd(path(buffer, addr)?))?;
    set_fs(fs);
    Ok(0)
}

pub(super) fn fchdir(descriptor: u64) -> Result<u64, Errno> {
    let fs = LINUX.fchdir(&task(), LINUX.get_any(current_files(), descriptor)?)?;
    set_fs(fs);
    Ok(0)
}

/// Bytes of the path, its end counted.
pub(super) fn getcwd(to: u64, bytes: u64) -> Result<u64, Errno> {
    let mut buffer = [0; PATH_MAX];
    // The last byte stays 0.
    let start = LINUX.getcwd(task().fs, &mut buffer[..PATH_MAX - 1])?;
    let path = &buffer[start..];
    if path.len() as u64 > bytes {
        return Err(Errno::ERANGE);
    }
    uaccess::copy_to_user(to, path)?;
    Ok(path.len() as u64)
}
