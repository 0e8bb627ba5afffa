//! Nodes: which memory is near to whom, and who may have it.
//!
//! A machine's memory is divided into nodes, each with zones of its own ([`ZoneType`]). An allocation has a *zonelist*: the zones of
//! the node it prefers, from the highest that the request allows down, then those of the other nodes, the nearest first. Highest first,
//! because what could lie anywhere should not lie where only few addresses are good enough for some device.
//!
//! [`Nodes`] is all that the allocator knows about it. The guest has one node and one zone with frames: RAM ends below 4 GiB, so all of
//! it is [`ZoneType::Dma32`], and no device of the virtual machine is limited to 16 MiB, so there is no DMA zone. [`OneNode`] says so in
//! constants, and what [`crate::page_alloc`] asks of it compiles to nothing.
//!
//! Source: Linux, mm/page_alloc.c (`build_zonelists`, `find_next_best_node`), mm/mempolicy.c, kernel/cgroup/cpuset.c. Rules E1, E10, E11, E12.

mod cpuset;
#[cfg(test)]
pub(crate) mod tests;

pub use cpuset::{Allocator, cpuset_node_allowed, next_spread_node, page_cache_alloc};

use crate::gfp::Gfp;
use crate::zone::{Zone, ZoneType};

/// Nodes that a machine can have.
pub const NODES_MAX: usize = 64;

/// A zone of a zonelist.
#[derive(Clone, Copy, Debug)]
pub struct ZoneRef<'a> {
    /// The zone.
    pub zone: &'a Zone,
    /// What kind it is.
    pub kind: ZoneType,
    /// Number of its node.
    pub node: usize,
}

/// What became of reclaim in one node. Source: Linux `node_reclaim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeReclaim {
    /// Nothing was looked at.
    NotScanned,
    /// There is nothing to be had.
    Full,
    /// Something was freed.
    Progress,
}

/// The memory of a machine, and the rules of who may use which part. What is constant for a machine costs nothing there.
pub trait Nodes {
    /// The zones for a request that prefers a node, in the order in which they are to be tried. Rule E1.
    fn zonelist(&self, preferred: usize, gfp: Gfp) -> impl Iterator<Item = ZoneRef<'_>>;

    /// The node of the CPU that allocates.
    #[inline(always)]
    fn local_node(&self) -> usize {
        0
    }

    /// Whether the cpuset of the task that allocates has a node. Rules E10 (1), E11.
    #[inline(always)]
    fn cpuset_node_allowed(&self, _node: usize, _gfp: Gfp) -> bool {
        true
    }

    /// Counts changes of the task's cpuset: an allocation that failed while it changed is tried again. Rules E12, E13.
    #[inline(always)]
    fn mems_allowed_changes(&self) -> u32 {
        0
    }

    /// The node whose turn it is to hold the next page of a page cache, when the task spreads them. Rule E12.
    #[inline(always)]
    fn spread_node(&self) -> Option<usize> {
        None
    }

    /// Whether a node may hold more dirty pages. Rule E10 (2).
    #[inline(always)]
    fn node_dirty_ok(&self, _node: usize) -> bool {
        true
    }

    /// Whether a node is to be reclaimed before the next one is used: `vm.zone_reclaim_mode` is set, and it is near enough.
    #[inline(always)]
    fn allows_node_reclaim(&self, _local: usize, _node: usize) -> bool {
        false
    }

    /// Reclaims in one node.
    #[inline(always)]
    fn node_reclaim(&self, _node: usize, _gfp: Gfp, _order: u32) -> NodeReclaim {
        NodeReclaim::NotScanned
    }
}

/// A machine with one node, whose frames are all in one zone.
#[derive(Clone, Copy, Debug)]
pub struct OneNode<'a>(pub &'a Zone);

impl Nodes for OneNode<'_> {
    #[inline(always)]
    fn zonelist(&self, _preferred: usize, _gfp: Gfp) -> impl Iterator<Item = ZoneRef<'_>> {
        core::iter::once(ZoneRef {
            zone: self.0,
            kind: ZoneType::Dma32,
            node: 0,
        })
    }
}

/// The order in which a node's allocations try nodes: itself, then the nearest, of equally near ones the one with the higher number first
/// after it, going round, so that not everybody falls back to node 0. Writes it to `order`, and returns how many there are. `distance(to)`
/// is that from `node`.
pub fn node_order(node: usize, nodes: usize, distance: impl Fn(usize) -> u32, order: &mut [usize; NODES_MAX]) -> usize {
    let nodes = nodes.min(NODES_MAX);
    // Going round from the node itself, so that a stable choice of the nearest prefers those behind it.
    let mut left = [false; NODES_MAX];
    left[..nodes].fill(true);
    for place in order.iter_mut().take(nodes) {
        let candidates = (0..nodes).map(|step| (node + step) % nodes).filter(|&at| left[at]);
        let Some(best) = candidates.min_by_key(|&at| if at == node { 0 } else { distance(at) }) else {
            break;
        };
        left[best] = false;
        *place = best;
    }
    nodes
}
