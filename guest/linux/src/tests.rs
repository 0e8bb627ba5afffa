//! The layer over a fake machine.

use faultlab_mm::testing::{FakeMachine, machine};
use faultlab_mm::{Memory, mmap};

use crate::cred::Cred;
use crate::fdtable::{NOFILE, TableId};
use crate::file::Kind;
use crate::read_write::{At, Buffer};
use crate::vfs::Fs;
use crate::writer::Writer;
use crate::{Errno, Linux};

const ALLOW_SEALING: u64 = 2;

fn memfd(linux: &Linux<'_, FakeMachine>, table: TableId) -> u64 {
    linux.memfd_create(table, ALLOW_SEALING, (0, 0)).expect("a file")
}

fn assert_nothing_is_left(memory: &Memory<FakeMachine>, linux: &Linux<'_, FakeMachine>) {
    for (name, objects) in linux.live_records().into_iter().chain(memory.live_records()) {
        assert_eq!(objects, 0, "{name} left");
    }
    memory.check_invariants();
}

#[test]
fn a_process_begins_with_its_streams() {
    let memory = machine(256, 0);
    let linux = Linux::new(&memory);
    let table = linux.standard_table().expect("a table");
    for stream in 0..3 {
        assert_eq!(
            linux.get(table, stream).map(crate::file::File::kind),
            Ok(Kind::Stream(stream))
        );
    }
    for closed in [3, 64, NOFILE, u64::from(u32::MAX)] {
        assert_eq!(linux.get(table, closed).err(), Some(Errno::EBADF));
        assert_eq!(linux.close(table, closed), Err(Errno::EBADF));
    }
    assert!(linux.get(table, 1 << 32 | 1).is_ok(), "a descriptor is an int");
    linux.close_table(table);
    assert_nothing_is_left(&memory, &linux);
}

#[test]
fn the_lowest_free_number_is_taken_until_none_is_left() {
    let memory = machine(512, 0);
    let linux = Linux::new(&memory);
    let table = linux.standard_table().expect("a table");
    let all: Vec<u64> = std::iter::from_fn(|| linux.memfd_create(table, 0, (0, 0)).ok()).collect();
    assert_eq!(all, (3..NOFILE).collect::<Vec<_>>());
    assert_eq!(linux.memfd_create(table, 0, (0, 0)), Err(Errno::EMFILE));
    for closed in [900, 70, 1] {
        linux.close(table, closed).expect("open");
    }
    assert_eq!(linux.dup(table, 0, 71, false), Ok(900));
    assert_eq!(linux.memfd_create(table, 0, (0, 0)), Ok(1));
    assert_eq!(linux.memfd_create(table, 0, (0, 0)), Ok(70));
    linux.close_table(table);
    assert_nothing_is_left(&memory, &linux);
}

/// fork(2), dup(2): the position belongs to the description; close(2): the last descriptor takes it and its object along.
#[test]
fn copies_share_a_description() {
    let memory = machine(256, 0);
    let linux = Linux::new(&memory);
    let table = linux.standard_table().expect("a table");
    let file = memfd(&linux, table);
    let copy = linux.dup3(table, file, 200, 0o2_000_000).expect("a copy");
    let child = linux.dup_table(table).expect("a copy of the table");
    linux
        .lseek(linux.get(table, file).expect("open"), 77, 0)
        .expect("a position");
    assert_eq!(linux.lseek(linux.get(child, copy).expect("open"), 0, 1), Ok(77));
    assert_eq!(
        linux.fcntl(Cred::ROOT, child, copy, 1, 0),
        Ok(1),
        "flags of descriptors are copied"
    );
    linux.close_table(table);
    assert_eq!(linux.lseek(linux.get(child, file).expect("open"), 1, 1), Ok(78));
    linux.close(child, file).expect("open");
    assert_eq!(memory.live_records()[3], ("inode", 1));
    linux.close(child, copy).expect("open");
    assert_eq!(memory.live_records()[3], ("inode", 0));
    linux.close_table(child);
    assert_nothing_is_left(&memory, &linux);
}

