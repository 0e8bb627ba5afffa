//! Rule D16: marks.

use super::*;

#[test]
fn d16_a_mark_without_an_entry_has_no_effect() {
    let owned = Owned::new();
    owned.mark(0, Mark::Dirty);
    owned.store(70, page(1));
    for index in [0, 1, 71, 1 << 20] {
        owned.mark(index, Mark::Dirty);
        assert!(!owned.is_marked(index, Mark::Dirty));
    }
    assert!(!owned.array().marked(Mark::Dirty));
}

#[test]
fn d16_the_head_has_its_marks_in_the_flags() {
    let owned = Owned::new();
    owned.store(0, page(1));
    owned.mark(0, Mark::Writeback);
    assert_eq!(Mark::ALL.map(|mark| owned.is_marked(0, mark)), [false, true, false]);
    owned.store(0, page(2));
    assert!(owned.is_marked(0, Mark::Writeback), "a replacement keeps the marks");
    owned.erase(0);
    owned.store(0, page(3));
    assert!(!owned.is_marked(0, Mark::Writeback), "erasing clears them");
}

#[test]
fn d16_marks_are_summed_up_to_the_root_and_no_further_than_needed() {
    let owned = Owned::new();
    for index in [4096, 4097, 4096 + 64, 3 * 4096] {
        owned.store(index, page(1));
    }
    let bits = |path: &[usize]| owned.node_at(path).marks(Mark::Dirty);
    owned.mark(4096, Mark::Dirty);
    owned.mark(4097, Mark::Dirty);
    assert_eq!((bits(&[]), bits(&[1]), bits(&[1, 0])), (0b10, 0b1, 0b11));
    owned.mark(4096 + 64, Mark::Dirty);
    owned.mark(3 * 4096, Mark::Dirty);
    assert_eq!((bits(&[]), bits(&[1]), bits(&[1, 1])), (0b1010, 0b11, 0b1));

    owned.array().clear_mark(&owned.nodes, 4096, Mark::Dirty);
    assert_eq!((bits(&[]), bits(&[1]), bits(&[1, 0])), (0b1010, 0b11, 0b10));
    owned.array().clear_mark(&owned.nodes, 4097, Mark::Dirty);
    assert_eq!((bits(&[]), bits(&[1]), bits(&[1, 0])), (0b1010, 0b10, 0));
    owned.erase(4096 + 64);
    assert_eq!((bits(&[]), bits(&[1])), (0b1000, 0));
    owned.array().clear_mark(&owned.nodes, 3 * 4096, Mark::Dirty);
    assert!(!owned.array().marked(Mark::Dirty));
    owned.check();
}

#[test]
fn d16_a_multi_index_entry_is_marked_through_any_of_its_indices() {
    let owned = Owned::new();
    owned.store_order(512, 9, page(1));
    owned.mark(1000, Mark::Dirty);
    assert!((512..1024).all(|index| owned.is_marked(index, Mark::Dirty)));
    assert_eq!(owned.entries(Filter::Marked(Mark::Dirty)), [(512, page(1))]);
    owned.array().clear_mark(&owned.nodes, 600, Mark::Dirty);
    owned.check();
    assert!(!owned.is_marked(512, Mark::Dirty));
}
