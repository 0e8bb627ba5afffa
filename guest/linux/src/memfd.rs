//! `memfd_create`. Source: Linux, mm/memfd.c; memfd_create(2). Rules C46, C47.

use faultlab_mm::Platform;
use faultlab_mm::shmem::seal;

use crate::fdtable::TableId;
use crate::file::{Kind, o};
use crate::{Errno, Linux};

/// Bytes of a name at most, its end not counted. Source: Linux `MFD_NAME_MAX_LEN`.
pub const NAME_MAX: usize = 249;

/// Flags. Source: memfd_create(2).
mod flag {
    pub(super) const CLOEXEC: u64 = 1;
    pub(super) const ALLOW_SEALING: u64 = 2;
    pub(super) const HUGETLB: u64 = 4;
    pub(super) const NOEXEC_SEAL: u64 = 8;
    pub(super) const EXEC: u64 = 0x10;
    pub(super) const ALL: u64 = CLOEXEC | ALLOW_SEALING | HUGETLB | NOEXEC_SEAL | EXEC;
    /// Where the size of huge pages begins: its binary logarithm, 0 being the usual size.
    pub(super) const HUGE_SHIFT: u32 = 26;
    pub(super) const HUGE_MASK: u64 = 0x3f;
}

/// `S_IFREG`. Source: inode(7).
const S_IFREG: u32 = 0o100_000;

/// Whether flags are such that `memfd_create` looks at the name. A size of huge pages is for those only.
///
/// # Errors
/// `EINVAL`.
pub fn check_flags(flags: u64) -> Result<(), Errno> {
    let exec = flag::EXEC | flag::NOEXEC_SEAL;
    let sizes = if flags & flag::HUGETLB != 0 {
        flag::HUGE_MASK << flag::HUGE_SHIFT
    } else {
        0
    };
    if flags as u32 & !((flag::ALL | sizes) as u32) != 0 || flags & exec == exec {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

impl<P: Platform> Linux<'_, P> {
    /// `memfd_create` with flags that [`check_flags`] passed, for `(uid, gid)`.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub fn memfd_create(&self, table: TableId, flags: u64, owner: (u32, u32)) -> Result<u64, Errno> {
        self.memfd_create_named(table, flags, owner, b"")
    }

    /// [`Linux::memfd_create`] with a name, which is shown where the file is mapped.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`; `ENODEV` for sizes of huge pages that there are not.
    pub fn memfd_create_named(&self, table: TableId, flags: u64, owner: (u32, u32), name: &[u8]) -> Result<u64, Errno> {
        let (mode, seals) = if flags & flag::NOEXEC_SEAL != 0 {
            // Implies that seals are allowed.
            (0o666, seal::EXEC)
        } else if flags & flag::ALLOW_SEALING != 0 {
            (0o777, 0)
        } else {
            (0o777, seal::SEAL)
        };
        let number = self.reserve(table)?;
        let file = self.alloc_file()?;
        let mut shown = [0; b"/memfd:".len() + NAME_MAX];
        let len = b"/memfd:".len() + name.len().min(NAME_MAX);
        shown[..7].copy_from_slice(b"/memfd:");
        shown[7..len].copy_from_slice(&name[..len - 7]);
        let object = if flags & flag::HUGETLB != 0 {
            let size = flags >> flag::HUGE_SHIFT & flag::HUGE_MASK;
            self.memory.memfd_create_hugetlb(size, S_IFREG | mode, owner, seals)
        } else {
            self.memory.memfd_create(S_IFREG | mode, owner, seals)
        };
        let made = object.and_then(|inode| {
            self.memory
                .set_i_name(inode, &shown[..len])
                .inspect_err(|_| self.memory.iput(inode))?;
            Ok(inode)
        });
        match made {
            Ok(inode) => {
                self.set_file(file, Kind::Object(inode), Some(inode), o::RDWR | o::LARGEFILE);
                self.fill(table, number, file, flags & flag::CLOEXEC != 0);
                Ok(number)
            }
            Err(error) => {
                self.free_empty_file(file);
                Err(error.into())
            }
        }
    }
}
