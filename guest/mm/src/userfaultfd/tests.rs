//! Expected results are those of tests/c/userfaultfd.c on Linux 6.18.

mod drawn;
mod pool;
mod space;

use std::vec;

use super::{API, Waiting, feature, mode, register_mode};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::mmap::{map_flag, prot, remap_flag};
use crate::shmem::falloc;
use space::{AT, SOURCE, Space, TID};

/// H1.
#[test]
fn handshake() {
    let space = Space::new();
    let memory = &space.memory;
    let ctx = memory.userfaultfd(space.mm, false).unwrap();
    assert!(!memory.userfaultfd_is_initialized(ctx));
    assert_eq!(memory.userfaultfd_api(ctx, 0xab, 0), Err(Error::Einval));
    assert_eq!(memory.userfaultfd_api(ctx, API, 1 << 50), Err(Error::Einval));
    assert_eq!(memory.userfaultfd_api(ctx, API, feature::SIGBUS), Ok(feature::ALL));
    assert!(memory.userfaultfd_is_initialized(ctx));
    assert_eq!(memory.userfaultfd_api(ctx, API, 0), Err(Error::Einval), "twice");
    memory.userfaultfd_release(ctx, |_| {});
    space.end(&[]);
}

/// H2.
#[test]
fn what_can_be_registered() {
    let space = Space::new();
    let (memory, missing, minor) = (&space.memory, register_mode::MISSING, register_mode::MINOR);
    let object = space.object(4);
    space.map(AT, 8, map_flag::PRIVATE, None);
    space.map(AT + 0x10_0000, 4, map_flag::SHARED, Some(object));
    let register = |at, len, mode| memory.userfaultfd_register(space.ctx, at, len, mode);
    for (at, len, mode) in [
        (AT, PAGE_SIZE, 0),
        (AT, PAGE_SIZE, 0x80),
        (AT + 1, PAGE_SIZE, missing),
        (AT, 100, missing),
        (AT, 0, missing),
        (0x1_0000, PAGE_SIZE, missing),
        (PAGE_SIZE.wrapping_neg(), PAGE_SIZE, missing),
        (AT, PAGE_SIZE, minor),
        (AT, PAGE_SIZE, minor | missing),
    ] {
        assert_eq!(register(at, len, mode), Err(Error::Einval), "{at:#x} {len} {mode}");
    }
    assert_eq!(space.register(AT, 4, missing), Ok(0x1c));
    assert_eq!(space.register(AT + PAGE_SIZE, 2, missing), Ok(0x1c), "again");
    assert_eq!(space.vmas()[..2], [(AT, 4, true), (AT + 4 * PAGE_SIZE, 4, false)]);
    let other = memory.userfaultfd(space.mm, false).unwrap();
    memory.userfaultfd_api(other, API, 0).unwrap();
    assert_eq!(
        memory.userfaultfd_register(other, AT, PAGE_SIZE, missing),
        Err(Error::Ebusy)
    );
    assert_eq!(
        memory.userfaultfd_unregister(other, AT, PAGE_SIZE, |_| {}),
        Err(Error::Einval)
    );
    // Beside each other, but of two contexts: they stay two.
    memory
        .userfaultfd_register(other, AT + 4 * PAGE_SIZE, PAGE_SIZE, missing)
        .unwrap();
    assert_eq!(space.vmas().len(), 4);
    memory.userfaultfd_release(other, |_| {});
    assert_eq!(space.register(AT + 0x10_0000, 4, minor | missing), Ok(0x9c));
    memory.do_munmap(space.mm, AT + 5 * PAGE_SIZE, PAGE_SIZE).unwrap();
    assert_eq!(space.register(AT, 8, missing), Ok(0x1c), "with a gap");
    memory
        .userfaultfd_unregister(space.ctx, AT, 8 * PAGE_SIZE, |_| {})
        .unwrap();
    memory
        .userfaultfd_unregister(space.ctx, AT, 8 * PAGE_SIZE, |_| {})
        .unwrap();
    assert_eq!(space.vmas()[..2], [(AT, 5, false), (AT + 6 * PAGE_SIZE, 2, false)]);
    space.end(&[object]);
}

