//! Extended attributes: C38.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use crate::Memory;
use crate::error::Error;
use crate::shmem::{BOGO_INODE_SIZE, FsType, InodeId, Limits, NewXattr, SuperId};
use crate::testing::{FakeMachine, machine};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn set(memory: &Memory<FakeMachine>, id: InodeId, name: &[u8], value: &[u8], flags: [bool; 2]) -> Result<(), Error> {
    let fill = |at: u64, piece: &mut [u8]| {
        piece.copy_from_slice(&value[at as usize..at as usize + piece.len()]);
        Ok(())
    };
    let [create, replace] = flags;
    let new = NewXattr {
        name,
        size: value.len() as u64,
        fill,
        create,
        replace,
    };
    memory.set_xattr(id, new)
}

fn get(memory: &Memory<FakeMachine>, id: InodeId, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(xattr) = memory.find_xattr(id, name)? else {
        return Ok(None);
    };
    let mut value = std::vec![0; xattr.size as usize];
    memory.read_xattr(xattr, 0, &mut value)?;
    Ok(Some(value))
}

fn names(memory: &Memory<FakeMachine>, id: InodeId) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    memory
        .for_each_xattr(id, |name, _| {
            names.push(name.to_vec());
            true
        })
        .unwrap();
    names
}

fn space(model: &Model) -> u64 {
    model
        .iter()
        .map(|(name, value)| 40 + (name.len() + value.len()) as u64)
        .sum()
}

fn file_system(memory: &Memory<FakeMachine>, inodes: u64) -> SuperId {
    let limits = Limits { blocks: 0, inodes };
    memory.new_super(FsType::Tmpfs, 1, limits, 0, (0o777, (0, 0))).unwrap()
}

/// C38: names are listed backwards, values are kept whole, conditions are kept to, and all is gone with the object.
#[test]
fn attributes_come_and_go() {
    let memory = machine(512, 64);
    let records = memory.live_records();
    let id = memory.shmem_file_setup(0, true).unwrap();
    let long = [7; 9000];
    for (name, value) in [
        (b"b".as_slice(), b"1".as_slice()),
        (b"a", b""),
        (b"ba", &long),
        (b"c", b"22"),
    ] {
        set(&memory, id, name, value, [true, false]).unwrap();
        assert_eq!(get(&memory, id, name), Ok(Some(value.to_vec())));
    }
    assert_eq!(names(&memory, id), [b"c".as_slice(), b"ba", b"b", b"a"]);
    assert_eq!(set(&memory, id, b"b", b"x", [true, false]), Err(Error::Eexist));
    assert_eq!(set(&memory, id, b"bb", b"x", [false, true]), Err(Error::Enodata));
    assert_eq!(get(&memory, id, b"ba"), Ok(Some(long.to_vec())));
    memory.remove_xattr(id, b"ba").unwrap();
    assert_eq!(memory.remove_xattr(id, b"ba"), Err(Error::Enodata));
    assert_eq!(names(&memory, id), [b"c".as_slice(), b"b", b"a"]);
    memory.check_invariants();
    memory.iput(id);
    assert_eq!(memory.live_records(), records);
}

/// C38: a value that cannot be read, and memory that runs out at any point, change nothing.
#[test]
fn what_fails_changes_nothing() {
    let memory = machine(256, 64);
    let sb = file_system(&memory, 100);
    let id = memory.new_inode(sb, 0o100_644, (0, 0)).unwrap();
    set(&memory, id, b"kept", b"value", [false; 2]).unwrap();
    let free = memory.free_inodes(sb);
    let unreadable = NewXattr {
        name: b"new",
        size: 3000,
        fill: |at, _: &mut [u8]| if at < 1000 { Ok(()) } else { Err(Error::Efault) },
        create: false,
        replace: false,
    };
    assert_eq!(memory.set_xattr(id, unreadable), Err(Error::Efault));
    for failing in 0..12 {
        let from = memory.platform.failing.attempts() + failing;
        memory.platform.failing.set(from..u64::MAX);
        let result = set(&memory, id, b"new", &[1; 5000], [false; 2]);
        memory.platform.failing.set(0..0);
        assert_eq!(result.is_ok(), get(&memory, id, b"new") == Ok(Some(std::vec![1; 5000])));
        if result.is_ok() {
            memory.remove_xattr(id, b"new").unwrap();
        }
        assert_eq!(names(&memory, id), [b"kept"]);
        assert_eq!(memory.free_inodes(sb), free);
        memory.check_invariants();
    }
}

/// C35, C38: attributes take from the space that limits inodes, and give it back.
#[test]
fn attributes_take_the_space_of_inodes() {
    let memory = machine(256, 64);
    let sb = file_system(&memory, 5);
    let id = memory.new_inode(sb, 0o100_644, (0, 0)).unwrap();
    assert_eq!(memory.free_inodes(sb), 3);
    // What is left of the third is not enough for an inode, nor for the kilobyte that Linux keeps.
    let most = (3 * BOGO_INODE_SIZE - BOGO_INODE_SIZE - 40 - 1) as usize;
    assert_eq!(
        set(&memory, id, b"a", &std::vec![0; most + 1], [false; 2]),
        Err(Error::Enospc)
    );
    set(&memory, id, b"a", &std::vec![0; most], [false; 2]).unwrap();
    assert_eq!(memory.free_inodes(sb), 1);
    assert_eq!(
        set(&memory, id, b"a", b"", [false; 2]),
        Err(Error::Enospc),
        "both for a moment"
    );
    memory.inc_nlink(id);
    memory.clear_nlink(id);
    memory.iput(id);
    assert_eq!(memory.free_inodes(sb), 4);
}

proptest! {
    /// C38: any sequence of changes leaves what a map would hold, listed backwards, and counts its space.
    #[test]
    fn any_sequence_is_a_map(ops in prop::collection::vec((0u8..6, prop::option::of(0usize..700), any::<[bool; 2]>()), 1..40)) {
        let memory = machine(512, 64);
        let records = memory.live_records();
        let sb = file_system(&memory, 1000);
        let id = memory.new_inode(sb, 0o100_644, (0, 0)).unwrap();
        let mut model = Model::new();
        for (step, (name, size, flags)) in ops.into_iter().enumerate() {
            let name = std::vec![b'n'; usize::from(name) + 1];
            match size {
                Some(size) => {
                    let value = std::vec![step as u8; size];
                    let there = model.contains_key(&name);
                    let expected = match flags {
                        [true, _] if there => Err(Error::Eexist),
                        [_, true] if !there => Err(Error::Enodata),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(set(&memory, id, &name, &value, flags), expected);
                    if expected.is_ok() {
                        model.insert(name, value);
                    }
                }
                None => {
                    let expected = model.remove(&name).map(|_| ()).ok_or(Error::Enodata);
                    prop_assert_eq!(memory.remove_xattr(id, &name), expected);
                }
            }
            prop_assert_eq!(names(&memory, id), model.keys().rev().cloned().collect::<Vec<_>>());
            for (name, value) in &model {
                prop_assert_eq!(get(&memory, id, name), Ok(Some(value.clone())));
            }
            prop_assert_eq!(memory.free_inodes(sb), (998 * BOGO_INODE_SIZE - space(&model)) / BOGO_INODE_SIZE);
        }
        memory.check_invariants();
        memory.clear_nlink(id);
        memory.iput(id);
        let root = memory.super_block(sb).s_root().unwrap();
        memory.clear_nlink(root);
        memory.iput(root);
        prop_assert_eq!(memory.live_records(), records);
    }
}
