//! What files hold: blocks and limits, pages under pressure and without names, copies, frames of the initrd.

use super::*;
use crate::writer::Writer;

/// Rule C37: what has no name is on no mount, and limited by none.
#[test]
fn objects_of_the_internal_mount() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let number = world.linux.memfd_create(world.task.table, 0, (0, 0)).expect("a file");
    let own = PathAt {
        dirfd: number as i32,
        path: b"",
    };
    let linked = world.linux.linkat(&world.task, own, World::at("f"), at::EMPTY_PATH);
    assert_eq!(linked, Err(Errno::EXDEV));
    let file = world.linux.get(world.task.table, number).expect("open");
    let inode = file.inode().expect("an object");
    let blocks = |bytes: [u8; crate::vfs::STATFS_BYTES]| bytes[16..64].iter().map(|&byte| u32::from(byte)).sum::<u32>();
    assert_eq!(
        blocks(world.linux.statfs(inode)),
        0,
        "neither blocks nor files are counted"
    );
    world.linux.close(world.task.table, number).expect("open");
    world.assert_as_before();
}

/// Rule C36: a file of a detached mount that is only mapped any more keeps its pages; they go when the mapping does.
#[test]
fn mapped_files_outlive_their_names() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let mm = memory.mm_alloc().expect("an address space");
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "size=16k", 0).expect("new");
    let number = world.open("m/f", o::CREAT | o::RDWR).expect("new");
    let file = world.linux.get(world.task.table, number).expect("open");
    world.linux.ftruncate(Writer::ANY, file, 8192).expect("writable");
    let target = world.linux.map_file(file).expect("a file");
    let addr = memory
        .do_mmap(mm, 0, 8192, 3, mmap::map_flag::SHARED, Some(target), 0)
        .expect("mapped");
    memory.store(mm, addr, 7).expect("mapped");
    world.linux.close(world.task.table, number).expect("open");
    world.unlink("m/f").expect("there");
    assert_eq!(world.umount("m", 0), Err(Errno::EBUSY));
    world.umount("m", mount_flag::MNT_DETACH).expect("detached");
    assert_eq!(memory.load(mm, addr), Ok(7));
    memory.mmput(mm, 1);
    world.linux.exit_fs(Fs::NONE);
    world.rmdir("m").expect("empty");
    world.assert_as_before();
}

#[test]
fn reading_past_a_limit_takes_no_block() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let mm = memory.mm_alloc().expect("an address space");
    let flags = mmap::map_flag::PRIVATE | mmap::map_flag::ANONYMOUS;
    let addr = memory.do_mmap(mm, 0, 4096, 3, flags, None, 0).expect("a buffer");
    memory.store(mm, addr, 1).expect("the buffer");
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "nr_blocks=1", 0).expect("new");
    let number = world.open("m/f", o::CREAT | o::RDWR).expect("new");
    let file = world.linux.get(world.task.table, number).expect("open");
    let inode = file.inode().expect("an object");
    let buffer = Buffer { mm, addr, len: 4096 };
    assert_eq!(
        world.linux.write(Writer::ANY, file, inode, At::Offset(0), buffer),
        Ok(4096)
    );
    assert_eq!(
        world.linux.write(Writer::ANY, file, inode, At::Offset(4096), buffer),
        Err(Errno::ENOSPC)
    );
    world.linux.ftruncate(Writer::ANY, file, 12288).expect("writable");
    assert_eq!(world.linux.read(file, inode, At::Offset(4096), buffer), Ok(4096));
    assert_eq!(memory.load(mm, addr), Ok(0));
    world.linux.ftruncate(Writer::ANY, file, 0).expect("writable");
    assert_eq!(
        world.linux.write(Writer::ANY, file, inode, At::Offset(4096), buffer),
        Ok(4096)
    );
    world.linux.close(world.task.table, number).expect("open");
    world.umount("m", 0).expect("unused");
    world.rmdir("m").expect("empty");
    memory.mmput(mm, 1);
    world.assert_as_before();
}