/// H3, H4: of objects and of anonymous memory.
#[test]
fn missing_pages_are_asked_for() {
    let space = Space::new();
    let object = space.object(4);
    space.map(AT, 4, map_flag::SHARED, Some(object));
    space.map(AT + 0x10_0000, 4, map_flag::PRIVATE, None);
    let view = space.map(AT + 0x20_0000, 4, map_flag::SHARED, Some(object));
    space.memory.store(space.mm, view, 1).unwrap();
    for base in [AT, AT + 0x10_0000] {
        space.register(base, 4, register_mode::MISSING).unwrap();
        let at = base + PAGE_SIZE;
        assert_eq!(space.asks(at + 8, Access::Write), Some((at, 1)));
        assert_eq!(space.asks(at + 8, Access::Write), None, "it is told once");
        assert_eq!(
            space.asks(at, Access::Read),
            Some((at, 0)),
            "and again of another access"
        );
        assert_eq!(space.copy(at, 1), (vec![TID], PAGE_SIZE.cast_signed()));
        assert_eq!((space.load(at), space.load(at + 8)), (7, 7));
        assert_eq!(space.copy(at, 1).1, -17);
        assert_eq!(space.zeropage(at + PAGE_SIZE, 2), Ok(()));
        assert_eq!(space.load(at + 2 * PAGE_SIZE), 0);
        space.memory.store(space.mm, at + PAGE_SIZE, 9).unwrap();
        assert_eq!(space.load(at + PAGE_SIZE), 9);
    }
    assert_eq!(space.load(AT), 1, "there already");
    assert_eq!((space.load(view + PAGE_SIZE), space.load(view + 2 * PAGE_SIZE)), (7, 9));
    // Holes are asked for again.
    let punch = falloc::PUNCH_HOLE | falloc::KEEP_SIZE;
    space.memory.shmem_fallocate(object, punch, 0, PAGE_SIZE).unwrap();
    assert_eq!(space.asks(AT, Access::Read), Some((AT, 0)));
    // One and a half pages of source, from the middle of a page on.
    space.memory.store(space.mm, SOURCE + PAGE_SIZE, 8).unwrap();
    let from = (space.mm, SOURCE + 8);
    space
        .memory
        .userfaultfd_copy(space.ctx, AT, from, PAGE_SIZE, 0, |_| {})
        .unwrap()
        .result()
        .unwrap();
    assert_eq!((space.load(AT), space.load(AT + PAGE_SIZE - 8)), (7, 8));
    space.end(&[object]);
}

/// H4: what an answer is refused for.
#[test]
fn refused_answers() {
    let space = Space::new();
    let object = space.object(4);
    space.map(AT, 8, map_flag::SHARED, Some(object));
    let copy = |at, len, flags| {
        let filled = space
            .memory
            .userfaultfd_copy(space.ctx, at, (space.mm, SOURCE), len, flags, |_| {});
        filled.map(|filled| (filled.field(), filled.result()))
    };
    assert_eq!(copy(AT, PAGE_SIZE, 0), Ok((-2, Err(Error::Enoent))), "not registered");
    space.register(AT, 8, register_mode::MISSING).unwrap();
    assert_eq!(copy(AT + 1, PAGE_SIZE, 0), Err(Error::Einval));
    assert_eq!(copy(AT, 0, 0), Err(Error::Einval));
    assert_eq!(copy(AT, PAGE_SIZE, 0x80), Err(Error::Einval));
    assert_eq!(copy(0x1_0000, PAGE_SIZE, 0), Ok((-2, Err(Error::Enoent))));
    assert_eq!(
        copy(AT, 9 * PAGE_SIZE, 0),
        Ok((-2, Err(Error::Enoent))),
        "past what is registered"
    );
    assert_eq!(
        copy(AT + 4 * PAGE_SIZE, PAGE_SIZE, 0),
        Ok((-14, Err(Error::Efault))),
        "past the end"
    );
    assert_eq!(copy(AT + PAGE_SIZE, PAGE_SIZE, mode::DONTWAKE), Ok((4096, Ok(()))));
    assert_eq!(
        copy(AT, 3 * PAGE_SIZE, 0),
        Ok((4096, Err(Error::Eagain))),
        "up to one that is there"
    );
    let nowhere = space.memory.userfaultfd_copy(
        space.ctx,
        AT + 2 * PAGE_SIZE,
        (space.mm, 0x1_0000),
        PAGE_SIZE,
        0,
        |_| {},
    );
    assert_eq!(nowhere.unwrap().field(), -14);
    space.end(&[object]);
}

