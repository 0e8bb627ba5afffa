//! What Linux does, from the rules alone.

use super::{ACCESS, Backing, By, Case, IN_OBJECT, STORED, State, Way};
use crate::error::Fault;
use crate::fault::Access;
use crate::mmap::prot;

/// What an access that succeeds finds and leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// The word that was there.
    pub(super) found: u64,
    /// Whether the entry allows stores.
    pub(super) stores: Stores,
    /// Whether the entry names the page of zeroes.
    pub(super) zero_page: bool,
    /// What parent or child sees, if there is one.
    pub(super) relative: Option<u64>,
    /// What the object holds, if there is one.
    pub(super) object: Option<u64>,
}

/// What the entry says of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stores {
    /// Nothing else will do: a fault would be one too many.
    Allowed,
    /// Nothing else will do: somebody would see a store who must not, or the right is missing.
    Forbidden,
    /// Programs see no difference: the next store faults or does not.
    Either,
}

pub(super) type Expected = Result<Outcome, Fault>;

/// The outcome of a case.
pub(super) fn expected(case: Case) -> Expected {
    if case.state == State::Unmapped {
        // B36: no VMA.
        return Err(Fault::SegvMaperr);
    }
    if !has_right(case.rights, case.by) {
        // B36: a VMA without the right, whatever is or is not there. B46: the same for the kernel.
        return Err(Fault::SegvAccerr);
    }
    if case.state == State::PastTheEnd {
        // B36, B40: past the end, private copies included.
        return Err(Fault::BusAdrerr);
    }
    let found = content(case.backing, case.state);
    let (relative, object) = others(case, found);
    Ok(Outcome {
        found,
        stores: stores(case),
        zero_page: case.backing == Backing::Anonymous
            && matches!(case.state, State::Hole | State::Loaded)
            && !case.by.writes(),
        relative,
        object,
    })
}

/// B26: any right makes a page of x86-64 readable; the other two are needed as they are.
fn has_right(rights: u64, by: By) -> bool {
    match by {
        By::Program(Access::Read) | By::Kernel(false) => rights != 0,
        By::Program(Access::Write) | By::Kernel(true) => rights & prot::WRITE != 0,
        By::Program(Access::Exec) => rights & prot::EXEC != 0,
    }
}

/// The word at the page, before the access: the program's store, else the object's content, else 0. Rules B38, B41.
fn content(backing: Backing, state: State) -> u64 {
    match state {
        State::Unmapped | State::PastTheEnd | State::Hole => 0,
        State::Loaded if backing == Backing::Anonymous => 0,
        State::Cached | State::CachedSwapped | State::Loaded => IN_OBJECT,
        _ => STORED,
    }
}

/// What a relative and the object have after the access. B38, B39, B41: a store to a private mapping is seen by nobody; to a shared one, by
/// all.
fn others(case: Case, found: u64) -> (Option<u64>, Option<u64>) {
    let has_relative = matches!(case.state, State::Forked | State::InChild | State::SwappedForked);
    let after = if case.by.writes() { ACCESS } else { found };
    match case.backing {
        Backing::Shared => (has_relative.then_some(after), Some(after)),
        Backing::Anonymous => (has_relative.then_some(found), None),
        Backing::Private => {
            let in_object = if case.state == State::Hole { 0 } else { IN_OBJECT };
            (has_relative.then_some(found), Some(in_object))
        }
    }
}

fn stores(case: Case) -> Stores {
    if case.rights & prot::WRITE == 0 {
        return Stores::Forbidden;
    }
    // B44: shared pages of such objects have no hook that wants to know of the first store.
    if case.by.writes() || case.backing == Backing::Shared {
        return Stores::Allowed;
    }
    match case.state {
        // B38, B41: the page is (also) another's: the object's, everybody's, a relative's.
        State::Hole | State::Cached | State::CachedSwapped | State::Loaded => Stores::Forbidden,
        State::Forked | State::InChild | State::SwappedForked => Stores::Forbidden,
        // The program's own page, with every right it had all the time.
        State::Stored if case.way == Way::Direct => Stores::Allowed,
        _ => Stores::Either,
    }
}
