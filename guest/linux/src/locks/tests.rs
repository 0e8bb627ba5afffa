//! Drawn locks of several owners against a map of bytes.

use faultlab_mm::Memory;
use faultlab_mm::testing::{FakeMachine, machine};

use super::{Class, FLOCK_BYTES, Flock, Locker, lock_type};
use crate::fdtable::TableId;
use crate::wait::{Call, Waiter};
use crate::{Errno, Linux};

/// Bytes that locks are drawn on.
const BYTES: usize = 48;

/// What a byte is locked as: by each owner, none, shared or exclusive.
type Model = Vec<[u16; BYTES]>;

fn flock(kind: u16, start: usize, len: usize) -> Flock {
    let mut bytes = [0; FLOCK_BYTES];
    bytes[..2].copy_from_slice(&kind.to_le_bytes());
    bytes[8..16].copy_from_slice(&(start as i64).to_le_bytes());
    bytes[16..24].copy_from_slice(&(len as i64).to_le_bytes());
    Flock::decode(&bytes)
}

/// Whether an owner can have such a lock.
fn free(model: &Model, owner: usize, kind: u16, range: std::ops::Range<usize>) -> bool {
    model
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != owner)
        .all(|(_, bytes)| {
            bytes[range.clone()]
                .iter()
                .all(|&held| held == lock_type::UNLOCK || (held == lock_type::READ && kind == lock_type::READ))
        })
}

fn check(linux: &Linux<'_, FakeMachine>, model: &Model, tables: &[TableId]) {
    for (owner, bytes) in model.iter().enumerate() {
        let number = super::owner_of(tables[owner]);
        let mut seen = [lock_type::UNLOCK; BYTES];
        let own: Vec<_> = linux
            .locks()
            .map(|(_, lock)| lock)
            .filter(|lock| lock.owner() == number)
            .collect();
        for lock in &own {
            assert!(lock.start() <= lock.end() && lock.class() == Class::Posix as u64);
            for byte in &mut seen[lock.start() as usize..=lock.end() as usize] {
                assert_eq!(*byte, lock_type::UNLOCK, "two locks on a byte");
                *byte = if lock.exclusive() {
                    lock_type::WRITE
                } else {
                    lock_type::READ
                };
            }
        }
        assert_eq!(&seen, bytes, "owner {owner}");
        assert!(own.is_sorted_by_key(|lock| lock.start()), "not in order");
        let runs = linux
            .locks()
            .map(|(_, lock)| lock.owner())
            .collect::<Vec<_>>()
            .chunk_by(|a, b| a == b)
            .filter(|run| run[0] == number)
            .count();
        assert!(runs <= 1, "an owner's locks are not together");
        let touching = |a: &super::FileLock<'_>, b: &super::FileLock<'_>| {
            a.end() + 1 == b.start() && a.exclusive() == b.exclusive()
        };
        assert!(
            own.iter().all(|a| !own.iter().any(|b| touching(a, b))),
            "two that are one"
        );
    }
}

#[test]
fn locks_are_a_map_of_bytes() {
    for seed in 1..40u64 {
        let memory: Memory<FakeMachine> = machine(512, 0);
        let linux = Linux::new(&memory);
        let first = linux.standard_table().expect("a table");
        let number = linux.memfd_create(first, 0, (0, 0)).expect("a file");
        let mut tables = vec![first];
        tables.extend((0..2).map(|_| linux.dup_table(first).expect("a table")));
        let mut model: Model = vec![[lock_type::UNLOCK; BYTES]; tables.len()];
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |most: usize| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % most
        };
        let waiter = Waiter::new();
        for _ in 0..150 {
            let owner = below(tables.len());
            let locker = Locker {
                table: tables[owner],
                pid: owner as u32,
            };
            let file = linux.get(locker.table, number).expect("open");
            if below(40) == 0 {
                // Any descriptor of the object that closes takes all locks of its process.
                let copy = linux.dup(locker.table, number, 0, false).expect("a copy");
                linux.close(locker.table, copy).expect("open");
                model[owner] = [lock_type::UNLOCK; BYTES];
            } else {
                let (kind, start) = (below(3) as u16, below(BYTES));
                let len = 1 + below(BYTES - start);
                let asked = flock(kind, start, len);
                let result = linux.set_lock(&waiter, locker, file, (false, false), &asked);
                if kind == lock_type::UNLOCK || free(&model, owner, kind, start..start + len) {
                    assert_eq!(result, Ok(Call::Done(0)));
                    model[owner][start..start + len].fill(kind);
                } else {
                    assert_eq!(result, Err(Errno::EAGAIN));
                    let found = linux.get_lock(locker, file, false, asked).expect("a lock");
                    assert_ne!(found.kind, lock_type::UNLOCK);
                }
            }
            check(&linux, &model, &tables);
        }
        tables.into_iter().for_each(|table| linux.close_table(table));
        for (name, objects) in linux.live_records().into_iter().chain(memory.live_records()) {
            assert_eq!(objects, 0, "{name} left");
        }
    }
}

/// fcntl(2): `EDEADLK`; and who waits leaves nothing behind.
#[test]
fn who_waits_for_each_other_is_told() {
    let memory = machine(256, 0);
    let linux = Linux::new(&memory);
    let first = linux.standard_table().expect("a table");
    let number = linux.memfd_create(first, 0, (0, 0)).expect("a file");
    let second = linux.dup_table(first).expect("a table");
    let (one, two) = (Waiter::new(), Waiter::new());
    let take = |waiter: &Waiter, table, start| {
        let file = linux.get(table, number).expect("open");
        let locker = Locker { table, pid: 1 };
        linux.set_lock(waiter, locker, file, (false, true), &flock(lock_type::WRITE, start, 1))
    };
    assert_eq!(take(&one, first, 1), Ok(Call::Done(0)));
    assert_eq!(take(&two, second, 2), Ok(Call::Done(0)));
    assert_eq!(take(&one, first, 2), Ok(Call::Wait));
    assert_eq!(take(&two, second, 1), Err(Errno::EDEADLK));
    linux.take_woken();
    linux.close_table(second);
    assert!(linux.take_woken().meets(one.keys()), "the end of a process wakes");
    assert_eq!(take(&one, first, 2), Ok(Call::Done(0)));
    // Two that touch are one.
    assert_eq!(
        linux.live_records().iter().find(|(name, _)| *name == "file_lock"),
        Some(&("file_lock", 1))
    );
    linux.close_table(first);
    assert_eq!(
        linux.live_records().iter().find(|(name, _)| *name == "file_lock"),
        Some(&("file_lock", 0))
    );
}