/// H5, H7: what is there is told before what is missing is allocated.
#[test]
fn minor_faults() {
    let space = Space::new();
    let object = space.object(6);
    let view = space.map(AT + 0x10_0000, 6, map_flag::SHARED, Some(object));
    for page in 0..3 {
        space.memory.store(space.mm, view + page * PAGE_SIZE, page + 1).unwrap();
    }
    space.map(AT, 6, map_flag::SHARED, Some(object));
    space.register(AT, 6, register_mode::MINOR).unwrap();
    assert_eq!(space.load(AT + 3 * PAGE_SIZE), 0, "holes are nobody's");
    assert_eq!(
        space.asks(AT + 2 * PAGE_SIZE, Access::Read),
        Some((AT + 2 * PAGE_SIZE, 4)),
        "not mapped around the hole"
    );
    assert_eq!(space.asks(AT, Access::Write), Some((AT, 5)));
    assert_eq!(space.resume(AT), 4096);
    assert_eq!(space.load(AT), 1);
    assert_eq!(space.resume(AT), -17);
    assert_eq!(space.resume(AT + 4 * PAGE_SIZE), -14);
    assert_eq!(space.resume(view), -2);
    // In swap is there, too.
    space
        .memory
        .do_madvise(space.mm, view + PAGE_SIZE, PAGE_SIZE, 21)
        .unwrap();
    assert_eq!(space.memory.shmem_pages(object).1, 1);
    assert_eq!(space.asks(AT + PAGE_SIZE, Access::Read), Some((AT + PAGE_SIZE, 4)));
    assert_eq!(space.resume(AT + PAGE_SIZE), 4096);
    assert_eq!(space.load(AT + PAGE_SIZE), 2);
    space.end(&[object]);
}

/// H3: the kernel's own accesses fail by it, and can be made again.
#[test]
fn accesses_of_the_kernel() {
    let space = Space::new();
    space.map(AT, 1, map_flag::PRIVATE, None);
    space.register(AT, 1, register_mode::MISSING).unwrap();
    assert_eq!(
        space.memory.get_user_page(space.mm, VirtAddr(AT), true),
        Err(Error::Efault)
    );
    let fault = space.memory.take_userfault().unwrap();
    assert!(space.memory.take_userfault().is_none());
    assert_eq!(space.memory.wait_userfault(fault, TID, true), Waiting::In(space.ctx));
    assert_eq!(space.copy(AT, 1).0, [TID]);
    assert!(space.memory.get_user_page(space.mm, VirtAddr(AT), true).is_ok());
    space.end(&[]);
}

