//! What is behind `-o` of a mount. Source: Linux, mm/shmem.c (`shmem_parse_one`, `shmem_reconfigure`), lib/cmdline.c (`memparse`); tmpfs(5).
//! Rules C31, C34.
//!
//! Differs from Linux: `mpol=` is refused, as by a kernel without NUMA.

use faultlab_mm::huge::ShmemPolicy;
use faultlab_mm::shmem::BOGO_INODE_SIZE;

use crate::Errno;

/// What the options said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Pages.
    pub(crate) blocks: Option<u64>,
    /// Inodes.
    pub(crate) inodes: Option<u64>,
    /// Rights of the root.
    pub(crate) mode: Option<u32>,
    /// Owner of the root.
    pub(crate) uid: Option<u32>,
    /// Group of the root.
    pub(crate) gid: Option<u32>,
    /// Pages are not written to swap.
    pub(crate) noswap: bool,
    /// Which objects get huge pages. Rule G1.
    pub(crate) huge: Option<ShmemPolicy>,
}

const PAGE_BYTES: u64 = 4096;

impl Options {
    /// Those of tmpfs, where memory has so many pages.
    ///
    /// # Errors
    /// `EINVAL` for what is unknown or malformed.
    pub(crate) fn of_tmpfs(text: &[u8], total_pages: u64) -> Result<Self, Errno> {
        let mut options = Self::default();
        for (key, value) in pairs(text) {
            match (key, value) {
                (b"size", Some(value)) => options.blocks = Some(blocks_of_size(value, total_pages)?),
                (b"nr_blocks", Some(value)) => options.blocks = Some(count(value, i64::MAX as u64)?),
                (b"nr_inodes", Some(value)) => options.inodes = Some(count(value, u64::MAX / BOGO_INODE_SIZE)?),
                (b"mode", Some(value)) => options.mode = Some(number(value, 8)? & 0o7777),
                (b"uid", Some(value)) => options.uid = Some(id(value)?),
                (b"gid", Some(value)) => options.gid = Some(id(value)?),
                (b"huge", Some(word)) => options.huge = Some(ShmemPolicy::of_mount(word).ok_or(Errno::EINVAL)?),
                (b"inode32" | b"inode64", None) => {}
                (b"noswap", None) => options.noswap = true,
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    /// Those of ramfs, which ignores all but one. Rule C52.
    ///
    /// # Errors
    /// `EINVAL` for a mode that is none.
    pub(crate) fn of_ramfs(text: &[u8]) -> Result<Self, Errno> {
        let mut options = Self::default();
        for (key, value) in pairs(text) {
            if let (b"mode", Some(value)) = (key, value) {
                options.mode = Some(number(value, 8)? & 0o7777);
            }
        }
        Ok(options)
    }
}

impl Options {
    /// Those of proc: who may see what of others' processes is not restricted.
    ///
    /// # Errors
    /// `EINVAL` for what is unknown, and for restrictions.
    pub(crate) fn of_proc(text: &[u8]) -> Result<Self, Errno> {
        for pair in pairs(text) {
            match pair {
                (b"hidepid", Some(b"0" | b"off")) | (b"gid", Some(_)) => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(Self {
            uid: Some(0),
            gid: Some(0),
            ..Self::default()
        })
    }
}

impl Options {
    /// Those of sysfs, which has none.
    pub(crate) fn of_sysfs() -> Self {
        Self {
            uid: Some(0),
            gid: Some(0),
            ..Self::default()
        }
    }
}

/// Keys and values.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let words = text.split(|&byte| byte == b',').filter(|word| !word.is_empty());
    words.map(|word| match word.iter().position(|&byte| byte == b'=') {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    })
}

/// A number with a suffix, and what comes after it. What does not fit wraps, as in Linux.
fn memparse(text: &[u8]) -> (u64, &[u8]) {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => (16, rest),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let len = digits
        .iter()
        .take_while(|&&byte| char::from(byte).is_digit(radix))
        .count();
    let value = digits[..len].iter().fold(0u64, |value, &byte| {
        let digit = char::from(byte).to_digit(radix).unwrap_or(0);
        value.wrapping_mul(u64::from(radix)).wrapping_add(u64::from(digit))
    });
    let rest = &digits[len..];
    let shift = match rest.first().map(u8::to_ascii_lowercase) {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        Some(b'p') => 50,
        Some(b'e') => 60,
        _ => return (value, rest),
    };
    (value << shift, &rest[1..])
}

fn blocks_of_size(text: &[u8], total_pages: u64) -> Result<u64, Errno> {
    if text.is_empty() {
        return Err(Errno::EINVAL);
    }
    let bytes = match memparse(text) {
        (percent, b"%") => percent.wrapping_mul(PAGE_BYTES).wrapping_mul(total_pages) / 100,
        (bytes, b"") => bytes,
        _ => return Err(Errno::EINVAL),
    };
    Ok(bytes.div_ceil(PAGE_BYTES))
}

fn count(text: &[u8], most: u64) -> Result<u64, Errno> {
    match memparse(text) {
        (value, b"") if !text.is_empty() && value <= most => Ok(value),
        _ => Err(Errno::EINVAL),
    }
}

fn number(text: &[u8], radix: u32) -> Result<u32, Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    u32::from_str_radix(text, radix).map_err(|_| Errno::EINVAL)
}

fn id(text: &[u8]) -> Result<u32, Errno> {
    number(text, 10).and_then(|id| if id == u32::MAX { Err(Errno::EINVAL) } else { Ok(id) })
}
