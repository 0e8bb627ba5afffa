//! The descriptors of a process: which numbers are open, and what they name.
//!
//! A table is a chain of blocks of 64 numbers each; blocks come with the first number in them and go with the table. Threads may share
//! one (`CLONE_FILES`): its first block counts them.
//!
//! Source: Linux, fs/file.c; dup(2), close(2), fork(2).

use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::file::{File, FileId, Kind, o};
use crate::{Errno, Linux};

id_type!(
    /// Number of an [`FdTable`]; that of its first block names a table.
    TableId
);

record! {
    /// 64 descriptors. From word [`FdTable::SLOTS`] on, the file that each open one names.
    pub struct FdTable[72] {
        /// Which are open, a bit each.
        open, set_open: u64 = 0;
        /// Which close with `execve`, a bit each.
        cloexec, set_cloexec: u64 = 1;
        /// The block with the next 64.
        next, set_next: Option<TableId> = 2;
        /// In the first block: those that have the table, besides the first.
        sharers, set_sharers: u64 = 3;
        /// In the first block: numbers from this one on are not given, but may be open.
        end, set_end: u64 = 4;
    }
}

/// Descriptors of a block.
const BLOCK: u64 = 64;
/// Descriptors of a process at most. Source: Linux `INR_OPEN_CUR`, the default of `RLIMIT_NOFILE`.
pub const NOFILE: u64 = 1024;

impl FdTable<'_> {
    /// First word of the files.
    const SLOTS: usize = 8;

    fn slot(self, number: u64) -> Option<FileId> {
        let word = self.0[Self::SLOTS + (number % BLOCK) as usize].get();
        faultlab_mm::record::Field::from_word(word)
    }

    fn set_slot(self, number: u64, file: Option<FileId>) {
        let word = faultlab_mm::record::Field::to_word(file);
        self.0[Self::SLOTS + (number % BLOCK) as usize].set(word);
    }

    /// Enters a file under a number that is free.
    fn fill(self, number: u64, file: FileId, cloexec: bool) {
        let bit = 1 << (number % BLOCK);
        self.set_open(self.open() | bit);
        self.set_cloexec(self.cloexec() & !bit | if cloexec { bit } else { 0 });
        self.set_slot(number, Some(file));
    }

    /// Empties a number; what it named.
    fn empty(self, number: u64) -> Option<FileId> {
        let bit = 1 << (number % BLOCK);
        let file = self.slot(number);
        self.set_open(self.open() & !bit);
        self.set_cloexec(self.cloexec() & !bit);
        self.set_slot(number, None);
        file
    }
}

