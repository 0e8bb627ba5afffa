//! Rule D20: each violation, planted by hand, is noticed.

use super::super::Violation;
use super::*;

/// A tree with marks, a value, a multi-index entry, and two levels.
fn planted(plant: impl FnOnce(&Owned)) -> Violation {
    let owned = Owned::new();
    owned.store(1, Entry::value(1));
    owned.store_order(8, 3, page(1));
    owned.store(64, page(2));
    owned.mark(64, Mark::Dirty);
    plant(&owned);
    let violation = owned.array().check(&owned.nodes).expect_err("not noticed");
    core::mem::forget(owned);
    violation
}

#[test]
fn d20_wrong_counts_and_links() {
    let rule = |plant: fn(&Owned)| planted(plant).rule;
    assert_eq!(
        rule(|owned| owned.node_at(&[0]).add_counts(1, 0)),
        "slots in use are counted, siblings included"
    );
    assert_eq!(
        rule(|owned| owned.node_at(&[0]).sub_counts(0, 1)),
        "values are counted, siblings included"
    );
    assert_eq!(
        rule(|owned| owned.node_at(&[1]).set_parent(None)),
        "a node links to the node that links to it"
    );
    assert_eq!(
        rule(|owned| owned.node_at(&[1]).0[0].add(1 << 8)),
        "a node knows its slot in its parent"
    );
    assert_eq!(rule(|owned| owned.node_at(&[1]).0[0].add(6)), "a level is six bits");
    assert_eq!(rule(|owned| owned.node_at(&[1]).0[0].add(1)), "a level is six bits");
    assert_eq!(rule(|owned| owned.node_at(&[]).0[0].add(1)), "shifts are 0, 6, .. 60");
}

#[test]
fn d20_wrong_siblings() {
    let violation = planted(|owned| owned.node_at(&[0]).set_slot(15, Entry::sibling(9)));
    assert_eq!(
        (violation.offset, violation.rule),
        (Some(8), "entries are aligned powers of two (D12)")
    );
    let violation = planted(|owned| owned.node_at(&[0]).set_slot(12, page(7)));
    assert_eq!(violation.rule, "siblings follow the entry they point to (D12)");
    let violation = planted(|owned| owned.node_at(&[0]).set_slot(1, Entry::RETRY));
    assert_eq!(violation.rule, "values are counted, siblings included");
}

#[test]
fn d20_wrong_marks() {
    let rule = |plant: fn(&Owned)| planted(plant).rule;
    let summed = "a slot's marks sum up the node below (D16)";
    assert_eq!(rule(|owned| owned.node_at(&[1]).set_marks(Mark::Dirty, 0)), summed);
    assert_eq!(rule(|owned| owned.node_at(&[0]).set_marks(Mark::Towrite, 2)), summed);
    let flags = "the flags sum up the root's marks (D16)";
    assert_eq!(rule(|owned| owned.node_at(&[]).set_marks(Mark::Dirty, 0)), flags);
    assert_eq!(rule(|owned| owned.flags.add(Mark::Writeback.flag())), flags);
    let first = "marks are at the first slot of an entry (D16)";
    assert_eq!(rule(|owned| owned.node_at(&[1]).set_marks(Mark::Dirty, 3)), first);
}

#[test]
fn d20_a_root_that_should_have_gone() {
    let owned = Owned::new();
    owned.store(1, page(1));
    let leaf = owned.node_at(&[]);
    leaf.set_slot(0, page(1));
    leaf.set_slot(1, Entry::NULL);
    let rule = "a root with only slot 0 in use gives way to what is there (D11)";
    assert_eq!(
        owned.array().check(&owned.nodes).map_err(|violation| violation.rule),
        Err(rule)
    );
}
