//! `get_page_from_freelist`: one look at every zone that a request may use.
//!
//! Source: Linux 5.10, mm/page_alloc.c. Rules E8, E10.

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::node::{NodeReclaim, Nodes, ZoneRef};
use crate::page::Page;
use crate::zone::{MigrateType, Watermark, ZoneType, alloc};

/// What is to be allocated, and how hard to try. Source: Linux `struct alloc_context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocContext {
    /// What the caller said.
    pub gfp: Gfp,
    /// log2 of the frames.
    pub order: u32,
    /// The watermark that must be kept.
    pub mark: Watermark,
    /// [`alloc`] flags.
    pub flags: u32,
    /// Number of the node that is tried first.
    pub preferred: usize,
}

impl AllocContext {
    /// A first try: down to the low watermark, within the cpuset. Source: Linux `prepare_alloc_pages`.
    #[inline(always)]
    pub fn new<N: Nodes>(nodes: &N, gfp: Gfp, order: u32) -> Self {
        let context = Self {
            gfp,
            order,
            mark: Watermark::Low,
            flags: alloc::CPUSET | if gfp.has(Gfp::KSWAPD_RECLAIM) { alloc::KSWAPD } else { 0 },
            preferred: nodes.local_node(),
        };
        Self {
            flags: context.flags | nofragment(nodes, &context),
            ..context
        }
    }

    /// The highest zone that it may use.
    #[inline(always)]
    pub(crate) fn highest(&self) -> ZoneType {
        self.gfp.zone()
    }

    /// Whether a zone's free memory allows it.
    #[inline(always)]
    pub(crate) fn watermark_ok(&self, zone: ZoneRef<'_>, free: u64) -> bool {
        zone.zone
            .watermark_ok_with(free, self.order, self.mark, self.highest(), self.flags)
    }
}

/// Where the normal zone has another below it, the first try breaks up no pageblock of another type: the lower zone comes first. Source:
/// Linux `alloc_flags_nofragment`.
#[inline(always)]
fn nofragment<N: Nodes>(nodes: &N, context: &AllocContext) -> u32 {
    let mut zones = zonelist(nodes, context);
    match zones.next() {
        Some(first) if first.kind == ZoneType::Normal => {
            let below = zones.any(|zone| zone.node == first.node && zone.kind == ZoneType::Dma32);
            if below { alloc::NOFRAGMENT } else { 0 }
        }
        _ => 0,
    }
}

/// The zones of a request that have frames, in order.
#[inline(always)]
pub(crate) fn zonelist<'n, N: Nodes>(nodes: &'n N, context: &AllocContext) -> impl Iterator<Item = ZoneRef<'n>> {
    let highest = context.highest();
    nodes
        .zonelist(context.preferred, context.gfp)
        .filter(move |zone| zone.kind <= highest && zone.zone.managed() != 0)
}

/// A block from the first zone that may give it, and that zone. Rule E10, whose numbers are in the comments.
pub fn get_page_from_freelist<'n, N: Nodes>(
    nodes: &'n N,
    memmap: &[Page],
    context: &AllocContext,
) -> Option<(Pfn, ZoneRef<'n>)> {
    let mut context = *context;
    loop {
        match look_at_zones(nodes, memmap, &context) {
            Look::Found(pfn, zone) => return Some((pfn, zone)),
            // (3), (7): rather mixed pageblocks than another node, or nothing.
            Look::Mix => context.flags &= !alloc::NOFRAGMENT,
            Look::Nothing => return None,
        }
    }
}

/// What one look at the zones came to.
enum Look<'n> {
    Found(Pfn, ZoneRef<'n>),
    /// Another look is worth it, at pageblocks of other types.
    Mix,
    Nothing,
}

fn look_at_zones<'n, N: Nodes>(nodes: &'n N, memmap: &[Page], context: &AllocContext) -> Look<'n> {
    let mut over_dirty_limit = None;
    let unmixed = context.flags & alloc::NOFRAGMENT != 0;
    let kind: MigrateType = context.gfp.migratetype();
    for zone in zonelist(nodes, context) {
        // (1)
        if context.flags & alloc::CPUSET != 0 && !nodes.cpuset_node_allowed(zone.node, context.gfp) {
            continue;
        }
        // (2)
        if context.gfp.has(Gfp::WRITE) && (over_dirty_limit == Some(zone.node) || !nodes.node_dirty_ok(zone.node)) {
            over_dirty_limit = Some(zone.node);
            continue;
        }
        // (3)
        if unmixed && zone.node != context.preferred {
            return Look::Mix;
        }
        // (4), (5)
        if !context.watermark_ok(zone, zone.zone.free_pages_count()) && !reclaim_node(nodes, context, zone) {
            continue;
        }
        // (6)
        let compound = if context.gfp.has(Gfp::COMP) { alloc::COMPOUND } else { 0 };
        let flags = context.flags | compound;
        if let Some(pfn) = zone.zone.rmqueue_of(memmap, context.order, kind, flags) {
            if context.order > 0 && context.flags & alloc::HARDER != 0 {
                zone.zone.reserve_highatomic(memmap, pfn, context.order);
            }
            return Look::Found(pfn, zone);
        }
    }
    // (7), (8)
    if unmixed { Look::Mix } else { Look::Nothing }
}

/// Reclaims in a node that is short of memory, if that is how nodes are used here. Says whether the zone is good now. Rule E10 (5).
fn reclaim_node<N: Nodes>(nodes: &N, context: &AllocContext, zone: ZoneRef<'_>) -> bool {
    nodes.allows_node_reclaim(context.preferred, zone.node)
        && nodes.node_reclaim(zone.node, context.gfp, context.order) == NodeReclaim::Progress
        && context.watermark_ok(zone, zone.zone.free_pages_count())
}
