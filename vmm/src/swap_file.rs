//! The file behind the swap disk: made, checked and locked.
//!
//! | configuration | file |
//! |---|---|
//! | [`SwapConfig::Temporary`] | unnamed (`O_TMPFILE`) in `TMPDIR`, formatted here, gone when closed |
//! | [`SwapConfig::File`], exists | must carry a swap signature; used as it is |
//! | [`SwapConfig::File`], does not exist | created, formatted here, kept |
//! | [`SwapConfig::Memory`] | a memfd, formatted here |
//! | [`SwapConfig::Null`] | the same, of which only the header is ever used |
//!
//! # Invariants
//! An open [`SwapFile`] holds an exclusive `flock`, has a version-1 header in its first page, and at least
//! [`SWAP_MIN_BYTES`]. Its size does not change.
//!
//! Source: Linux, include/linux/swap.h `union swap_header`; mkswap(8); flock(2); open(2) `O_TMPFILE`, `O_EXCL`.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use faultlab_abi::layout::PAGE_SIZE;
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::io::Errno;

use crate::error::SwapError;

/// Smallest swap area, as `mkswap` has it: ten pages.
pub const SWAP_MIN_BYTES: u64 = 10 * PAGE_SIZE;

/// Size of a swap area unless told otherwise.
pub const SWAP_DEFAULT_BYTES: u64 = 64 << 20;

/// Pages that a version-1 header can count: `last_page` has 32 bits.
const SWAP_MAX_BYTES: u64 = PAGE_SIZE << 32;

/// Offset of the signature: the last ten bytes of the first page.
const SIGNATURE_OFFSET: usize = PAGE_SIZE as usize - SIGNATURE.len();
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";
/// Offsets of `version`, `last_page` and `nr_badpages` in `union swap_header`.
const VERSION_OFFSET: usize = 1024;
const LAST_PAGE_OFFSET: usize = 1028;
const BAD_PAGES_OFFSET: usize = 1032;

/// What the guest swaps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapConfig {
    /// No swap disk.
    None,
    /// A temporary file of this size, in bytes.
    Temporary {
        /// Bytes, header included; whole pages.
        bytes: u64,
    },
    /// A named file or block device.
    File {
        /// Its path.
        path: PathBuf,
        /// Bytes to create it with if it does not exist.
        create_bytes: u64,
    },
    /// The host's memory.
    Memory {
        /// Bytes, header included; whole pages.
        bytes: u64,
    },
    /// Nothing: what is written is lost. Only for measuring what the rest of swapping costs.
    Null {
        /// Bytes, header included; whole pages.
        bytes: u64,
    },
}

impl Default for SwapConfig {
    fn default() -> Self {
        SwapConfig::Temporary {
            bytes: SWAP_DEFAULT_BYTES,
        }
    }
}

/// One of several areas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapArea {
    /// What it is; [`SwapConfig::None`] only for all of them.
    pub config: SwapConfig,
    /// Priority, 0 to 32767: areas with a higher one are filled first. `None`: lower than any before.
    pub prio: Option<u16>,
}

/// An open swap area.
#[derive(Debug)]
pub struct SwapFile {
    file: File,
    bytes: u64,
    null: bool,
}

