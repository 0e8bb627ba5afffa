//! What a program on Linux swaps to in a simulated machine: a file on its disk ([`crate::rig::DISK_VARIABLE`]), for as long as this lasts. Nowhere else is a
//! Linux given swap: it would be the user's.
//!
//! The disk there is a RAM disk, which answers in the thread that asks: what a swap-in or swap-out costs there is Linux's way to the disk and a copy of a page,
//! the counterpart of the guest's own way and its disk's `preadv`, without an exit between them.
//!
//! Source: swapon(2); mkswap(8).

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use faultlab_abi::layout::PAGE_SIZE;

use crate::rig::DISK_VARIABLE;
use crate::swap_file::header;

/// How many pages Linux reads ahead with one, as a power of two. None here: a swap-in is measured alone, in the guest, too.
const PAGE_CLUSTER: &str = "/proc/sys/vm/page-cluster";

/// Swap on the disk of a simulated machine. Ends when dropped.
#[derive(Debug)]
pub struct Swap {
    path: CString,
    /// As it was before.
    page_cluster: String,
}

impl Swap {
    /// As many bytes, whole pages, header included; `None` on a machine without such a disk.
    ///
    /// # Errors
    /// The operating system's.
    pub fn on(bytes: u64) -> io::Result<Option<Swap>> {
        match std::env::var_os(DISK_VARIABLE) {
            Some(disk) => Swap::in_directory(&PathBuf::from(disk), bytes).map(Some),
            None => Ok(None),
        }
    }

    fn in_directory(directory: &Path, bytes: u64) -> io::Result<Swap> {
        let path = directory.join("swap");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // A swap file has no holes.
        file.write_all(&header(bytes))?;
        for _ in 1..bytes / PAGE_SIZE {
            file.write_all(&[0; PAGE_SIZE as usize])?;
        }
        file.sync_all()?;
        let swap = Swap {
            path: CString::new(path.as_os_str().as_bytes())?,
            page_cluster: fs::read_to_string(PAGE_CLUSTER)?,
        };
        fs::write(PAGE_CLUSTER, "0")?;
        // SAFETY: the call only reads the path.
        match unsafe { libc::swapon(swap.path.as_ptr(), 0) } {
            0 => Ok(swap),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // SAFETY: the call only reads the path. It fails only if the file was not swapped to.
        unsafe { libc::swapoff(self.path.as_ptr()) };
        // The machine ends soon, and both with it.
        let _ = fs::write(PAGE_CLUSTER, &self.page_cluster);
        let _ = fs::remove_file(Path::new(std::ffi::OsStr::from_bytes(self.path.as_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_linux_but_a_simulated_machines_is_given_swap() {
        assert!(std::env::var_os(DISK_VARIABLE).is_none());
        assert!(Swap::on(10 * PAGE_SIZE).unwrap().is_none());
    }
}
