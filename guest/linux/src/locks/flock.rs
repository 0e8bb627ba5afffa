//! `struct flock`, as programs have it. Source: fcntl(2); Linux, include/uapi/asm-generic/fcntl.h.

/// Bytes of a `struct flock`.
pub const FLOCK_BYTES: usize = 32;

/// A `struct flock`.
#[derive(Clone, Copy, Debug)]
pub struct Flock {
    /// See [`super::lock_type`].
    pub kind: u16,
    pub(super) whence: u16,
    pub(super) start: i64,
    pub(super) len: i64,
    pub(super) pid: i32,
}

impl Flock {
    /// The same range, to be given back.
    #[must_use]
    pub fn unlock(self) -> Self {
        Self {
            kind: super::lock_type::UNLOCK,
            ..self
        }
    }

    /// From the program's bytes.
    #[must_use]
    pub fn decode(bytes: &[u8; FLOCK_BYTES]) -> Self {
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| i64::from_le_bytes(*word));
        Self {
            kind: word(0) as u16,
            whence: (word(0) >> 16) as u16,
            start: word(8),
            len: word(16),
            pid: word(24) as i32,
        }
    }

    /// As the program's bytes; padding is 0.
    #[must_use]
    pub fn encode(self) -> [u8; FLOCK_BYTES] {
        let mut bytes = [0; FLOCK_BYTES];
        bytes[..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.whence.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.start.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.len.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.pid.to_le_bytes());
        bytes
    }
}
