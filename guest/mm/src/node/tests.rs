//! Zonelists, watermarks and cpusets on a machine of several nodes, with zones of real frames.

use std::cell::{Cell, RefCell};
use std::vec::Vec;

use super::{
    Allocator, NODES_MAX, NodeReclaim, Nodes, ZoneRef, cpuset_node_allowed, next_spread_node, node_order,
    page_cache_alloc,
};
use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::page::Page;
use crate::page_alloc::freelist::{AllocContext, get_page_from_freelist};
use crate::zone::{MigrateType, Watermark, Zone, ZoneType, alloc, watermarks_of_zones};

/// Frames of a zone; enough that types are told apart.
const ZONE_FRAMES: u32 = 2048;

/// A machine with nodes of zones, and everything that [`Nodes`] can say.
struct Machine {
    nodes: Vec<Vec<(ZoneType, Zone)>>,
    memmap: Vec<Page>,
    distances: Vec<Vec<u32>>,
    local: usize,
    task: Allocator,
    over_dirty_limit: u64,
    reclaims: Option<NodeReclaim>,
    /// What node reclaim frees.
    reclaimable: RefCell<Vec<(usize, Pfn)>>,
    reclaimed: Cell<u32>,
    changes: Cell<u32>,
    spread: Cell<Option<usize>>,
}

impl Machine {
    /// Node 0 with a DMA, a DMA32 and a normal zone, the others with a normal and a movable one.
    fn new(nodes: usize) -> Self {
        let mut next = 1024;
        let memmap: Vec<Page> = (0..1024 + nodes as u32 * 3 * ZONE_FRAMES)
            .map(|_| Page::default())
            .collect();
        let mut zone = |kind| {
            let zone = Zone::new();
            zone.add_range(&memmap, Pfn(next), Pfn(next + ZONE_FRAMES));
            next += ZONE_FRAMES;
            (kind, zone)
        };
        let nodes: Vec<Vec<(ZoneType, Zone)>> = (0..nodes)
            .map(|node| match node {
                0 => [ZoneType::Dma, ZoneType::Dma32, ZoneType::Normal].map(&mut zone).into(),
                _ => [ZoneType::Normal, ZoneType::Movable].map(&mut zone).into(),
            })
            .collect();
        let slices: Vec<&[(ZoneType, Zone)]> = nodes.iter().map(Vec::as_slice).collect();
        watermarks_of_zones(&slices);
        let distances = (0..nodes.len())
            .map(|from| (0..nodes.len()).map(|to| 10 + 10 * from.abs_diff(to) as u32).collect())
            .collect();
        Self {
            nodes,
            memmap,
            distances,
            local: 0,
            task: Allocator {
                mems_allowed: !0,
                hardwall_mems_allowed: !0,
                ..Allocator::default()
            },
            over_dirty_limit: 0,
            reclaims: None,
            reclaimable: RefCell::default(),
            reclaimed: Cell::new(0),
            changes: Cell::new(0),
            spread: Cell::new(None),
        }
    }

    fn zone(&self, node: usize, kind: ZoneType) -> &Zone {
        let zones = self.nodes[node].iter();
        &zones
            .into_iter()
            .find(|(other, _)| *other == kind)
            .expect("it has one")
            .1
    }

    fn zones(&self, preferred: usize, gfp: Gfp) -> Vec<(usize, ZoneType)> {
        let context = AllocContext {
            preferred,
            ..AllocContext::new(self, gfp, 0)
        };
        crate::page_alloc::freelist::zonelist(self, &context)
            .map(|zone| (zone.node, zone.kind))
            .collect()
    }

    fn context(&self, gfp: Gfp, order: u32) -> AllocContext {
        AllocContext::new(self, gfp, order)
    }

    /// The zone that a request gets its block from.
    fn from(&self, context: &AllocContext) -> Option<(usize, ZoneType)> {
        get_page_from_freelist(self, &self.memmap, context).map(|(_, zone)| (zone.node, zone.kind))
    }

    /// Takes frames off a zone until so many are free.
    fn leave(&self, node: usize, kind: ZoneType, free: u64) -> Vec<Pfn> {
        let zone = self.zone(node, kind);
        std::iter::from_fn(|| (zone.free_pages_count() > free).then(|| zone.rmqueue(&self.memmap, 0).expect("a frame")))
            .collect()
    }

    /// Leaves every second frame of a zone free, all of them in movable pageblocks.
    fn scatter(&self, node: usize, kind: ZoneType) {
        let zone = self.zone(node, kind);
        for pfn in self.leave(node, kind, 0).into_iter().step_by(2) {
            self.memmap[pfn.index()].refcount.set(0);
            zone.free_one_page(&self.memmap, pfn, 0);
        }
        zone.drain_all_pages(&self.memmap);
    }
}