/// H6, and what a context may say of who is asked.
#[test]
fn waiting_and_being_refused() {
    let space = Space::new();
    space.map(AT, 4, map_flag::PRIVATE, None);
    space.register(AT, 4, register_mode::MISSING).unwrap();
    let mut faults = vec![];
    for page in 0..3 {
        _ = space.memory.touch(space.mm, AT + page * PAGE_SIZE, Access::Read);
        let fault = space.memory.take_userfault().unwrap();
        space.memory.wait_userfault(fault, 10 + page as u32, false);
        faults.push(fault);
    }
    let mut woken = vec![];
    space
        .memory
        .userfaultfd_wake(space.ctx, AT + PAGE_SIZE, PAGE_SIZE, |tid| woken.push(tid))
        .unwrap();
    assert_eq!(woken, [11]);
    space.memory.cancel_userfault(12);
    assert_eq!(space.memory.userfaultfd_read(space.ctx).unwrap().address, AT);
    assert!(
        !space.memory.userfaultfd_has_message(space.ctx),
        "who was woken or cancelled is forgotten"
    );
    woken.clear();
    space
        .memory
        .userfaultfd_unregister(space.ctx, AT, 4 * PAGE_SIZE, |tid| woken.push(tid))
        .unwrap();
    assert_eq!(woken, [10]);
    assert_eq!(space.memory.wait_userfault(faults[0], 10, false), Waiting::Over);
    assert_eq!(space.load(AT), 0);
    space.end(&[]);

    let space = Space::with_features(feature::SIGBUS);
    space.map(AT, 1, map_flag::PRIVATE, None);
    space.register(AT, 1, register_mode::MISSING).unwrap();
    _ = space.memory.touch(space.mm, AT, Access::Read);
    let fault = space.memory.take_userfault().unwrap();
    assert_eq!(space.memory.wait_userfault(fault, TID, false), Waiting::Refused);
    space.end(&[]);

    let space = Space::with_features(feature::EXACT_ADDRESS | feature::THREAD_ID);
    let ring3 = space.memory.userfaultfd(space.mm, true).unwrap();
    space.memory.userfaultfd_api(ring3, API, 0).unwrap();
    space.map(AT, 2, map_flag::PRIVATE, None);
    space
        .memory
        .userfaultfd_register(ring3, AT, PAGE_SIZE, register_mode::MISSING)
        .unwrap();
    _ = space.memory.touch(space.mm, AT, Access::Read);
    let fault = space.memory.take_userfault().unwrap();
    assert_eq!(space.memory.wait_userfault(fault, TID, true), Waiting::Refused);
    assert_eq!(space.memory.wait_userfault(fault, TID, false), Waiting::In(ring3));
    space.register(AT + PAGE_SIZE, 1, register_mode::MISSING).unwrap();
    _ = space.memory.touch(space.mm, AT + PAGE_SIZE + 24, Access::Write);
    let fault = space.memory.take_userfault().unwrap();
    space.memory.wait_userfault(fault, TID, false);
    let message = space.memory.userfaultfd_read(space.ctx).unwrap();
    assert_eq!(
        (message.address, message.flags, message.tid),
        (AT + PAGE_SIZE + 24, 1, TID)
    );
    let bytes = message.encode();
    assert_eq!((bytes[0], bytes[16], bytes[24]), (0x12, 24, TID as u8));
    space.memory.userfaultfd_release(ring3, |_| {});
    space.end(&[]);
}

/// A copy of a registered mapping, in a child or elsewhere, is not registered; a part of it is. Releasing leaves nothing registered, and
/// a context whose address space is gone can do nothing.
#[test]
fn mappings_that_are_copied() {
    let space = Space::new();
    let memory = &space.memory;
    space.map(AT, 8, map_flag::PRIVATE, None);
    space.register(AT, 8, register_mode::MISSING).unwrap();
    space.copy(AT, 1);
    let child = memory.dup_mmap(space.mm, 2).unwrap();
    assert_eq!(memory.load(child, AT), Ok(7));
    assert_eq!(memory.load(child, AT + PAGE_SIZE), Ok(0));
    let own = memory.userfaultfd(child, false).unwrap();
    memory.userfaultfd_api(own, API, 0).unwrap();
    memory.mmput(child, 2);
    assert_eq!(
        memory.userfaultfd_register(own, AT, PAGE_SIZE, register_mode::MISSING),
        Err(Error::Enomem)
    );
    let zeroed = memory.userfaultfd_zeropage(own, AT, PAGE_SIZE, 0, |_| {});
    assert_eq!(zeroed, Err(Error::Esrch));
    memory.userfaultfd_release(own, |_| {});
    memory.do_munmap(space.mm, AT + 4 * PAGE_SIZE, PAGE_SIZE).unwrap();
    assert_eq!(space.vmas(), [(AT, 4, true), (AT + 5 * PAGE_SIZE, 3, true)]);
    let to = AT + 0x10_0000;
    let how = remap_flag::MAYMOVE | remap_flag::FIXED;
    memory
        .do_mremap(space.mm, AT, 2 * PAGE_SIZE, 2 * PAGE_SIZE, how, to)
        .unwrap();
    assert_eq!((space.load(to), space.load(to + PAGE_SIZE)), (7, 0));
    assert_eq!(
        space.vmas(),
        [
            (AT + 2 * PAGE_SIZE, 2, true),
            (AT + 5 * PAGE_SIZE, 3, true),
            (to, 2, false)
        ]
    );
    space.end(&[]);
}