impl<P: Platform> Linux<'_, P> {
    #[inline(always)]
    fn table(&self, id: TableId) -> FdTable<'_> {
        FdTable(object(self.memory, id.0))
    }

    fn alloc_block(&self) -> Result<TableId, Errno> {
        self.alloc_record(&self.tables).map(TableId)
    }

    /// A table whose first three descriptors are the standard streams.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn standard_table(&self) -> Result<TableId, Errno> {
        let id = self.alloc_block()?;
        self.table(id).set_end(NOFILE);
        for stream in 0..3 {
            match self.alloc_file() {
                Ok(file) => {
                    self.set_file(file, Kind::Stream(stream), None, o::RDWR);
                    self.fill(id, stream, file, false);
                }
                Err(errno) => {
                    self.close_table(id);
                    return Err(errno);
                }
            }
        }
        Ok(id)
    }

    /// `fork`: a table with the same files. Offsets and flags of the files are shared from now on.
    ///
    /// # Errors
    /// `ENOMEM`; nothing is left of the copy.
    pub fn dup_table(&self, old: TableId) -> Result<TableId, Errno> {
        let first = self.alloc_block()?;
        self.table(first).set_end(self.table(old).end());
        let (mut from, mut to) = (old, first);
        loop {
            let (source, target) = (self.table(from), self.table(to));
            for number in bits(source.open()) {
                if let Some(file) = source.slot(number) {
                    self.get_file(file);
                    target.fill(number, file, source.cloexec() >> number & 1 != 0);
                }
            }
            let Some(next) = source.next() else { return Ok(first) };
            match self.alloc_block() {
                Ok(block) => target.set_next(Some(block)),
                Err(errno) => {
                    self.close_table(first);
                    return Err(errno);
                }
            }
            (from, to) = (next, target.next().unwrap_or(first));
        }
    }

    /// Whether a number closes with `execve`.
    pub(crate) fn closes_on_exec(&self, first: TableId, number: u64) -> bool {
        let (mut next, mut base) = (Some(first), 0);
        while let Some(id) = next {
            let block = self.table(id);
            if number - base < BLOCK {
                return block.cloexec() >> (number - base) & 1 != 0;
            }
            next = block.next();
            base += BLOCK;
        }
        false
    }

    /// Numbers that a table has room for.
    pub(crate) fn table_slots(&self, first: TableId) -> u64 {
        let (mut next, mut slots) = (Some(first), 0);
        while let Some(id) = next {
            next = self.table(id).next();
            slots += BLOCK;
        }
        slots
    }

    /// The lowest open number from `from` on.
    pub(crate) fn next_open(&self, first: TableId, from: u64) -> Option<u64> {
        let (mut next, mut base) = (Some(first), 0);
        while let Some(id) = next {
            let block = self.table(id);
            next = block.next();
            if let Some(number) = bits(block.open()).find(|number| base + number >= from) {
                return Some(base + number);
            }
            base += BLOCK;
        }
        None
    }

    /// One more has a table. Source: Linux `copy_files`.
    #[must_use]
    pub fn share_table(&self, table: TableId) -> TableId {
        let first = self.table(table);
        first.set_sharers(first.sharers() + 1);
        table
    }

    /// The table of one that has to have it alone: the same, or a copy. Source: Linux `unshare_files`.
    ///
    /// # Errors
    /// `ENOMEM`; the table is shared as before.
    pub fn unshare_table(&self, table: TableId) -> Result<TableId, Errno> {
        if self.table(table).sharers() == 0 {
            return Ok(table);
        }
        let copy = self.dup_table(table)?;
        self.close_table(table);
        Ok(copy)
    }

    /// `execve`: closes the descriptors that were asked to close then.
    pub fn close_on_exec(&self, first: TableId) {
        let mut next = Some(first);
        while let Some(id) = next {
            let block = self.table(id);
            next = block.next();
            for number in bits(block.cloexec()) {
                if let Some(file) = block.empty(number) {
                    self.filp_close(first, file);
                }
            }
        }
    }

    /// One less has a table; with the last all its descriptors close, and it goes.
    pub fn close_table(&self, first: TableId) {
        let sharers = self.table(first).sharers();
        if sharers != 0 {
            self.table(first).set_sharers(sharers - 1);
            return;
        }
        let mut next = Some(first);
        while let Some(id) = next {
            let block = self.table(id);
            next = block.next();
            for number in bits(block.open()) {
                if let Some(file) = block.empty(number) {
                    self.filp_close(first, file);
                }
            }
            for word in block.0 {
                word.set(0);
            }
            self.tables.free(self.memory, id.0);
        }
    }

    /// Numbers that a table has room for.
    #[must_use]
    pub fn descriptors(&self, table: TableId) -> u64 {
        let (mut block, mut count) = (self.table(table), BLOCK);
        while let Some(next) = block.next() {
            block = self.table(next);
            count += BLOCK;
        }
        count
    }

    /// A descriptor of a table names a file no more. Source: Linux `filp_close`.
    #[inline]
    fn filp_close(&self, table: TableId, file: FileId) {
        self.remove_posix_locks(table, file);
        self.put_file(file);
    }

    /// `close_range`: closes the descriptors from `first` to `last`, or has `execve` do so.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, and for a last before the first.
    pub fn close_range(&self, table: TableId, first: u64, last: u64, flags: u64) -> Result<(), Errno> {
        /// `CLOSE_RANGE_UNSHARE`: the caller has seen to it. Source: close_range(2).
        const UNSHARE: u32 = 2;
        const CLOEXEC: u32 = 4;
        let (first, last, flags) = (u64::from(first as u32), u64::from(last as u32), flags as u32);
        if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
            return Err(Errno::EINVAL);
        }
        for number in first..(last + 1).min(self.descriptors(table)) {
            let open = self.get_id(table, number).is_ok();
            if open && flags & CLOEXEC != 0 {
                self.set_cloexec(table, number, true);
            } else if open {
                self.close(table, number)?;
            }
        }
        Ok(())
    }

    /// The block that a number lies in, if the table reaches that far.
    #[inline]
    fn block_of(&self, table: TableId, number: u64) -> Option<FdTable<'_>> {
        let mut block = self.table(table);
        for _ in 0..number / BLOCK {
            block = self.table(block.next()?);
        }
        Some(block)
    }

    /// As [`Linux::block_of`], with blocks added where they are missing.
    fn reach(&self, table: TableId, number: u64) -> Result<FdTable<'_>, Errno> {
        let mut block = self.table(table);
        for _ in 0..number / BLOCK {
            let next = match block.next() {
                Some(next) => next,
                None => {
                    let next = self.alloc_block()?;
                    block.set_next(Some(next));
                    next
                }
            };
            block = self.table(next);
        }
        Ok(block)
    }

    /// What a descriptor names. Descriptors are C integers: the upper half of the register does not count.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn get(&self, table: TableId, descriptor: u64) -> Result<File<'_>, Errno> {
        let file = self.get_any(table, descriptor)?;
        if file.f_flags() & o::PATH != 0 {
            return Err(Errno::EBADF);
        }
        Ok(file)
    }

    /// As [`Linux::get`], for calls that also take what was opened with `O_PATH`. Source: Linux `fdget_raw`.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn get_any(&self, table: TableId, descriptor: u64) -> Result<File<'_>, Errno> {
        Ok(self.file(self.get_id(table, descriptor)?))
    }

    #[inline]
    pub(crate) fn get_id(&self, table: TableId, descriptor: u64) -> Result<FileId, Errno> {
        let number = u64::from(descriptor as u32);
        if number >= NOFILE {
            return Err(Errno::EBADF);
        }
        self.block_of(table, number)
            .and_then(|block| block.slot(number))
            .ok_or(Errno::EBADF)
    }

    /// Gives a file that nobody names the lowest free number from `least` on; it goes when there is none.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub(crate) fn install(&self, table: TableId, file: FileId, least: u64, cloexec: bool) -> Result<u64, Errno> {
        self.get_file(file);
        self.install_counted(table, file, least, cloexec)
    }

    /// As [`Linux::install`], for a reference that is the descriptor's already.
    fn install_counted(&self, table: TableId, file: FileId, least: u64, cloexec: bool) -> Result<u64, Errno> {
        let found = self.lowest_free(table, least).and_then(|number| {
            self.reach(table, number)?.fill(number, file, cloexec);
            Ok(number)
        });
        if found.is_err() {
            self.put_file(file);
        }
        found
    }

    fn lowest_free(&self, table: TableId, least: u64) -> Result<u64, Errno> {
        let (mut number, end) = (least, self.table(table).end());
        while number < end {
            let Some(block) = self.block_of(table, number) else {
                return Ok(number);
            };
            let free = !block.open() >> (number % BLOCK);
            if free != 0 {
                return Ok(number + u64::from(free.trailing_zeros()))
                    .and_then(|number| if number < end { Ok(number) } else { Err(Errno::EMFILE) });
            }
            number = (number / BLOCK + 1) * BLOCK;
        }
        Err(Errno::EMFILE)
    }

    /// `RLIMIT_NOFILE`: numbers from the limit on are given no more, or those below it are, up to [`NOFILE`]. Threads of several processes that share the table share
    /// that, too; on Linux each process has its own.
    pub fn limit_descriptors(&self, table: TableId, soft: u64) {
        self.table(table).set_end(soft.min(NOFILE));
    }

    /// The lowest free number, with room for it: [`Linux::fill`] cannot fail.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub(crate) fn reserve(&self, table: TableId) -> Result<u64, Errno> {
        let number = self.lowest_free(table, 0)?;
        self.reach(table, number)?;
        Ok(number)
    }

    /// Gives a file a number that [`Linux::reserve`] found.
    pub(crate) fn fill(&self, table: TableId, number: u64, file: FileId, cloexec: bool) {
        if let Some(block) = self.block_of(table, number) {
            self.get_file(file);
            block.fill(number, file, cloexec);
        }
    }

    /// `close`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&self, table: TableId, descriptor: u64) -> Result<(), Errno> {
        let file = self.get_id(table, descriptor)?;
        if let Some(block) = self.block_of(table, u64::from(descriptor as u32)) {
            block.empty(u64::from(descriptor as u32));
        }
        self.filp_close(table, file);
        Ok(())
    }

    /// `dup`, and `fcntl` with `F_DUPFD`: another name for what a descriptor names, the lowest free one from `least` on.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` for a `least` beyond all numbers; `EMFILE`, `ENOMEM`.
    pub fn dup(&self, table: TableId, descriptor: u64, least: u64, cloexec: bool) -> Result<u64, Errno> {
        let file = self.get_id(table, descriptor)?;
        if least >= self.table(table).end() {
            return Err(Errno::EINVAL);
        }
        self.install(table, file, least, cloexec)
    }

    /// `dup2`: the same number twice is no error.
    ///
    /// # Errors
    /// As [`Linux::dup3`].
    pub fn dup2(&self, table: TableId, old: u64, new: u64) -> Result<u64, Errno> {
        if old as u32 == new as u32 {
            return self.get_id(table, old).map(|_| u64::from(old as u32));
        }
        self.dup3(table, old, new, 0)
    }

    /// `dup3`: makes `new` name what `old` names; what `new` named before closes.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags or the same number twice, `EBADF`, `ENOMEM`.
    pub fn dup3(&self, table: TableId, old: u64, new: u64, flags: u64) -> Result<u64, Errno> {
        let number = u64::from(new as u32);
        if flags as u32 & !(o::CLOEXEC as u32) != 0 || old as u32 == new as u32 {
            return Err(Errno::EINVAL);
        }
        if number >= self.table(table).end() {
            return Err(Errno::EBADF);
        }
        let file = self.get_id(table, old)?;
        let block = self.reach(table, number)?;
        let before = block.empty(number);
        self.get_file(file);
        block.fill(number, file, flags & o::CLOEXEC != 0);
        if let Some(before) = before {
            self.filp_close(table, before);
        }
        Ok(number)
    }

    /// Whether a descriptor closes with `execve`.
    pub(crate) fn cloexec(&self, table: TableId, descriptor: u64) -> bool {
        let number = u64::from(descriptor as u32);
        self.block_of(table, number)
            .is_some_and(|block| block.cloexec() >> (number % BLOCK) & 1 != 0)
    }

    pub(crate) fn set_cloexec(&self, table: TableId, descriptor: u64, cloexec: bool) {
        let number = u64::from(descriptor as u32);
        if let Some(block) = self.block_of(table, number) {
            let bit = 1 << (number % BLOCK);
            block.set_cloexec(block.cloexec() & !bit | if cloexec { bit } else { 0 });
        }
    }
}

/// Numbers of the bits that are set.
fn bits(mut map: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        let lowest = u64::from(map.trailing_zeros());
        (map != 0).then(|| {
            map &= map - 1;
            lowest
        })
    })
}
