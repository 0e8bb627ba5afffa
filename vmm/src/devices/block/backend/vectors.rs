//! Pieces of guest memory as the host's system calls take them, and how far a transfer of them got.
//!
//! # Invariants
//! Every vector lies in the guest's RAM.

use std::io;

use smallvec::SmallVec;

use crate::devices::block::chain::Segment;
use crate::memory::GuestRam;

/// Which way bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Disk to guest.
    ToGuest,
    /// Guest to disk.
    ToFile,
}

/// What is left of a transfer.
#[derive(Debug)]
pub(super) struct Vectors {
    list: SmallVec<[libc::iovec; 4]>,
    /// Vectors that are done.
    done: usize,
    /// Where in the file the rest goes, in bytes.
    offset: i64,
}

// SAFETY: the addresses are of guest RAM, which any thread of the VMM may hand to the host's kernel.
unsafe impl Send for Vectors {}

impl Vectors {
    /// All of `segments`, to or from the file at `offset`.
    ///
    /// # Errors
    /// A segment outside RAM, which no checked request has.
    pub(super) fn of(segments: &[Segment], offset: u64, ram: &GuestRam) -> io::Result<Vectors> {
        let mut list = SmallVec::with_capacity(segments.len());
        for segment in segments {
            if !ram.contains(segment.address, u64::from(segment.len)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            list.push(libc::iovec {
                iov_base: (ram.host_address() + segment.address as usize) as *mut libc::c_void,
                iov_len: segment.len as usize,
            });
        }
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        Ok(Vectors { list, done: 0, offset })
    }

    /// Whether every byte was moved.
    pub(super) fn is_done(&self) -> bool {
        self.done == self.list.len()
    }

    /// What remains, and where in the file it goes.
    pub(super) fn rest(&self) -> (&[libc::iovec], i64) {
        (&self.list[self.done..], self.offset)
    }

    /// The next `moved` bytes, which remain, were moved.
    pub(super) fn advance(&mut self, mut moved: usize) {
        self.offset += moved as i64;
        while let Some(first) = self.list.get_mut(self.done) {
            if moved < first.iov_len {
                first.iov_base = (first.iov_base as usize + moved) as *mut libc::c_void;
                first.iov_len -= moved;
                break;
            }
            moved -= first.iov_len;
            self.done += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of buffers of 10, 20 and 30 bytes at 100, 200 and 300.
    fn left_after(moved: usize) -> Vec<(usize, usize)> {
        let list = [(100, 10), (200, 20), (300, 30)].map(|(base, len): (usize, usize)| libc::iovec {
            iov_base: base as *mut libc::c_void,
            iov_len: len,
        });
        let mut vectors = Vectors {
            list: list.as_slice().into(),
            done: 0,
            offset: 1000,
        };
        vectors.advance(moved);
        assert_eq!(vectors.offset, 1000 + moved as i64);
        assert_eq!(vectors.is_done(), moved == 60);
        let (rest, _) = vectors.rest();
        rest.iter()
            .map(|vector| (vector.iov_base as usize, vector.iov_len))
            .collect()
    }

    #[test]
    fn a_short_transfer_goes_on_where_it_stopped() {
        assert_eq!(left_after(4), [(104, 6), (200, 20), (300, 30)]);
        assert_eq!(left_after(10), [(200, 20), (300, 30)]);
        assert_eq!(left_after(25), [(215, 5), (300, 30)]);
        assert_eq!(left_after(60), []);
    }
}