impl Nodes for Machine {
    fn zonelist(&self, preferred: usize, gfp: Gfp) -> impl Iterator<Item = ZoneRef<'_>> {
        let mut order = [0; NODES_MAX];
        let count = node_order(
            preferred,
            self.nodes.len(),
            |to| self.distances[preferred][to],
            &mut order,
        );
        let count = if gfp.has(Gfp::THISNODE) { 1 } else { count };
        order.into_iter().take(count).flat_map(|node| {
            let zones = self.nodes[node].iter().rev();
            zones.map(move |(kind, zone)| ZoneRef {
                zone,
                kind: *kind,
                node,
            })
        })
    }

    fn local_node(&self) -> usize {
        self.local
    }

    fn cpuset_node_allowed(&self, node: usize, gfp: Gfp) -> bool {
        cpuset_node_allowed(&self.task, node, gfp)
    }

    fn mems_allowed_changes(&self) -> u32 {
        self.changes.get()
    }

    fn spread_node(&self) -> Option<usize> {
        let next = next_spread_node(self.spread.get()?, self.task.mems_allowed);
        self.spread.set(next);
        next
    }

    fn node_dirty_ok(&self, node: usize) -> bool {
        self.over_dirty_limit >> node & 1 == 0
    }

    fn allows_node_reclaim(&self, local: usize, node: usize) -> bool {
        self.reclaims.is_some() && self.distances[local][node] <= 20
    }

    fn node_reclaim(&self, node: usize, _: Gfp, _: u32) -> NodeReclaim {
        self.reclaimed.set(self.reclaimed.get() + 1);
        for (_, pfn) in self.reclaimable.borrow_mut().extract_if(.., |(of, _)| *of == node) {
            self.memmap[pfn.index()].refcount.set(0);
            self.zone(node, ZoneType::Normal).free_one_page(&self.memmap, pfn, 0);
        }
        self.reclaims.expect("it was allowed")
    }
}

use ZoneType::{Dma, Dma32, Movable, Normal};

/// E1: the own node's zones from the highest down, then those of the other nodes by distance; THISNODE stays.
#[test]
fn zonelists_are_ordered_by_node_then_zone() {
    let machine = Machine::new(4);
    assert_eq!(
        machine.zones(1, Gfp::HIGHUSER_MOVABLE),
        [
            (1, Movable),
            (1, Normal),
            (2, Movable),
            (2, Normal),
            (0, Normal),
            (0, Dma32),
            (0, Dma),
            (3, Movable),
            (3, Normal)
        ],
        "of two equally near nodes the next one first"
    );
    assert_eq!(
        machine.zones(3, Gfp::KERNEL),
        [(3, Normal), (2, Normal), (1, Normal), (0, Normal), (0, Dma32), (0, Dma)]
    );
    assert_eq!(machine.zones(3, Gfp::KERNEL.with(Gfp::THISNODE)), [(3, Normal)]);
    assert_eq!(machine.zones(3, Gfp::KERNEL.with(Gfp::DMA32)), [(0, Dma32), (0, Dma)]);
    assert_eq!(machine.zones(0, Gfp::KERNEL.with(Gfp::DMA)), [(0, Dma)]);
    assert_eq!(
        machine.zones(1, Gfp::KERNEL.with(Gfp::DMA).with(Gfp::THISNODE)),
        [],
        "no such zone there"
    );
}

/// E4: lower zones keep a share of those above from requests that could use these.
#[test]
fn lower_zones_are_protected() {
    let machine = Machine::new(1);
    let (dma, dma32) = (machine.zone(0, Dma), machine.zone(0, Dma32));
    let frames = u64::from(ZONE_FRAMES);
    assert_eq!(
        [Dma, Dma32, Normal].map(|highest| dma.lowmem_reserve(highest)),
        [0, frames / 256, 2 * frames / 256]
    );
    assert_eq!(
        [Dma, Dma32, Normal].map(|highest| dma32.lowmem_reserve(highest)),
        [0, 0, frames / 256]
    );
    assert_eq!(machine.zone(0, Normal).lowmem_reserve(Normal), 0);
    // At the boundary: one frame more than watermark and reserve.
    let low = dma.watermark(Watermark::Low);
    let ok = |highest, free| dma.watermark_ok_with(free, 0, Watermark::Low, highest, 0);
    for (highest, reserve) in [(Dma, 0), (Dma32, 8), (Normal, 16)] {
        assert!(
            ok(highest, low + reserve + 1) && !ok(highest, low + reserve),
            "{highest:?}"
        );
    }
    // And so in an allocation: the reserve is for those who have nowhere else to go.
    machine.leave(0, Normal, 0);
    machine.leave(0, Dma32, 0);
    machine.leave(0, Dma, low + 10);
    assert_eq!(machine.from(&machine.context(Gfp::KERNEL, 0)), None);
    assert_eq!(
        machine.from(&machine.context(Gfp::KERNEL.with(Gfp::DMA), 0)),
        Some((0, Dma))
    );
}