/// Each allocation of an answer fails in turn: an error, nothing half done, and the same answer succeeds afterwards.
#[test]
fn answers_with_failing_allocations() {
    for kind in [map_flag::SHARED, map_flag::PRIVATE] {
        for step in 0.. {
            let space = Space::new();
            let object = space.object(4);
            space.map(AT, 4, kind, Some(object));
            space.register(AT, 4, register_mode::MISSING).unwrap();
            let failing = &space.memory.platform.failing;
            let from = failing.attempts();
            failing.set(from + step..u64::MAX);
            let first = space.copy(AT, 2).1;
            let second = space.zeropage(AT + 2 * PAGE_SIZE, 1);
            let reached = failing.attempts() > from + step;
            failing.set(0..0);
            if first != 8192 {
                assert!([-12, 4096].contains(&first), "{first}");
                let done = first.max(0).cast_unsigned();
                assert_eq!(space.copy(AT + done, 2 - done / PAGE_SIZE).1, 8192 - done.cast_signed());
            }
            if second.is_err() {
                assert_eq!(
                    (second, space.zeropage(AT + 2 * PAGE_SIZE, 1)),
                    (Err(Error::Enomem), Ok(()))
                );
            }
            assert_eq!([0, 1, 2].map(|page| space.load(AT + page * PAGE_SIZE)), [7, 7, 0]);
            space.end(&[object]);
            if !reached {
                assert!(step > 2, "an answer allocates");
                break;
            }
        }
    }
}

/// H4, H5, B26: what is answered to a mapping without rights can be read when it gets them; an object does not grow by answers.
#[test]
fn answers_to_what_nobody_may_access() {
    let space = Space::new();
    let (memory, mm) = (&space.memory, space.mm);
    let object = memory.shmem_file_setup(PAGE_SIZE + 100, false).unwrap();
    let view = AT + 0x10_0000;
    space.map(AT, 2, map_flag::PRIVATE, None);
    space.map(view, 2, map_flag::SHARED, Some(object));
    for at in [AT, view] {
        space.register(at, 2, register_mode::MISSING).unwrap();
        memory.do_mprotect(mm, at, 2 * PAGE_SIZE, 0).unwrap();
        assert_eq!(space.copy(at, 1).1, PAGE_SIZE.cast_signed());
        assert_eq!(space.zeropage(at + PAGE_SIZE, 1), Ok(()));
        for page in 0..2 {
            let loaded = memory.load(mm, at + page * PAGE_SIZE);
            assert_eq!(loaded, Err(Fault::SegvAccerr), "{at:#x} {page}");
        }
        memory.do_mprotect(mm, at, 2 * PAGE_SIZE, prot::READ).unwrap();
        assert_eq!((space.load(at), space.load(at + PAGE_SIZE)), (7, 0));
    }
    assert_eq!(memory.i_size(object), PAGE_SIZE + 100);
    space.end(&[object]);
}
