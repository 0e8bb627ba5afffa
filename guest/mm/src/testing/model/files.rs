//! Memory files, as the model sees them: their words, their sizes, and private copies of their pages.

use super::{Content, ModelPage, Process, World};
use crate::Memory;
use crate::addr::{PAGE_SIZE, pages_for};
use crate::error::Error;
use crate::mmap::{map_flag, prot};
use crate::shmem::{InodeId, falloc};
use crate::testing::FakeMachine;
use crate::vma::MmId;

use super::ops::FileOp;

/// A file, and which of the model's objects it is.
pub(super) struct ModelFile {
    pub(super) id: InodeId,
    pub(super) object: usize,
    size: u64,
    /// Of the file system with a limit.
    pub(super) limited: bool,
}

/// The buffer of whoever reads and writes files: a page of an address space of its own.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) mm: MmId,
    addr: u64,
}

impl Tool {
    pub(super) fn new(memory: &Memory<FakeMachine>) -> Self {
        let mm = memory.mm_alloc().expect("an address space");
        let flags = map_flag::PRIVATE | map_flag::ANONYMOUS;
        let addr = memory
            .do_mmap(mm, 0, PAGE_SIZE, prot::READ | prot::WRITE, flags, None, 0)
            .expect("a buffer");
        Self { mm, addr }
    }
}

/// Byte position of the word of a page that everybody uses.
fn position(page: u64) -> u64 {
    page * PAGE_SIZE + page * 7 % 512 * 8
}

impl World {
    pub(super) fn file_op(&mut self, file: usize, op: &FileOp) {
        if *op == FileOp::Create {
            return self.create_file();
        }
        if self.files.is_empty() {
            return;
        }
        let file = file % self.files.len();
        match *op {
            FileOp::Create => {}
            FileOp::Map {
                who,
                first,
                pages,
                shared,
            } => self.map_file(file, who % self.processes.len(), first, pages, shared),
            FileOp::Write { page, value } => self.write_file(file, page, value),
            FileOp::Read { page } => self.read_file(file, page),
            FileOp::Truncate { pages } => self.truncate_file(file, pages),
            FileOp::Punch { first, pages } => {
                let ModelFile { id, object, .. } = self.files[file];
                let mode = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
                let result = self
                    .memory
                    .shmem_fallocate(id, mode, first * PAGE_SIZE, pages * PAGE_SIZE);
                assert_eq!(result, Ok(()));
                self.words
                    .retain(|&(of, index), _| of != object || index < first || index >= first + pages);
            }
            FileOp::Allocate { first, pages, keep } => {
                let mode = if keep { falloc::KEEP_SIZE } else { 0 };
                let (start, len) = (first * PAGE_SIZE, pages * PAGE_SIZE);
                match self.memory.shmem_fallocate(self.files[file].id, mode, start, len) {
                    Ok(()) if !keep => self.set_size(file, self.files[file].size.max(start + len)),
                    Ok(()) | Err(Error::Enomem) => {}
                    Err(Error::Enospc) if self.files[file].limited => {}
                    // A page that is there already comes back from swap.
                    Err(Error::Eio) if self.reads_fail => {}
                    Err(error) => panic!("fallocate: {error:?}"),
                }
            }
        }
    }

    fn create_file(&mut self) {
        if self.files.len() < 3
            && let (Ok(id), limited) = self.new_file()
        {
            self.files.push(ModelFile {
                id,
                object: self.objects,
                size: 0,
                limited,
            });
            self.object_pages.insert(self.objects, 0);
            self.objects += 1;
        }
    }

    fn set_size(&mut self, file: usize, size: u64) {
        self.files[file].size = size;
        self.object_pages.insert(self.files[file].object, pages_for(size));
    }

