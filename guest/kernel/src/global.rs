//! State of the kernel: statics made of `Cell`s.

use core::ops::Deref;

/// A static that is shared with nobody.
///
/// # Invariants
/// Only ring 0 of the one vCPU touches it, interrupts are off there, and an exception in ring 0 never returns to what
/// it interrupted (except through the fix-up of `iretq`, which holds no reference): so no two uses overlap in time,
/// which is what `Sync` has to promise of a `Cell`.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Global<T>(T);

// SAFETY: see the invariant: there is one thread of control.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// As `deref`, for other statics' initial values.
    pub(crate) const fn get_ref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for Global<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
