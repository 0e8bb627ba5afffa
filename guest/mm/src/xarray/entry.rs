//! What a slot holds: nothing, a page, a value, or a word of the tree's own.
//!
//! The two lowest bits tell which: `00` a page (its physical address) or nothing, `x1` a value (shifted left by one),
//! `10` internal (shifted left by two): a node, or the sibling of a multi-index entry. Rules D1, D2.
//!
//! Source: Linux, include/linux/xarray.h. Differs from Linux: a node is named by its number instead of its address, so
//! that no address is ever made from a word; errors are `Result`s, so no entry encodes one.

use crate::addr::Pfn;
use crate::record::{ObjId, id_type};

id_type! {
    /// Number of an XArray node, from [`NodeId::MIN`] to [`NodeId::MAX`].
    NodeId
}

impl NodeId {
    /// The smallest number that an entry can link to: below are the siblings and the special entries (rule D2: nodes
    /// are the internal entries above 4096). Objects in frames above 64 KiB have larger numbers.
    pub const MIN: u32 = 1024;
    /// The largest, so that links are recognised by a comparison of 32 bits. Objects in frames below 128 GiB have
    /// smaller numbers.
    pub const MAX: u32 = Self::MIN + i32::MAX as u32;
}

/// The content of one index. Rule D1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// Nothing.
    pub const NULL: Self = Self(0);
    /// "Look again": what Linux leaves in a freed node for readers without a lock. Never stored here, where readers
    /// hold the lock; skipped when met.
    pub const RETRY: Self = Self::internal(256);
    /// Reserved: reads as [`Entry::NULL`].
    pub const ZERO: Self = Self::internal(257);

    const fn internal(number: u64) -> Self {
        Self(number << 2 | 2)
    }

    /// A page frame, other than frame 0 (which would be [`Entry::NULL`]).
    #[inline(always)]
    #[must_use]
    pub const fn page(pfn: Pfn) -> Self {
        debug_assert!(pfn.0 != 0, "frame 0 cannot be told from no entry");
        Self(pfn.phys())
    }

    /// A value less than 2^63: a swap entry, a shadow.
    #[inline(always)]
    #[must_use]
    pub const fn value(value: u64) -> Self {
        debug_assert!(value >> 63 == 0, "a value entry has 63 bits");
        Self(value << 1 | 1)
    }

    /// The encoded word.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The entry that [`Entry::bits`] encoded.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether nothing is there.
    #[inline(always)]
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Whether it is a value.
    #[inline(always)]
    #[must_use]
    pub const fn is_value(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether it is one of the tree's own: never returned, refused by every store (rule D3).
    #[inline(always)]
    #[must_use]
    pub const fn is_internal(self) -> bool {
        self.0 & 3 == 2
    }

    /// The frame, if it is a page.
    #[inline(always)]
    #[must_use]
    pub const fn as_page(self) -> Option<Pfn> {
        if self.0 & 3 == 0 && self.0 != 0 {
            Some(Pfn::of_phys(self.0))
        } else {
            None
        }
    }

    /// The value, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn as_value(self) -> Option<u64> {
        if self.is_value() { Some(self.0 >> 1) } else { None }
    }

    /// A link to a node.
    #[inline(always)]
    pub(super) fn node(id: NodeId) -> Self {
        debug_assert!(
            (NodeId::MIN..=NodeId::MAX).contains(&id.0.get()),
            "no link can hold this node's number"
        );
        Self::internal(u64::from(id.0.get()))
    }

    /// The node it links to, if it does. On the path of every load: one subtraction, one rotation and one comparison
    /// test tag, lower and upper bound at once.
    #[inline(always)]
    pub(super) fn as_node(self) -> Option<NodeId> {
        const SMALLEST: u64 = Entry::internal(NodeId::MIN as u64).0;
        let above_min = self.0.wrapping_sub(SMALLEST).rotate_right(2);
        if above_min > u64::from(NodeId::MAX - NodeId::MIN) {
            return None;
        }
        ObjId::from_u32(above_min as u32 + NodeId::MIN).map(NodeId)
    }

    /// Part of the multi-index entry whose first slot is `offset` of the same node (0 to 62).
    #[inline(always)]
    pub(super) const fn sibling(offset: usize) -> Self {
        debug_assert!(offset < 63);
        Self::internal(offset as u64)
    }

    /// The first slot of the multi-index entry it is part of, if it is a sibling.
    #[inline(always)]
    pub(super) const fn as_sibling(self) -> Option<usize> {
        if self.is_internal() && self.0 < Self::internal(63).0 {
            Some((self.0 >> 2) as usize)
        } else {
            None
        }
    }
}