/// E2: each zone has its share of the watermarks.
#[test]
fn zones_share_the_watermarks() {
    let machine = Machine::new(1);
    // sqrt(16 x 24,576 KiB) = 627 KiB, 156 pages, a third each.
    for kind in [Dma, Dma32, Normal] {
        let zone = machine.zone(0, kind);
        assert_eq!(
            [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark)),
            [52, 65, 78]
        );
    }
}

/// E10: (1) zones outside the cpuset are passed over, unless the request ignores it.
#[test]
fn zones_outside_the_cpuset_are_passed_over() {
    let mut machine = Machine::new(3);
    machine.task.mems_allowed = 0b100;
    machine.task.hardwall_mems_allowed = 0b110;
    assert_eq!(machine.from(&machine.context(Gfp::USER, 0)), Some((2, Normal)));
    assert_eq!(
        machine.from(&machine.context(Gfp::KERNEL, 0)),
        Some((1, Normal)),
        "up to the wall"
    );
    let anywhere = AllocContext {
        flags: 0,
        ..machine.context(Gfp::USER, 0)
    };
    assert_eq!(machine.from(&anywhere), Some((0, Normal)));
}

/// E10: (2) a page that will be dirty goes to a node below its limit.
#[test]
fn dirty_pages_are_spread() {
    let mut machine = Machine::new(3);
    machine.over_dirty_limit = 0b011;
    assert_eq!(
        machine.from(&machine.context(Gfp::KERNEL.with(Gfp::WRITE), 0)),
        Some((2, Normal))
    );
    assert_eq!(machine.from(&machine.context(Gfp::KERNEL, 0)), Some((0, Normal)));
    machine.over_dirty_limit = 0b111;
    assert_eq!(machine.from(&machine.context(Gfp::KERNEL.with(Gfp::WRITE), 0)), None);
}

/// E8, E10: (3), (7) pageblocks are mixed rather than another node used, but the lower zone comes before that.
#[test]
fn pageblocks_are_mixed_rather_than_another_node_used() {
    let machine = Machine::new(2);
    let context = machine.context(Gfp::KERNEL, 0);
    assert_ne!(
        context.flags & alloc::NOFRAGMENT,
        0,
        "a normal zone with another below it"
    );
    // The normal zone's free frames are scattered over movable pageblocks.
    machine.scatter(0, Normal);
    assert_eq!(
        machine.from(&context),
        Some((0, Dma32)),
        "the lower zone has whole pageblocks"
    );
    machine.scatter(0, Dma32);
    machine.scatter(0, Dma);
    assert_eq!(
        machine.from(&context),
        Some((0, Normal)),
        "mixed, on the preferred node"
    );
    // Without a lower zone there is nothing to try first.
    let other = Machine {
        local: 1,
        ..Machine::new(2)
    };
    assert_eq!(other.context(Gfp::KERNEL, 0).flags & alloc::NOFRAGMENT, 0);
    // (7) On a single node the second look is the last.
    let alone = Machine::new(1);
    for kind in [Normal, Dma32, Dma] {
        alone.scatter(0, kind);
    }
    assert_eq!(alone.from(&alone.context(Gfp::KERNEL, 0)), Some((0, Normal)));
}

/// E10: (4), (8) the first zone above its watermark, or none; (5) or any, without watermarks.
#[test]
fn the_first_zone_above_its_watermark_is_taken() {
    let machine = Machine::new(2);
    let context = AllocContext {
        flags: 0,
        ..machine.context(Gfp::KERNEL, 0)
    };
    let mut expected = Vec::new();
    for (node, kind) in [(0, Normal), (0, Dma32), (0, Dma), (1, Normal)] {
        expected.push((node, kind));
        assert_eq!(machine.from(&context), Some((node, kind)));
        let zone = machine.zone(node, kind);
        machine.leave(node, kind, zone.watermark(Watermark::Low) + zone.lowmem_reserve(Normal));
    }
    assert_eq!(machine.from(&context), None, "(8)");
    let min = AllocContext {
        mark: Watermark::Min,
        ..context
    };
    assert_eq!(machine.from(&min), Some(expected[0]));
    machine.leave(0, Normal, 1);
    let reserves = AllocContext {
        flags: alloc::NO_WATERMARKS,
        ..context
    };
    assert_eq!(
        machine.from(&reserves),
        Some((0, Normal)),
        "the last frame of the first zone"
    );
    assert_eq!(machine.from(&reserves), Some((0, Dma32)));
}