impl SwapFile {
    /// Opens, or makes, what `config` asks for; `None` for [`SwapConfig::None`].
    ///
    /// # Errors
    /// See [`SwapError`]. A file that was created by a failing call is removed again.
    pub fn open(config: &SwapConfig) -> Result<Option<SwapFile>, SwapError> {
        match config {
            SwapConfig::None => Ok(None),
            SwapConfig::Temporary { bytes } => Self::temporary(&std::env::temp_dir(), *bytes).map(Some),
            SwapConfig::File { path, create_bytes } => Self::named(path, *create_bytes).map(Some),
            SwapConfig::Memory { bytes } => Self::memory(*bytes).map(Some),
            SwapConfig::Null { bytes } => Self::memory(*bytes).map(|file| Some(SwapFile { null: true, ..file })),
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes, header included; whole pages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether what is written is to be lost.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.null
    }

    /// Lets reads and writes bypass the host's page cache (`O_DIRECT`).
    ///
    /// # Errors
    /// [`SwapError::Direct`] when its file system cannot do that.
    pub fn bypass_page_cache(&self) -> Result<(), SwapError> {
        let flags = fcntl_getfl(&self.file).map_err(SwapError::Direct)? | OFlags::DIRECT;
        fcntl_setfl(&self.file, flags).map_err(SwapError::Direct)
    }

    fn of(file: File, bytes: u64) -> SwapFile {
        SwapFile {
            file,
            bytes,
            null: false,
        }
    }

    fn memory(bytes: u64) -> Result<SwapFile, SwapError> {
        check_size(bytes)?;
        let file = File::from(memfd_create("faultlab-swap", MemfdFlags::CLOEXEC).map_err(SwapError::Memory)?);
        format(&file, bytes).map_err(|error| SwapError::Memory(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        Ok(SwapFile::of(file, bytes))
    }

    fn temporary(dir: &Path, bytes: u64) -> Result<SwapFile, SwapError> {
        check_size(bytes)?;
        let failed = |source| SwapError::Temporary {
            dir: dir.into(),
            source,
        };
        let file = open_unnamed(dir).map_err(failed)?;
        format(&file, bytes).map_err(failed)?;
        Ok(SwapFile::of(file, bytes))
    }

    fn named(path: &Path, create_bytes: u64) -> Result<SwapFile, SwapError> {
        let kind = path.metadata().map(|metadata| metadata.file_type());
        if kind
            .as_ref()
            .is_ok_and(|kind| !kind.is_file() && !kind.is_block_device())
        {
            return Err(SwapError::Kind { path: path.into() });
        }
        // A block device that is mounted or swapped to is somebody's, whatever its locks say.
        let flags = if kind.is_ok_and(|kind| kind.is_block_device()) {
            libc::O_EXCL
        } else {
            0
        };
        match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Ok(file) => Self::existing(path, file),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(SwapError::Busy { path: path.into() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path, create_bytes),
            Err(source) => Err(SwapError::Open {
                path: path.into(),
                source,
            }),
        }
    }

    fn existing(path: &Path, file: File) -> Result<SwapFile, SwapError> {
        let failed = |source| SwapError::Io {
            path: path.into(),
            source,
        };
        let kind = file.metadata().map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(SwapError::Kind { path: path.into() });
        }
        lock(path, &file)?;
        // Seeking to the end tells the size of block devices too.
        let bytes = (&file).seek(SeekFrom::End(0)).map_err(failed)? & !(PAGE_SIZE - 1);
        let mut header = [0; PAGE_SIZE as usize];
        if bytes < PAGE_SIZE {
            return Err(SwapError::NoSignature { path: path.into() });
        }
        file.read_exact_at(&mut header, 0).map_err(failed)?;
        check_header(path, &header, bytes)?;
        Ok(SwapFile::of(file, bytes))
    }

    fn create(path: &Path, bytes: u64) -> Result<SwapFile, SwapError> {
        check_size(bytes)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| SwapError::Open {
                path: path.into(),
                source,
            })?;
        let made = lock(path, &file).and_then(|()| {
            format(&file, bytes).map_err(|source| SwapError::Io {
                path: path.into(),
                source,
            })
        });
        if let Err(error) = made {
            // The file is this call's own (`create_new`); that it cannot be removed is not worth a second message.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        Ok(SwapFile::of(file, bytes))
    }
}

fn check_size(bytes: u64) -> Result<(), SwapError> {
    if !(SWAP_MIN_BYTES..=SWAP_MAX_BYTES).contains(&bytes) || !bytes.is_multiple_of(PAGE_SIZE) {
        return Err(SwapError::Size { bytes });
    }
    Ok(())
}

/// A file without a name in `dir`; one that is unlinked at once where the file system has no `O_TMPFILE`.
fn open_unnamed(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)
            ) =>
        {
            let path = dir.join(format!(".faultlab-swap-{}", std::process::id()));
            let file = options.create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Sparse, with a header that counts every page.
fn format(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    file.write_all_at(&header(bytes), 0)
}

/// The first page of an area of `bytes`.
pub(crate) fn header(bytes: u64) -> [u8; PAGE_SIZE as usize] {
    let last_page = (bytes / PAGE_SIZE - 1) as u32;
    let mut header = [0; PAGE_SIZE as usize];
    header[VERSION_OFFSET..][..4].copy_from_slice(&1_u32.to_le_bytes());
    header[LAST_PAGE_OFFSET..][..4].copy_from_slice(&last_page.to_le_bytes());
    header[SIGNATURE_OFFSET..].copy_from_slice(SIGNATURE);
    header
}

fn check_header(path: &Path, header: &[u8; PAGE_SIZE as usize], bytes: u64) -> Result<(), SwapError> {
    if &header[SIGNATURE_OFFSET..] != SIGNATURE {
        return Err(SwapError::NoSignature { path: path.into() });
    }
    let field = |offset: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[offset + byte]));
    let (version, last_page, bad_pages) = (field(VERSION_OFFSET), field(LAST_PAGE_OFFSET), field(BAD_PAGES_OFFSET));
    let refuse = |reason| {
        Err(SwapError::Header {
            path: path.into(),
            reason,
        })
    };
    if version != 1 {
        return refuse(format!("swap header version {version}, not 1"));
    }
    if bad_pages != 0 {
        return refuse(format!(
            "swap header lists {bad_pages} bad pages, which are not supported"
        ));
    }
    if bytes < SWAP_MIN_BYTES || (u64::from(last_page) + 1) * PAGE_SIZE > bytes {
        return refuse(format!(
            "swap header counts {} pages in {bytes} bytes",
            u64::from(last_page) + 1
        ));
    }
    Ok(())
}

fn lock(path: &Path, file: &File) -> Result<(), SwapError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(SwapError::Busy { path: path.into() }),
        Err(std::fs::TryLockError::Error(source)) => Err(SwapError::Io {
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