    fn map_file(&mut self, file: usize, who: usize, first: u64, pages: u64, shared: bool) {
        let ModelFile { id, object, .. } = self.files[file];
        let mm = self.processes[who].mm;
        let (rights, flags) = (
            prot::READ | prot::WRITE,
            if shared { map_flag::SHARED } else { map_flag::PRIVATE },
        );
        let Ok(start) = self
            .memory
            .do_mmap(mm, 0, pages * PAGE_SIZE, rights, flags, Some(id.into()), first)
        else {
            return;
        };
        for i in 0..pages {
            let index = first + i;
            let content = if shared {
                Content::Object(object, index)
            } else {
                Content::Copy(object, index, None)
            };
            let addr = start + i * PAGE_SIZE;
            let page = ModelPage {
                prot: rights,
                content,
                segment: None,
                cut: false,
                locked: false,
                word: Self::word_of(addr, content),
            };
            let old = self.processes[who].pages.insert(addr, page);
            assert!(old.is_none(), "a mapping was placed over another");
        }
    }

    fn write_file(&mut self, file: usize, page: u64, value: u64) {
        let ModelFile {
            id,
            object,
            size,
            limited,
        } = self.files[file];
        let Tool { mm, addr } = self.tool;
        if self.memory.store(mm, addr, value).is_err() {
            return;
        }
        match self.memory.shmem_file_write(id, position(page), mm, addr, 8) {
            Ok(written) => {
                assert_eq!(written, 8);
                self.words.insert((object, page), value);
                self.set_size(file, size.max(position(page) + 8));
            }
            Err(Error::Enospc) if limited => {}
            Err(error) => self.may_refuse(error),
        }
    }

    fn read_file(&mut self, file: usize, page: u64) {
        let ModelFile {
            id,
            object,
            size,
            limited,
        } = self.files[file];
        let Tool { mm, addr } = self.tool;
        let there = size.saturating_sub(position(page)).min(8);
        match self.memory.shmem_file_read(id, position(page), mm, addr, 8) {
            Ok(read) => {
                assert_eq!(read, there, "bytes before the end");
                if let (8, Ok(value)) = (read, self.memory.load(mm, addr)) {
                    let expected = self.words.get(&(object, page)).copied().unwrap_or(0);
                    assert_eq!(value, expected, "content of page {page} of file {file}");
                }
            }
            Err(Error::Enospc) if limited => {}
            Err(error) => self.may_refuse(error),
        }
    }

    /// Memory may be short, for the buffer too, and the disk may fail to give a page back. Rule F28.
    fn may_refuse(&self, error: Error) {
        let allowed = matches!(error, Error::Enomem | Error::Efault) || (self.reads_fail && error == Error::Eio);
        assert!(allowed, "{error:?}");
    }

    /// What is behind the end goes, private copies included. Rule B40.
    fn truncate_file(&mut self, file: usize, pages: u64) {
        let ModelFile { id, object, .. } = self.files[file];
        assert_eq!(self.memory.shmem_truncate(id, pages * PAGE_SIZE), Ok(()));
        self.set_size(file, pages * PAGE_SIZE);
        self.words.retain(|&(of, index), _| of != object || index < pages);
        let all = self
            .processes
            .iter_mut()
            .flat_map(|Process { pages, .. }| pages.values_mut());
        for page in all {
            if let Content::Copy(of, index, value) = &mut page.content
                && *of == object
                && *index >= pages
            {
                *value = None;
            }
        }
    }

    /// Blocks are what is in memory and in swap, whatever happens to pages. Rule C8.
    pub(super) fn check_files(&self) {
        for file in &self.files {
            let (resident, swapped) = self.memory.shmem_pages(file.id);
            let stat = self.memory.getattr(file.id);
            assert_eq!(stat.blocks, 8 * (resident + swapped), "blocks of a file");
            assert_eq!(stat.size, file.size, "size of a file");
        }
    }

    pub(super) fn drop_files(&mut self) {
        for file in self.files.drain(..) {
            if file.limited {
                self.memory.clear_nlink(file.id);
            }
            self.memory.iput(file.id);
        }
    }
}
