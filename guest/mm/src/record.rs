//! Records: structures that live in frames, made of words and found by number.
//!
//! Metadata that grows (VMAs, inodes, XArray nodes, segments, address spaces) is carved from frames by
//! [`crate::slab`]. A record is a view of its words, `Copy`, with a typed getter and setter for each field; links
//! between records are ids, never pointers, so the whole manager needs no `unsafe` and every link can be checked.
//!
//! Why not structures cast from bytes: such a cast demands exclusive references or immutable memory, and the same
//! record is reached from many places (and, one day, from several vCPUs). Words are shareable as they are, and a field
//! access is one `mov` either way.

use crate::addr::{Pfn, VirtAddr};

/// What can be kept in a word of a record.
pub trait Field: Copy {
    /// As a word.
    fn to_word(self) -> u64;
    /// From a word that [`Field::to_word`] made, or 0.
    fn from_word(word: u64) -> Self;
}

/// A typed object number.
pub trait Id: Copy {
    /// The object.
    fn object(self) -> ObjId;
    /// Of an object.
    fn of_object(object: ObjId) -> Self;
}

impl<T: Id> Field for Option<T> {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self.map_or(0, |id| u64::from(id.object().get()))
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        ObjId::from_u32(word as u32).map(T::of_object)
    }
}

impl Field for u64 {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        word
    }
}

impl Field for i64 {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self.cast_unsigned()
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        word.cast_signed()
    }
}

impl Field for u32 {
    #[inline(always)]
    fn to_word(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        word as u32
    }
}

impl Field for bool {
    #[inline(always)]
    fn to_word(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        word != 0
    }
}

impl Field for VirtAddr {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self.0
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        Self(word)
    }
}

impl Field for Pfn {
    #[inline(always)]
    fn to_word(self) -> u64 {
        u64::from(self.0)
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        Self(word as u32)
    }
}

/// Number of an object in a slab: its physical address / 64. 0 is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ObjId(core::num::NonZeroU32);

/// log2 of the 64-byte slots of a frame; an [`ObjId`] is `pfn << SLOT_BITS | slot`.
const SLOT_BITS: u32 = 6;

impl ObjId {
    /// Slots of a frame, and objects in it at most.
    pub const SLOTS_MAX: usize = 1 << SLOT_BITS;

    /// The object that begins at `slot` of frame `pfn`. Frame 0 holds no objects: it is the null page of the id space.
    ///
    /// # Panics
    /// For frame 0 with slot 0, which would be no object.
    #[inline(always)]
    #[must_use]
    pub fn new(pfn: Pfn, slot: usize) -> Self {
        debug_assert!(slot < Self::SLOTS_MAX && pfn.0 < 1 << (32 - SLOT_BITS));
        match core::num::NonZeroU32::new(pfn.0 << SLOT_BITS | slot as u32) {
            Some(id) => Self(id),
            None => panic!("object id 0"),
        }
    }

    /// The frame that holds it.
    #[inline(always)]
    #[must_use]
    pub fn pfn(self) -> Pfn {
        Pfn(self.0.get() >> SLOT_BITS)
    }

    /// The slot there that it begins at.
    #[inline(always)]
    #[must_use]
    pub fn slot(self) -> usize {
        self.0.get() as usize & (Self::SLOTS_MAX - 1)
    }

    /// As a number other than 0.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// From a number, 0 being no object.
    #[inline(always)]
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        core::num::NonZeroU32::new(number).map(Self)
    }
}

/// Declares a typed object number.
#[macro_export]
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $crate::record::ObjId);

        impl $crate::record::Id for $name {
            #[inline(always)]
            fn object(self) -> $crate::record::ObjId {
                self.0
            }
            #[inline(always)]
            fn of_object(object: $crate::record::ObjId) -> Self {
                Self(object)
            }
        }
    };
}

/// Declares a record: its size in words, and for each field a getter, a setter, a type and the word it is in.
#[macro_export]
macro_rules! record {
    (
        $(#[$doc:meta])*
        pub struct $name:ident[$words:literal] {
            $($(#[$fdoc:meta])* $get:ident, $set:ident: $ty:ty = $at:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(pub &'a [$crate::sync::Word; $words]);

        impl<'a> $name<'a> {
            /// Size in 64-bit words.
            pub const WORDS: usize = $words;
            $(
                $(#[$fdoc])*
                #[inline(always)]
                #[must_use]
                pub fn $get(self) -> $ty {
                    <$ty as $crate::record::Field>::from_word(self.0[$at].get())
                }

                #[doc = concat!("Sets [`Self::", stringify!($get), "`].")]
                #[inline(always)]
                pub fn $set(self, value: $ty) {
                    self.0[$at].set($crate::record::Field::to_word(value));
                }
            )*
        }
    };
}

pub(crate) use {id_type, record};
