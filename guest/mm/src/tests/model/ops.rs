//! What can happen, and how often it is drawn.

use proptest::prelude::*;

use crate::mmap::prot;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Mmap {
        who: usize,
        pages: u64,
        shared: bool,
        prot: u64,
    },
    Munmap {
        who: usize,
        at: usize,
        pages: u64,
    },
    Mprotect {
        who: usize,
        at: usize,
        pages: u64,
        prot: u64,
    },
    Store {
        who: usize,
        at: usize,
        value: u64,
    },
    StoreAll {
        who: usize,
        value: u64,
    },
    Load {
        who: usize,
        at: usize,
    },
    Pageout {
        who: usize,
        at: usize,
        pages: u64,
    },
    Dontneed {
        who: usize,
        at: usize,
        pages: u64,
    },
    Mremap {
        who: usize,
        at: usize,
        pages: u64,
        new_pages: u64,
        how: How,
    },
    Mlock {
        who: usize,
        at: usize,
        pages: u64,
        lock: bool,
    },
    Fork {
        who: usize,
    },
    Exit {
        who: usize,
    },
    Shmget {
        pages: u64,
    },
    Shmat {
        who: usize,
        segment: usize,
    },
    Shmdt {
        who: usize,
        at: usize,
    },
    Rmid {
        segment: usize,
    },
    File {
        file: usize,
        op: FileOp,
    },
    Kswapd,
    /// And on again.
    Swapoff {
        area: usize,
    },
    Grow {
        who: usize,
        pages: u64,
    },
}

/// What happens to memory files. Numbers are of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileOp {
    Create,
    Map {
        who: usize,
        first: u64,
        pages: u64,
        shared: bool,
    },
    Write {
        page: u64,
        value: u64,
    },
    Read {
        page: u64,
    },
    Truncate {
        pages: u64,
    },
    Punch {
        first: u64,
        pages: u64,
    },
    Allocate {
        first: u64,
        pages: u64,
        keep: bool,
    },
}

/// Ways to call `mremap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    InPlace,
    MayMove,
    /// To a page of a small range, where earlier ones may be.
    Fixed(u64),
    /// Old size 0.
    Duplicate,
    DontUnmap,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let who = 0..4usize;
    let at = 0..1000usize;
    let prot = prop_oneof![4 => Just(prot::READ | prot::WRITE), 1 => Just(prot::READ), 1 => Just(0)];
    prop_oneof![
        3 => (who.clone(), 1..48u64, any::<bool>(), prot.clone())
            .prop_map(|(who, pages, shared, prot)| Op::Mmap { who, pages, shared, prot }),
        2 => (who.clone(), at.clone(), 1..16u64).prop_map(|(who, at, pages)| Op::Munmap { who, at, pages }),
        2 => (who.clone(), at.clone(), 1..16u64, prot)
            .prop_map(|(who, at, pages, prot)| Op::Mprotect { who, at, pages, prot }),
        8 => (who.clone(), at.clone(), 1..u64::MAX).prop_map(|(who, at, value)| Op::Store { who, at, value }),
        4 => (who.clone(), 1..u64::MAX).prop_map(|(who, value)| Op::StoreAll { who, value }),
        8 => (who.clone(), at.clone()).prop_map(|(who, at)| Op::Load { who, at }),
        3 => (who.clone(), at.clone(), 1..16u64).prop_map(|(who, at, pages)| Op::Pageout { who, at, pages }),
        1 => (who.clone(), at.clone(), 1..16u64).prop_map(|(who, at, pages)| Op::Dontneed { who, at, pages }),
        4 => (who.clone(), at.clone(), 1..12u64, 1..24u64, how())
            .prop_map(|(who, at, pages, new_pages, how)| Op::Mremap { who, at, pages, new_pages, how }),
        2 => (who.clone(), at.clone(), 1..8u64, any::<bool>())
            .prop_map(|(who, at, pages, lock)| Op::Mlock { who, at, pages, lock }),
        1 => who.clone().prop_map(|who| Op::Fork { who }),
        1 => who.clone().prop_map(|who| Op::Exit { who }),
        1 => (1..48u64).prop_map(|pages| Op::Shmget { pages }),
        2 => (who.clone(), 0..4usize).prop_map(|(who, segment)| Op::Shmat { who, segment }),
        1 => (who.clone(), at).prop_map(|(who, at)| Op::Shmdt { who, at }),
        1 => (0..4usize).prop_map(|segment| Op::Rmid { segment }),
        10 => (0..4usize, file_op()).prop_map(|(file, op)| Op::File { file, op }),
        1 => Just(Op::Kswapd),
        1 => (0..4usize).prop_map(|area| Op::Swapoff { area }),
        1 => (who, 0..32u64).prop_map(|(who, pages)| Op::Grow { who, pages }),
    ]
}

fn file_op() -> impl Strategy<Value = FileOp> {
    let page = 0..32u64;
    prop_oneof![
        2 => Just(FileOp::Create),
        4 => (0..4usize, page.clone(), 1..24u64, any::<bool>())
            .prop_map(|(who, first, pages, shared)| FileOp::Map { who, first, pages, shared }),
        6 => (page.clone(), 1..u64::MAX).prop_map(|(page, value)| FileOp::Write { page, value }),
        6 => page.clone().prop_map(|page| FileOp::Read { page }),
        3 => page.clone().prop_map(|pages| FileOp::Truncate { pages }),
        2 => (page.clone(), 1..16u64).prop_map(|(first, pages)| FileOp::Punch { first, pages }),
        2 => (page, 1..16u64, any::<bool>()).prop_map(|(first, pages, keep)| FileOp::Allocate { first, pages, keep }),
    ]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => Just(How::InPlace),
        2 => Just(How::MayMove),
        2 => (0..48u64).prop_map(How::Fixed),
        1 => Just(How::Duplicate),
        1 => Just(How::DontUnmap),
    ]
}
