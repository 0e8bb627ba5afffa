//! The text of a file, kept while its description is read: chunks in a row. Source: Linux, fs/seq_file.c (whose buffer is this).

use faultlab_mm::slab::object;
use faultlab_mm::vma::MmId;
use faultlab_mm::{Platform, id_type, record};

use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Chunk`]; that of its first names a text.
    SnapshotId
);

record! {
    /// Some of a text, from word [`Chunk::TEXT`] on. Length and place of the last read are those of the whole text, in its first chunk.
    pub struct Chunk[128] {
        /// The next.
        next, set_next: Option<SnapshotId> = 0;
        /// Bytes of the text.
        len, set_len: u64 = 1;
        /// The chunk that was read last.
        read, set_read: Option<SnapshotId> = 2;
        /// Where in the text it begins.
        read_at, set_read_at: u64 = 3;
    }
}

impl Chunk<'_> {
    /// First word of the text.
    const TEXT: usize = 4;
    /// Bytes of text.
    const BYTES: u64 = (Self::WORDS - Self::TEXT) as u64 * 8;
}

/// A text being written.
pub(super) struct Writer<'a, 'm, P> {
    linux: &'a Linux<'m, P>,
    first: SnapshotId,
    last: SnapshotId,
    len: u64,
    failed: bool,
}

impl<P: Platform> Writer<'_, '_, P> {
    /// Appends bytes. Without memory, nothing more is.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = self.len % Chunk::BYTES;
            if at == 0 && self.len != 0 {
                self.grow();
            }
            if self.failed {
                return;
            }
            // Up to the end of the word.
            let shift = at as usize % 8;
            let (part, rest) = bytes.split_at(bytes.len().min(8 - shift));
            let value = match part.first_chunk() {
                Some(whole) => u64::from_le_bytes(*whole),
                None => part.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
            };
            let word = &self.linux.chunk(self.last).0[Chunk::TEXT + at as usize / 8];
            word.set(word.get() | value << (8 * shift));
            self.len += part.len() as u64;
            bytes = rest;
        }
    }

    #[cold]
    fn grow(&mut self) {
        if self.failed {
            return;
        }
        match self.linux.alloc_record(&self.linux.chunks) {
            Ok(id) => {
                let id = SnapshotId(id);
                self.linux.chunk(self.last).set_next(Some(id));
                self.last = id;
            }
            Err(_) => self.failed = true,
        }
    }
}

impl<'m, P: Platform> Linux<'m, P> {
    fn chunk(&self, id: SnapshotId) -> Chunk<'_> {
        Chunk(object(self.memory, id.0))
    }

    /// Keeps what `make` writes.
    ///
    /// # Errors
    /// `ENOMEM`; what `make` says.
    pub(super) fn new_snapshot(
        &self,
        make: impl FnOnce(&mut Writer<'_, 'm, P>) -> Result<(), Errno>,
    ) -> Result<SnapshotId, Errno> {
        let first = SnapshotId(self.alloc_record(&self.chunks)?);
        let mut writer = Writer {
            linux: self,
            first,
            last: first,
            len: 0,
            failed: false,
        };
        let made = make(&mut writer);
        let Writer { first, len, failed, .. } = writer;
        self.chunk(first).set_len(len);
        match made {
            Ok(()) if !failed => Ok(first),
            made => {
                self.free_snapshot(first);
                made.and(Err(Errno::ENOMEM))
            }
        }
    }

    /// Frees a text.
    pub(crate) fn free_snapshot(&self, first: SnapshotId) {
        let mut next = Some(first);
        while let Some(id) = next {
            let chunk = self.chunk(id);
            next = chunk.next();
            chunk.0.iter().for_each(|word| word.set(0));
            self.chunks.free(self.memory, id.0);
        }
    }

    /// Copies text from `pos` on to a program; how many bytes there were, up to `len`.
    ///
    /// # Errors
    /// `EFAULT` when nothing could be copied.
    pub(super) fn read_snapshot(&self, first: SnapshotId, pos: u64, to: (MmId, u64), len: u64) -> Result<u64, Errno> {
        let head = self.chunk(first);
        let len = len.min(head.len().saturating_sub(pos));
        let mut done = 0;
        while done < len {
            let at = pos + done;
            let chunk = self.chunk_at(first, at);
            let within = at % Chunk::BYTES;
            // As many words as there are bytes in, and what does not belong to them before and after.
            let mut bytes = [0; 512];
            let skip = within as usize % 8;
            let part = (len - done).min(Chunk::BYTES - within).min((bytes.len() - skip) as u64) as usize;
            let words = &chunk.0[Chunk::TEXT + within as usize / 8..];
            for (to, word) in bytes[..skip + part].chunks_mut(8).zip(words) {
                to.copy_from_slice(&word.get().to_le_bytes()[..to.len()]);
            }
            if let Err(error) = self.memory.copy_to_user(to.0, to.1 + done, &bytes[skip..skip + part]) {
                return if done == 0 { Err(error.into()) } else { Ok(done) };
            }
            done += part as u64;
        }
        Ok(done)
    }

    /// The chunk with a byte of a text, which is there.
    fn chunk_at(&self, first: SnapshotId, at: u64) -> Chunk<'_> {
        let head = self.chunk(first);
        let (mut id, mut start) = match head.read() {
            Some(read) if head.read_at() <= at => (read, head.read_at()),
            _ => (first, 0),
        };
        while start + Chunk::BYTES <= at {
            let Some(next) = self.chunk(id).next() else { break };
            id = next;
            start += Chunk::BYTES;
        }
        head.set_read(Some(id));
        head.set_read_at(start);
        self.chunk(id)
    }
}
