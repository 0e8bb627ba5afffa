//! Cpusets: which nodes a task's memory may come from, and spreading it over them.
//!
//! Source: Linux, kernel/cgroup/cpuset.c (`__cpuset_node_allowed`, `cpuset_spread_node`), mm/filemap.c (`__page_cache_alloc`). Rules E11, E12.

use super::Nodes;
use crate::addr::Pfn;
use crate::gfp::Gfp;

/// Who allocates. Sets of nodes are bitmaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// An interrupt handler works for nobody.
    pub in_interrupt: bool,
    /// The out-of-memory killer chose it: it needs memory to end.
    pub oom_victim: bool,
    /// It ends by itself.
    pub exiting: bool,
    /// Nodes of its cpuset.
    pub mems_allowed: u64,
    /// Nodes of the nearest cpuset above that is exclusive or a hard wall.
    pub hardwall_mems_allowed: u64,
}

/// Whether a task may have memory of a node. Rule E11.
#[must_use]
pub const fn cpuset_node_allowed(task: &Allocator, node: usize, gfp: Gfp) -> bool {
    let bit = 1 << node;
    if task.in_interrupt || task.mems_allowed & bit != 0 || task.oom_victim {
        return true;
    }
    // Programs' pages keep to the cpuset; what the kernel needs for itself only to the wall around it.
    !gfp.has(Gfp::HARDWALL) && (task.exiting || task.hardwall_mems_allowed & bit != 0)
}

/// The node after `last` in a set, going round; `None` for an empty one. Source: Linux `next_node_in`.
#[must_use]
pub fn next_spread_node(last: usize, mems_allowed: u64) -> Option<usize> {
    if mems_allowed == 0 {
        return None;
    }
    let above = mems_allowed & u64::MAX.checked_shl(last as u32 + 1).unwrap_or(0);
    Some(if above == 0 { mems_allowed } else { above }.trailing_zeros() as usize)
}

/// A page for a page cache: from the node whose turn it is, if the task spreads its caches, tried again when its cpuset changed
/// meanwhile; else from the local node. `alloc` tries a node. Rule E12.
pub fn page_cache_alloc<N: Nodes>(nodes: &N, mut alloc: impl FnMut(usize) -> Option<Pfn>) -> Option<Pfn> {
    loop {
        let changes = nodes.mems_allowed_changes();
        let node = nodes.spread_node();
        let page = alloc(node.unwrap_or_else(|| nodes.local_node()));
        if page.is_some() || node.is_none() || changes == nodes.mems_allowed_changes() {
            return page;
        }
    }
}
