//! How often each operation is drawn.

use proptest::prelude::*;

use crate::mmap::prot;
use crate::testing::model::{FileOp, How, Mix, Op};

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
        3 => (1..7u32, any::<bool>()).prop_map(|(order, movable)| Op::Block { order, movable }),
        1 => (0..4usize).prop_map(|area| Op::Swapoff { area }),
        1 => (who, 0..32u64).prop_map(|(who, pages)| Op::Grow { who, pages }),
    ]
}

/// Operations on some thousands of pages, for huge ones.
pub(super) fn huge_op() -> impl Strategy<Value = Op> {
    let who = 0..3usize;
    let at = 0..5000usize;
    let prot = prop_oneof![4 => Just(prot::READ | prot::WRITE), 1 => Just(prot::READ), 1 => Just(0)];
    let many = prop_oneof![Just(512u64), Just(1024u64), 1..1600u64];
    let some = prop_oneof![Just(512u64), 1..700u64];
    prop_oneof![
        4 => (who.clone(), many.clone(), any::<bool>())
            .prop_map(|(who, pages, shared)| Op::Mmap { who, pages, shared, prot: prot::READ | prot::WRITE }),
        2 => (who.clone(), at.clone(), some.clone()).prop_map(|(who, at, pages)| Op::Munmap { who, at, pages }),
        2 => (who.clone(), at.clone(), some.clone(), prot)
            .prop_map(|(who, at, pages, prot)| Op::Mprotect { who, at, pages, prot }),
        12 => (who.clone(), at.clone(), 1..u64::MAX).prop_map(|(who, at, value)| Op::Store { who, at, value }),
        1 => (who.clone(), 1..u64::MAX).prop_map(|(who, value)| Op::StoreAll { who, value }),
        6 => (who.clone(), at.clone()).prop_map(|(who, at)| Op::Load { who, at }),
        2 => (who.clone(), at.clone(), some.clone()).prop_map(|(who, at, pages)| Op::Pageout { who, at, pages }),
        2 => (who.clone(), at.clone(), some.clone()).prop_map(|(who, at, pages)| Op::Dontneed { who, at, pages }),
        3 => (who.clone(), at.clone(), some.clone(), many.clone(), huge_how())
            .prop_map(|(who, at, pages, new_pages, how)| Op::Mremap { who, at, pages, new_pages, how }),
        1 => (who.clone(), at.clone(), 1..40u64, any::<bool>())
            .prop_map(|(who, at, pages, lock)| Op::Mlock { who, at, pages, lock }),
        1 => who.clone().prop_map(|who| Op::Fork { who }),
        1 => who.clone().prop_map(|who| Op::Exit { who }),
        1 => many.clone().prop_map(|pages| Op::Shmget { pages }),
        2 => (who.clone(), 0..4usize).prop_map(|(who, segment)| Op::Shmat { who, segment }),
        1 => (who.clone(), at).prop_map(|(who, at)| Op::Shmdt { who, at }),
        1 => (0..4usize).prop_map(|segment| Op::Rmid { segment }),
        8 => (0..4usize, huge_file_op()).prop_map(|(file, op)| Op::File { file, op }),
        1 => Just(Op::Kswapd),
        1 => (1..10u32, any::<bool>()).prop_map(|(order, movable)| Op::Block { order, movable }),
        1 => Just(Op::Swapoff { area: 0 }),
        4 => mix().prop_map(Op::Mix),
    ]
}

fn mix() -> impl Strategy<Value = Mix> {
    let (who, at) = (0..3usize, 0..5000usize);
    let pages = prop_oneof![Just(512u64), 1..700u64];
    prop_oneof![
        3 => (who.clone(), at.clone(), pages.clone(), any::<bool>())
            .prop_map(|(who, at, pages, huge)| Mix::Advise { who, at, pages, huge }),
        2 => (0..3usize, 0..6usize, 0..4usize).prop_map(|(anon, shmem, mount)| Mix::Policy(anon, shmem, mount)),
        1 => (0..4u64).prop_map(Mix::Pool),
        3 => (who.clone(), at, pages).prop_map(|(who, at, pages)| Mix::Register { who, at, pages }),
        1 => who.prop_map(Mix::Release),
    ]
}

fn huge_file_op() -> impl Strategy<Value = FileOp> {
    let page = prop_oneof![Just(0u64), Just(511u64), Just(512u64), 0..1500u64];
    let pages = prop_oneof![Just(512u64), Just(1024u64), 1..1200u64];
    prop_oneof![
        3 => Just(FileOp::Create),
        4 => (0..3usize, prop_oneof![Just(0u64), Just(512u64), 0..600u64], pages.clone(), any::<bool>())
            .prop_map(|(who, first, pages, shared)| FileOp::Map { who, first, pages, shared }),
        6 => (page.clone(), 1..u64::MAX).prop_map(|(page, value)| FileOp::Write { page, value }),
        6 => page.clone().prop_map(|page| FileOp::Read { page }),
        3 => page.clone().prop_map(|pages| FileOp::Truncate { pages }),
        2 => (page.clone(), 1..600u64).prop_map(|(first, pages)| FileOp::Punch { first, pages }),
        1 => (page, 1..300u64, any::<bool>()).prop_map(|(first, pages, keep)| FileOp::Allocate { first, pages, keep }),
    ]
}

fn huge_how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => Just(How::InPlace),
        2 => Just(How::MayMove),
        2 => prop_oneof![Just(0u64), Just(512u64), 0..1500u64].prop_map(How::Fixed),
        1 => Just(How::Duplicate),
        1 => Just(How::DontUnmap),
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