/// E10: (5) with `zone_reclaim_mode`, a near node is reclaimed before the next one is used.
#[test]
fn near_nodes_are_reclaimed_first() {
    for (becomes, expected) in [
        (NodeReclaim::NotScanned, 1),
        (NodeReclaim::Full, 1),
        (NodeReclaim::Progress, 0),
    ] {
        let mut machine = Machine::new(2);
        let context = AllocContext {
            flags: 0,
            ..machine.context(Gfp::KERNEL.with(Gfp::DMA32), 0)
        };
        let normal = AllocContext {
            gfp: Gfp::KERNEL,
            ..context
        };
        machine.leave(0, Dma, 0);
        machine.leave(0, Dma32, 0);
        let taken = machine.leave(0, Normal, 10);
        assert_eq!(machine.from(&normal), Some((1, Normal)), "mode 0");
        assert_eq!(machine.reclaimed.get(), 0);
        machine.reclaims = Some(becomes);
        machine.reclaimable = RefCell::new(taken.into_iter().take(500).map(|pfn| (0, pfn)).collect());
        assert_eq!(machine.from(&normal), Some((expected, Normal)), "{becomes:?}");
        assert_ne!(machine.reclaimed.get(), 0);
        // Progress that does not reach the watermark is not enough.
        machine.leave(0, Normal, 10);
        assert_eq!(machine.from(&normal), Some((1, Normal)));
    }
    let mut far = Machine::new(3);
    far.reclaims = Some(NodeReclaim::Progress);
    far.leave(0, Normal, 0);
    far.leave(0, Dma32, 0);
    far.leave(0, Dma, 0);
    far.leave(1, Normal, 0);
    far.leave(2, Normal, 0);
    let context = AllocContext {
        flags: 0,
        ..far.context(Gfp::KERNEL, 0)
    };
    assert_eq!(far.from(&context), None);
    assert_eq!(far.reclaimed.get(), 4, "node 2 is too far");
}

/// E10: (6) a block taken in a hurry reserves its pageblock.
#[test]
fn a_block_in_a_hurry_reserves_its_pageblock() {
    let machine = Machine::new(1);
    let zone = machine.zone(0, Normal);
    let hurry = AllocContext {
        flags: alloc::HARDER,
        ..machine.context(Gfp::ATOMIC, 2)
    };
    assert_eq!(machine.from(&AllocContext { order: 0, ..hurry }), Some((0, Normal)));
    assert_eq!(zone.reserved_highatomic(), 0, "one frame is no block");
    let (pfn, _) = get_page_from_freelist(&machine, &machine.memmap, &hurry).expect("a block");
    assert_eq!(zone.pageblock_type(pfn.0), MigrateType::HighAtomic);
}

/// E11: who may have memory of which node, for every kind of task and request.
#[test]
fn cpusets_bind_those_they_should() {
    for bits in 0..64u32 {
        let bit = |at: u32| bits >> at & 1 != 0;
        let task = Allocator {
            in_interrupt: bit(0),
            oom_victim: bit(1),
            exiting: bit(2),
            mems_allowed: if bit(3) { 0b10 } else { 0b01 },
            hardwall_mems_allowed: if bit(4) { 0b11 } else { 0b01 },
        };
        let gfp = if bit(5) { Gfp::USER } else { Gfp::KERNEL };
        // In the order of the rule.
        let expected = if bit(0) || bit(3) || bit(1) {
            true
        } else if bit(5) {
            false
        } else {
            bit(2) || bit(4)
        };
        assert_eq!(cpuset_node_allowed(&task, 1, gfp), expected, "{task:?} {gfp:?}");
    }
}

/// E12: pages of page caches go round the nodes of the cpuset, if the task asked for that, else to the local node.
#[test]
fn page_caches_are_spread() {
    let mut machine = Machine::new(4);
    let node_of = |machine: &Machine| {
        let mut nodes = Vec::new();
        page_cache_alloc(machine, |node| {
            nodes.push(node);
            Some(Pfn(1))
        });
        nodes
    };
    machine.local = 2;
    assert_eq!(node_of(&machine), [2], "off: the local node");
    machine.task.mems_allowed = 0b1101;
    machine.spread.set(Some(0));
    assert_eq!([(); 5].map(|()| node_of(&machine)[0]), [2, 3, 0, 2, 3]);
    // A failure is final, unless the cpuset changed meanwhile.
    let mut tries = 0;
    let none = page_cache_alloc(&machine, |_| {
        tries += 1;
        None
    });
    assert_eq!((none, tries), (None, 1));
    let found = page_cache_alloc(&machine, |node| {
        tries += 1;
        if tries == 2 {
            machine.changes.set(1);
        }
        (tries == 3).then_some(Pfn(node as u32))
    });
    assert_eq!(tries, 3);
    assert!(found.is_some());
    assert_eq!(next_spread_node(63, 1 << 63), Some(63));
    assert_eq!(next_spread_node(0, 0), None);
}
