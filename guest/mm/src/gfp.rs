//! GFP flags: what an allocation may do, where its memory may lie, and what it is for.
//!
//! A request names one of the combinations ([`Gfp::KERNEL`], [`Gfp::HIGHUSER_MOVABLE`], ...), and with [`Gfp::with`] and [`Gfp::without`]
//! what is different about it. The allocator derives from the flags everything that it needs:
//!
//! | question | answer |
//! |---|---|
//! | which zones may it use? | [`Gfp::zone`]: that one and all below |
//! | can its content be moved, or thrown away and made again? | [`Gfp::migratetype`] |
//! | how far below the watermark may it go? | [`Gfp::alloc_flags`] |
//! | may it wait for reclaim, wake kswapd, fail? | [`Gfp::has`] |
//!
//! Source: Linux 5.10, include/linux/gfp.h; Documentation/core-api/memory-allocation.rst. Rules E6, E9, E13, E15.

use crate::zone::{MigrateType, ZoneType, alloc};

/// Flags of an allocation, with Linux's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gfp(u32);

impl Gfp {
    /// From [`ZoneType::Dma`] only.
    pub const DMA: Self = Self(0x01);
    /// Needs no address of the kernel's own: programs' pages.
    pub const HIGHMEM: Self = Self(0x02);
    /// From [`ZoneType::Dma32`] or below.
    pub const DMA32: Self = Self(0x04);
    /// Found through reverse mapping, so compaction can move it.
    pub const MOVABLE: Self = Self(0x08);
    /// Reclaim can have it freed (inodes, nodes of page caches).
    pub const RECLAIMABLE: Self = Self(0x10);
    /// Important: half of the reserve may be used.
    pub const HIGH: Self = Self(0x20);
    /// Reclaim may start I/O.
    pub const IO: Self = Self(0x40);
    /// Reclaim may call the file system.
    pub const FS: Self = Self(0x80);
    /// The content is zeroes.
    pub const ZERO: Self = Self(0x100);
    /// Cannot wait at all: a part of the reserve may be used, whatever the cpuset.
    pub const ATOMIC_CONTEXT: Self = Self(0x200);
    /// May reclaim by itself, and so wait.
    pub const DIRECT_RECLAIM: Self = Self(0x400);
    /// Wakes kswapd when memory is low.
    pub const KSWAPD_RECLAIM: Self = Self(0x800);
    /// The page will be dirtied: it is to be spread over the nodes' dirty limits.
    pub const WRITE: Self = Self(0x1000);
    /// No line in the log when it fails.
    pub const NOWARN: Self = Self(0x2000);
    /// Tries hard, but rather fails than have a process killed.
    pub const RETRY_MAYFAIL: Self = Self(0x4000);
    /// Never fails.
    pub const NOFAIL: Self = Self(0x8000);
    /// One round of reclaim, then it fails.
    pub const NORETRY: Self = Self(0x1_0000);
    /// May use all reserves: it will free more than it takes.
    pub const MEMALLOC: Self = Self(0x2_0000);
    /// A block that stays one thing: of its entries in the memory map only the first is made. Source: Linux `__GFP_COMP`.
    pub const COMP: Self = Self(0x4_0000);
    /// May not use the reserves, even where the task could.
    pub const NOMEMALLOC: Self = Self(0x8_0000);
    /// Keeps to the task's cpuset, not just to that of an ancestor.
    pub const HARDWALL: Self = Self(0x10_0000);
    /// From the preferred node only.
    pub const THISNODE: Self = Self(0x20_0000);

    /// Both ways of reclaim.
    pub const RECLAIM: Self = Self::DIRECT_RECLAIM.with(Self::KSWAPD_RECLAIM);
    /// For those who cannot wait: fails rather than reclaim, and may use a part of the reserve.
    pub const ATOMIC: Self = Self::HIGH.with(Self::ATOMIC_CONTEXT).with(Self::KSWAPD_RECLAIM);
    /// For the kernel's own structures.
    pub const KERNEL: Self = Self::RECLAIM.with(Self::IO).with(Self::FS);
    /// As [`Gfp::KERNEL`], but fails rather than reclaim, and leaves the reserve alone.
    pub const NOWAIT: Self = Self::KSWAPD_RECLAIM;
    /// As [`Gfp::KERNEL`], for reclaim that must not call itself by way of I/O.
    pub const NOIO: Self = Self::RECLAIM;
    /// As [`Gfp::KERNEL`], for file systems.
    pub const NOFS: Self = Self::RECLAIM.with(Self::IO);
    /// On behalf of a program.
    pub const USER: Self = Self::KERNEL.with(Self::HARDWALL);
    /// A program's page.
    pub const HIGHUSER_MOVABLE: Self = Self::USER.with(Self::HIGHMEM).with(Self::MOVABLE);
    /// A huge page for a program, without much ado.
    pub const TRANSHUGE_LIGHT: Self = Self::HIGHUSER_MOVABLE
        .with(Self::COMP)
        .with(Self::NOMEMALLOC)
        .with(Self::NOWARN)
        .without(Self::RECLAIM);
    /// A huge page for a program that asked for huge pages.
    pub const TRANSHUGE: Self = Self::TRANSHUGE_LIGHT.with(Self::DIRECT_RECLAIM);