/// Rules C9, C31, C52, C53: under pressure pages of tmpfs go to swap, and those of ramfs and of `noswap` mounts stay; blocks and content are
/// the same then. Nothing else is ever written, whatever was stored.
#[test]
fn what_goes_to_swap() {
    let memory = machine(320, 1024);
    let world = World::new(&memory);
    let kinds = [("tmpfs", ""), ("tmpfs", "noswap"), ("ramfs", "")];
    let mut files = Vec::new();
    for (number, (kind, options)) in kinds.into_iter().enumerate() {
        let dir = format!("m{number}");
        world.mkdir(&dir).expect("new");
        world.mount(&dir, kind, options, 0).expect("new");
        let path = format!("{dir}/f");
        world.create(&path).expect("new");
        let inode = world.linux.find(&world.task, World::at(&path), 0, 0).expect("there");
        memory
            .kernel_write(inode, 0, &[number as u8 + 1; 20 * 4096])
            .expect("room");
        files.push(inode);
    }
    assert_eq!(
        memory.platform.counter(Vmstat::NrShmem),
        40,
        "ramfs is no shared memory"
    );
    assert_eq!(memory.platform.counter(Vmstat::NrFilePages), 60);
    assert_eq!(memory.platform.counter(Vmstat::Pswpout), 0, "no reason to write");
    let mm = memory.mm_alloc().expect("an address space");
    let flags = mmap::map_flag::PRIVATE | mmap::map_flag::ANONYMOUS;
    let addr = memory.do_mmap(mm, 0, 400 * 4096, 3, flags, None, 0).expect("room");
    (0..400).for_each(|page| memory.store(mm, addr + page * 4096, page).expect("swap makes room"));
    assert_eq!(memory.shmem_pages(files[0]).0 + memory.shmem_pages(files[0]).1, 20);
    assert!(memory.shmem_pages(files[0]).1 > 0, "tmpfs is swapped");
    assert_eq!(memory.shmem_pages(files[1]), (20, 0), "noswap stays");
    assert_eq!(memory.shmem_pages(files[2]), (20, 0), "ramfs stays");
    memory.mmput(mm, 1);
    for (number, &inode) in files.iter().enumerate() {
        assert_eq!(memory.getattr(inode).blocks, 160);
        let mut content = [0; 20 * 4096];
        assert_eq!(memory.kernel_read(inode, 0, &mut content), Ok(content.len()));
        assert!(content.iter().all(|&byte| byte == number as u8 + 1));
    }
    for number in 0..kinds.len() {
        world.umount(&format!("m{number}"), 0).expect("unused");
        world.rmdir(&format!("m{number}")).expect("empty");
    }
    world.assert_as_before();
    assert_eq!(memory.platform.counter(Vmstat::NrShmem), 0);
    assert_eq!(memory.platform.counter(Vmstat::NrFilePages), 0);
}

/// Rule C22: what is copied from a hole is zeroes, and stays a hole.
#[test]
fn copying_between_files() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let open = |path| {
        let number = world.open(path, o::CREAT | o::RDWR).expect("new");
        (number, world.linux.get(world.task.table, number).expect("open"))
    };
    let ((from_number, from), (to_number, to)) = (open("from"), open("to"));
    let [source, target] = [from, to].map(|file| file.inode().expect("an object"));
    memory.kernel_write(source, 0, &[1; 100]).expect("room");
    memory.kernel_write(source, 3 * 4096, &[2; 100]).expect("room");
    memory.kernel_write(target, 0, &[9; 4 * 4096]).expect("room");
    let place = Place {
        file: from,
        at: At::Position,
    };
    assert_eq!(
        world.linux.sendfile(Writer::ANY, to, place, 1 << 20),
        Ok((3 * 4096 + 100, false))
    );
    assert_eq!(world.linux.lseek(from, 0, 1), Ok(3 * 4096 + 100));
    assert_eq!(memory.getattr(source).blocks, 16, "holes stay");
    let mut content = [0; 4 * 4096];
    memory.kernel_read(target, 0, &mut content).expect("there");
    let expected = (0..content.len()).map(|at| match at {
        0..100 => 1,
        100..12288 => 0,
        12288..12388 => 2,
        _ => 9,
    });
    assert!(content.iter().copied().eq(expected));
    for number in [from_number, to_number] {
        world.linux.close(world.task.table, number).expect("open");
    }
    ["from", "to"]
        .into_iter()
        .for_each(|path| world.unlink(path).expect("there"));
    world.assert_as_before();
}

/// Frames that hold a file's content already become its pages, are counted, and come free with it; those left come free by themselves.
#[test]
fn frames_become_pages_of_a_file() {
    const GIVEN: std::ops::Range<u32> = 300..310;
    let memory = Memory::new(FakeMachine::new(400, 0));
    memory.init(Pfn(16), Pfn(GIVEN.start));
    memory.init_used(Pfn(GIVEN.start), Pfn(GIVEN.end));
    let world = World::new(&memory);
    let free = memory.nr_free_pages();
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "nr_blocks=4", 0).expect("new");
    world.create("m/f").expect("new");
    let inode = world.linux.find(&world.task, World::at("m/f"), 0, 0).expect("there");
    memory.shmem_truncate(inode, 4 * 4096).expect("no seal");
    for (index, pfn) in GIVEN.enumerate() {
        memory
            .platform
            .frame(Pfn(pfn))
            .iter()
            .for_each(|word| word.set(u64::from(pfn)));
        let added = memory.shmem_add_frame(inode, index as u64, Pfn(pfn));
        assert_eq!(
            added.map_err(Errno::from),
            if index < 4 { Ok(()) } else { Err(Errno::ENOSPC) }
        );
        if added.is_err() {
            memory.free_given(Pfn(pfn));
        }
    }
    memory.check_invariants();
    let mut content = [0; 16];
    assert_eq!(memory.kernel_read(inode, 3 * 4096 - 8, &mut content), Ok(16));
    assert_eq!(
        content,
        [[46, 1, 0, 0, 0, 0, 0, 0], [47, 1, 0, 0, 0, 0, 0, 0]].as_flattened()
    );
    assert_eq!((memory.i_size(inode), memory.getattr(inode).blocks), (4 * 4096, 32));
    world.umount("m", 0).expect("unused");
    world.rmdir("m").expect("empty");
    world.assert_as_before();
    assert!(memory.nr_free_pages() >= free + 10 - 4, "slabs keep a frame each");
}
