//! Verifying the invariants. Rule D20.

use super::node::{Node, SLOTS_SHIFT};
use super::{Mark, NodeId, NodeSource, SLOTS, XArray};

/// An invariant that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The node, or `None` for the head and the flags.
    pub node: Option<NodeId>,
    /// The slot of it, where one slot is to blame.
    pub offset: Option<usize>,
    /// What should be so.
    pub rule: &'static str,
}

/// Where in the tree a node was met.
#[derive(Clone, Copy, Default)]
struct At {
    id: Option<NodeId>,
    parent: Option<NodeId>,
    offset: usize,
}

impl At {
    /// The first of these rules that does not hold, about the whole node or one slot.
    fn ensure(&self, offset: Option<usize>, rules: &[(bool, &'static str)]) -> Result<(), Violation> {
        let node = self.id;
        match rules.iter().find(|(holds, _)| !holds) {
            Some(&(_, rule)) => Err(Violation { node, offset, rule }),
            None => Ok(()),
        }
    }
}

impl XArray<'_> {
    /// Verifies the whole tree, and returns the number of its nodes. For tests and for hunting faults: it visits every
    /// slot, and calls itself for each level.
    ///
    /// # Errors
    /// The first violation met.
    pub fn check<S: NodeSource>(self, source: &S) -> Result<u64, Violation> {
        let mut at = At::default();
        let head = self.head();
        at.id = head.as_node();
        let marked = |mark| self.marked(mark);
        let Some(root) = at.id.map(|id| source.node(id)) else {
            let rules = [
                (!head.is_internal(), "the head is an entry, a node or NULL"),
                (
                    !head.is_null() || !Mark::ALL.into_iter().any(marked),
                    "no marks without entries",
                ),
            ];
            return at.ensure(None, &rules).map(|()| 0);
        };
        let first = root.slot(0);
        let needed = root.count() > 1 || first.is_null() || (root.shift() != 0 && first.as_node().is_none());
        let summed = Mark::ALL
            .into_iter()
            .all(|mark| marked(mark) == (root.marks(mark) != 0));
        let rules = [
            (
                needed,
                "a root with only slot 0 in use gives way to what is there (D11)",
            ),
            (summed, "the flags sum up the root's marks (D16)"),
        ];
        at.ensure(None, &rules)?;
        check_node(source, root, &at)
    }
}

/// A node and all below it; returns their number.
fn check_node<S: NodeSource>(source: &S, node: Node<'_>, at: &At) -> Result<u64, Violation> {
    let shift = node.shift();
    let used = (0..SLOTS).filter(|&slot| !node.slot(slot).is_null()).count();
    let is_value = |&slot: &usize| node.slot(node.canonical(slot)).is_value();
    let rules = [
        (
            shift.is_multiple_of(SLOTS_SHIFT) && shift <= 60,
            "shifts are 0, 6, .. 60",
        ),
        (node.parent() == at.parent, "a node links to the node that links to it"),
        (node.offset() == at.offset, "a node knows its slot in its parent"),
        (node.count() == used, "slots in use are counted, siblings included"),
        (
            node.nr_values() == (0..SLOTS).filter(is_value).count(),
            "values are counted, siblings included",
        ),
        (used != 0, "a node without entries is freed (D10)"),
    ];
    at.ensure(None, &rules)?;

    let mut nodes = 1;
    let mut offset = 0;
    while offset < SLOTS {
        let span = node.span(offset);
        check_entry(node, at, offset, span)?;
        if let Some(id) = node.slot(offset).as_node() {
            let child = source.node(id);
            let summed = |mark| (node.marks(mark) >> offset & 1 != 0) == (child.marks(mark) != 0);
            let rules = [
                (shift == child.shift() + SLOTS_SHIFT, "a level is six bits"),
                (
                    Mark::ALL.into_iter().all(summed),
                    "a slot's marks sum up the node below (D16)",
                ),
            ];
            at.ensure(Some(offset), &rules)?;
            let (id, parent) = (Some(id), at.id);
            nodes += check_node(source, child, &At { id, parent, offset })?;
        }
        offset += span;
    }
    Ok(nodes)
}

/// An entry, or an empty slot, that starts at `offset` and has `span - 1` siblings.
fn check_entry(node: Node<'_>, at: &At, offset: usize, span: usize) -> Result<(), Violation> {
    let entry = node.slot(offset);
    let is_node = entry.as_node().is_some();
    let is_user = !entry.is_null() && !entry.is_internal();
    let slots = (u64::MAX >> (SLOTS - span)) << offset;
    let may_mark = if entry.is_null() { 0 } else { 1 << offset };
    let well_marked = |mark| node.marks(mark) & slots & !may_mark == 0;
    let rules = [
        (
            is_user || is_node || entry.is_null(),
            "siblings follow the entry they point to (D12)",
        ),
        (!is_node || node.shift() != 0, "below a leaf is nothing"),
        (span == 1 || is_user, "siblings belong to a page or a value"),
        (
            span.is_power_of_two() && offset.is_multiple_of(span),
            "entries are aligned powers of two (D12)",
        ),
        (
            node.shift() != 60 || offset < 16 || entry.is_null(),
            "indices have 64 bits",
        ),
        (
            Mark::ALL.into_iter().all(well_marked),
            "marks are at the first slot of an entry (D16)",
        ),
    ];
    at.ensure(Some(offset), &rules)
}