    /// These flags and others.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These flags less others.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether all of some flags are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The highest zone that the memory may lie in. Source: Linux `gfp_zone`.
    #[inline(always)]
    #[must_use]
    pub const fn zone(self) -> ZoneType {
        if self.has(Self::DMA) {
            ZoneType::Dma
        } else if self.has(Self::DMA32) {
            ZoneType::Dma32
        } else if self.has(Self::HIGHMEM.with(Self::MOVABLE)) {
            ZoneType::Movable
        } else {
            ZoneType::Normal
        }
    }

    /// With which pages it is put together. Source: Linux `gfp_migratetype`.
    ///
    /// # Panics
    /// With debug assertions, when it is to be movable and reclaimable.
    #[inline(always)]
    #[must_use]
    pub const fn migratetype(self) -> MigrateType {
        debug_assert!(
            !self.has(Self::MOVABLE.with(Self::RECLAIMABLE)),
            "movable or reclaimable, not both"
        );
        if self.has(Self::MOVABLE) {
            MigrateType::Movable
        } else if self.has(Self::RECLAIMABLE) {
            MigrateType::Reclaimable
        } else {
            MigrateType::Unmovable
        }
    }

    /// [`alloc`] flags of the slow path. Source: Linux `gfp_to_alloc_flags`. Rule E13 (2).
    #[must_use]
    pub const fn alloc_flags(self) -> u32 {
        let mut flags = alloc::CPUSET;
        if self.has(Self::HIGH) {
            flags |= alloc::HIGH;
        }
        if self.has(Self::KSWAPD_RECLAIM) {
            flags |= alloc::KSWAPD;
        }
        if self.has(Self::ATOMIC_CONTEXT) {
            if !self.has(Self::NOMEMALLOC) {
                flags |= alloc::HARDER;
            }
            flags &= !alloc::CPUSET;
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E1: which zones a request may use.
    #[test]
    fn flags_name_the_highest_zone() {
        let zones = [
            (Gfp::KERNEL, ZoneType::Normal),
            (Gfp::ATOMIC, ZoneType::Normal),
            (Gfp::USER.with(Gfp::HIGHMEM), ZoneType::Normal),
            (Gfp::HIGHUSER_MOVABLE, ZoneType::Movable),
            (Gfp::KERNEL.with(Gfp::DMA32), ZoneType::Dma32),
            (Gfp::KERNEL.with(Gfp::DMA), ZoneType::Dma),
            // Movable alone says what can be done with the page, not where it may lie.
            (Gfp::KERNEL.with(Gfp::MOVABLE), ZoneType::Normal),
        ];
        for (gfp, zone) in zones {
            assert_eq!(gfp.zone(), zone, "{gfp:?}");
        }
    }

    /// E8: what is put together with what.
    #[test]
    fn flags_name_the_migrate_type() {
        assert_eq!(Gfp::KERNEL.migratetype(), MigrateType::Unmovable);
        assert_eq!(Gfp::HIGHUSER_MOVABLE.migratetype(), MigrateType::Movable);
        assert_eq!(
            Gfp::KERNEL.with(Gfp::RECLAIMABLE).migratetype(),
            MigrateType::Reclaimable
        );
    }

    /// E13: what each may do to the watermarks.
    #[test]
    fn flags_name_the_reserves() {
        assert_eq!(Gfp::KERNEL.alloc_flags(), alloc::CPUSET | alloc::KSWAPD);
        assert_eq!(
            Gfp::ATOMIC.alloc_flags(),
            alloc::HIGH | alloc::HARDER | alloc::KSWAPD,
            "an atomic allocation looks at no cpuset"
        );
        assert_eq!(
            Gfp::ATOMIC.with(Gfp::NOMEMALLOC).alloc_flags(),
            alloc::HIGH | alloc::KSWAPD
        );
        assert_eq!(Gfp::TRANSHUGE_LIGHT.alloc_flags(), alloc::CPUSET);
        assert!(!Gfp::NOIO.has(Gfp::IO) && Gfp::NOFS.has(Gfp::IO) && !Gfp::NOFS.has(Gfp::FS));
    }
}