/// Every call that allocates, with every number of frames left: it fails with `ENOMEM` and leaves nothing, or does all that it should.
#[test]
fn without_memory() {
    for frames in 4..40 {
        let memory = machine(frames, 0);
        let linux = Linux::new(&memory);
        let Ok(table) = linux.standard_table() else {
            assert_nothing_is_left(&memory, &linux);
            continue;
        };
        let mut hold = Vec::new();
        while let Ok(mm) = memory.mm_alloc() {
            hold.push(mm);
        }
        let made: Vec<_> = (0..300).map(|_| linux.memfd_create(table, 0, (0, 0))).collect();
        assert!(made.iter().all(|made| matches!(made, Ok(_) | Err(Errno::ENOMEM))));
        match linux.dup_table(table) {
            Ok(copy) => linux.close_table(copy),
            Err(errno) => assert_eq!(errno, Errno::ENOMEM),
        }
        assert!(matches!(linux.dup2(table, 0, 1000), Ok(1000) | Err(Errno::ENOMEM)));
        hold.into_iter().for_each(|mm| memory.mmput(mm, 1));
        linux.close_table(table);
        assert_nothing_is_left(&memory, &linux);
    }
}

#[test]
fn reading_and_writing_move_the_position() {
    let memory = machine(256, 0);
    let linux = Linux::new(&memory);
    let mm = memory.mm_alloc().expect("an address space");
    let addr = memory
        .do_mmap(
            mm,
            0,
            4096,
            3,
            mmap::map_flag::PRIVATE | mmap::map_flag::ANONYMOUS,
            None,
            0,
        )
        .expect("a buffer");
    memory.store(mm, addr, 0x0807_0605_0403_0201).expect("the buffer");
    let table = linux.standard_table().expect("a table");
    let number = memfd(&linux, table);
    let file = linux.get(table, number).expect("open");
    let Kind::Object(inode) = file.kind() else {
        panic!("not an object")
    };
    let buffer = |len| Buffer { mm, addr, len };
    assert_eq!(linux.write(Writer::ANY, file, inode, At::Position, buffer(8)), Ok(8));
    assert_eq!(linux.write(Writer::ANY, file, inode, At::Offset(100), buffer(8)), Ok(8));
    assert_eq!(linux.lseek(file, 0, 1), Ok(8));
    assert_eq!(linux.lseek(file, 2, 0), Ok(2));
    assert_eq!(linux.read(file, inode, At::Position, buffer(3)), Ok(3));
    assert_eq!(memory.load(mm, addr), Ok(0x0807_0605_0405_0403));
    assert_eq!(linux.lseek(file, 0, 1), Ok(5));
    linux.close_table(table);
    memory.mmput(mm, 1);
    assert_nothing_is_left(&memory, &linux);
}

/// clone(2), `CLONE_FILES` and `CLONE_FS`: what one changes, all have; the last one closes it. execve(2): a copy for who goes on alone.
#[test]
fn what_threads_share_goes_with_the_last_of_them() {
    let memory = machine(256, 0);
    let linux = Linux::new(&memory);
    let table = linux.standard_table().expect("a table");
    assert_eq!(linux.share_table(table), table);
    let fd = memfd(&linux, table);
    let own = linux.unshare_table(table).expect("a copy");
    assert_ne!(own, table);
    linux.close(own, fd).expect("open");
    assert!(linux.get(table, fd).is_ok(), "open in the other still");
    assert_eq!(linux.unshare_table(own), Ok(own), "nobody else has it");
    linux.close_table(own);
    assert_eq!(linux.share_table(table), table);
    linux.close_table(table);
    assert!(linux.get(table, fd).is_ok(), "one is left");
    linux.close_table(table);

    let fs = |umask| Fs { cwd: None, umask };
    let first = linux.alloc_fs(fs(0o22)).expect("memory");
    let (shared, copied) = (linux.share_fs(first), linux.dup_fs(first).expect("memory"));
    linux.set_fs(shared, fs(0o77));
    assert_eq!([first, copied].map(|id| linux.fs(id).umask), [0o77, 0o22]);
    for id in [first, copied, shared] {
        linux.put_fs(id);
    }
    assert_nothing_is_left(&memory, &linux);
}
