//! Each kind of damage, which [`check()`] must name.

use super::*;

/// Six VMAs linked in ascending order make this tree (capitals are black):
///
/// ```text
///       B
///     /   \
///    A     d
///         / \
///        C   E
///             \
///              f
/// ```
#[track_caller]
fn assert_noticed(damage: impl FnOnce(&Space, &[VmaId]) -> TreeError) {
    let (space, ids) = Space::with(&[(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)]);
    assert_eq!(space.check(), Ok(()));
    let expected = damage(&space, &ids);
    assert_eq!(space.check(), Err(expected));
}

#[test]
fn overlap_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[2]).set_vm_start(page(3));
        TreeError::Order(ids[2])
    });
}

#[test]
fn an_empty_vma_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[2]).set_vm_end(page(5));
        TreeError::Order(ids[2])
    });
}

#[test]
fn a_wrong_previous_vma_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[2]).set_vm_prev(None);
        TreeError::Prev(ids[2])
    });
}

#[test]
fn a_wrong_count_is_noticed() {
    assert_noticed(|space, _| {
        space.mm().set_map_count(4);
        TreeError::Count { listed: 5 }
    });
    assert_noticed(|space, _| {
        space.mm().set_map_count(7);
        TreeError::Count { listed: 6 }
    });
}

#[test]
fn a_vma_in_the_tree_only_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[4]).set_vm_next(None);
        space.mm().set_map_count(5);
        TreeError::ListIsNotTree(ids[5])
    });
}

#[test]
fn a_vma_on_the_list_only_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[4]).set_rb_right(None);
        TreeError::NotInTree(ids[5])
    });
}

#[test]
fn a_wrong_parent_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[5]).set_rb_parent(Some(ids[0]));
        TreeError::Parent(ids[5])
    });
}

#[test]
fn two_reds_in_a_row_are_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[4]).set_rb_color(1);
        TreeError::Color(ids[4])
    });
}

#[test]
fn a_red_root_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[1]).set_rb_color(1);
        TreeError::Color(ids[1])
    });
}

#[test]
fn unequal_black_heights_are_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[5]).set_rb_color(0);
        TreeError::BlackHeight(ids[4])
    });
}

#[test]
fn a_wrong_gap_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[3]).set_rb_subtree_gap(page(2).0);
        TreeError::Gap(ids[3])
    });
}

#[test]
fn a_stray_cached_vma_is_noticed() {
    assert_noticed(|space, ids| {
        space.unlink(ids[5]);
        space.mm().set_vmacache(Some(ids[5]));
        TreeError::Cache(ids[5])
    });
}

#[test]
fn a_tree_that_became_a_chain_is_noticed_before_the_stack_overflows() {
    let (space, ids) = Space::with(&(0..100).map(|nth| (nth, nth + 1)).collect::<Vec<_>>());
    for (nth, &id) in ids.iter().enumerate() {
        let area = space.vma(id);
        area.set_rb_left(None);
        area.set_rb_right(area.vm_next());
        area.set_rb_parent(area.vm_prev());
        area.set_rb_color(0);
        area.set_rb_subtree_gap(nth as u64);
    }
    space.mm().set_mm_rb(Some(ids[0]));
    assert_eq!(space.check(), Err(TreeError::Depth(ids[64])));
}

#[test]
fn a_list_that_became_a_ring_is_noticed() {
    assert_noticed(|space, ids| {
        space.vma(ids[5]).set_vm_next(Some(ids[0]));
        TreeError::Count { listed: 7 }
    });
}
