//! Races, made to happen: something that is done when a stage is reached, as by another processor that was faster.

use core::fmt;
use std::boxed::Box;
use std::cell::RefCell;
use std::vec::Vec;

use crate::platform::Stage;

/// What is to be done, and when.
type Act = (Stage, Box<dyn FnOnce()>);

/// What is to be done, the last first, each once.
#[derive(Default)]
pub struct Interleave(RefCell<Vec<Act>>);

impl Interleave {
    /// Does something when a stage is reached next, after what was asked for later.
    pub fn at(&self, stage: Stage, act: impl FnOnce() + 'static) {
        self.0.borrow_mut().push((stage, Box::new(act)));
    }

    /// Whether all was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn reached(&self, stage: Stage) {
        let next = self.0.borrow_mut().pop_if(|(wanted, _)| *wanted == stage);
        if let Some((_, act)) = next {
            act();
        }
    }
}

impl fmt::Debug for Interleave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.borrow().iter().map(|(stage, _)| stage))
            .finish()
    }
}
