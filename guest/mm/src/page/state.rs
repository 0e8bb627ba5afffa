//! The life of a page's content: one table of what may happen to a page in which state, and what state that leaves it in.
//!
//! A state is four of a page's flags. Nothing else changes them: [`Page::set_flags`] and [`Page::clear_flags`] refuse, and with debug
//! assertions [`Page::step`] refuses what the table does not have. A fifth, `ERROR`, remembers that a write failed, whatever the state.
//!
//! ```text
//!             Lock                 Uptodate                  Unlock
//!   new page ------> locked, empty ---------> locked, filled -------> at rest, filled <--------------.
//!                        | Unlock                                       |  ^ | Dirty                 |
//!                        v                                        Lock  |  | v                       |
//!                  at rest, empty (fallocated)                          v  | dirty                   |
//!                                                  locked, filled ------'  |                         |
//!                                                      | StartWriteback    |                         |
//!                                                      v                   |                         |
//!                                              under writeback ------------'-- EndWriteback ---------'
//! ```
//!
//! Source: Linux, include/linux/page-flags.h, mm/filemap.c (`folio_unlock`, `folio_end_writeback`), mm/page-writeback.c
//! (`folio_mark_dirty`, `folio_clear_dirty_for_io`, `__folio_start_writeback`). Rules C11, D24, F10, F11. Differs from Linux: clearing
//! `DIRTY` and setting `WRITEBACK` are one step, so that no page that must be written looks clean in between; a page whose write
//! failed becomes dirty again before its writeback ends, for the same reason.

use super::{Page, flag};

/// The flags that make a state.
pub(crate) const STATE: u32 = flag::LOCKED | flag::UPTODATE | flag::DIRTY | flag::WRITEBACK;

/// What happens to a page's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody takes the page's lock.
    Lock,
    /// The holder of the lock gives it back.
    Unlock,
    /// The holder of the lock has given the page its content: from the disk, zeroes, or a program's.
    Uptodate,
    /// The content differs from the disk's, if there is one there at all.
    Dirty,
    /// The holder of the lock begins to write the content to the disk; what is stored from now on makes it dirty again.
    StartWriteback,
    /// The disk has answered.
    EndWriteback,
}

/// One line of the table: in a state with all of `has` and none of `lacks`, `event` sets and clears flags.
#[derive(Clone, Copy, Debug)]
struct Rule {
    event: Event,
    has: u32,
    lacks: u32,
    sets: u32,
    clears: u32,
}

/// A line without all its names.
const fn rule(event: Event, has: u32, lacks: u32, [sets, clears]: [u32; 2]) -> Rule {
    Rule {
        event,
        has,
        lacks,
        sets,
        clears,
    }
}

/// The table. Lines of one event change the same flags, so that [`Page::step`] need not look which of them it is.
#[rustfmt::skip]
const TABLE: [Rule; 7] = [
    //   what happens           the page is                     and is not                        becomes          and is no longer
    rule(Event::Lock,           0,                              flag::LOCKED,                     [flag::LOCKED,    0]),
    rule(Event::Unlock,         flag::LOCKED,                   0,                                [0,               flag::LOCKED]),
    rule(Event::Uptodate,       flag::LOCKED,                   flag::UPTODATE | flag::WRITEBACK, [flag::UPTODATE,  0]),
    // A page that `fallocate` makes is dirty before it has content, lest reclaim takes it for one that the disk has.
    rule(Event::Dirty,          flag::LOCKED,                   0,                                [flag::DIRTY,     0]),
    rule(Event::Dirty,          flag::UPTODATE,                 0,                                [flag::DIRTY,     0]),
    rule(Event::StartWriteback, flag::LOCKED | flag::UPTODATE,  flag::WRITEBACK,                  [flag::WRITEBACK, flag::DIRTY]),
    rule(Event::EndWriteback,   flag::UPTODATE | flag::WRITEBACK, 0,                              [0,               flag::WRITEBACK]),
];

/// What an event sets and clears.
const fn effect(event: Event) -> (u32, u32) {
    let mut line = 0;
    while line < TABLE.len() {
        if TABLE[line].event as u32 == event as u32 {
            return (TABLE[line].sets, TABLE[line].clears);
        }
        line += 1;
    }
    (0, 0)
}

/// Whether the table has a line for the event in a page's state.
fn is_allowed(flags: u32, event: Event) -> bool {
    TABLE
        .iter()
        .any(|rule| rule.event == event && flags & rule.has == rule.has && flags & rule.lacks == 0)
}

/// The flags after several events.
#[inline(always)]
fn after<const N: usize>(mut flags: u32, events: [Event; N]) -> u32 {
    for event in events {
        debug_assert!(is_allowed(flags, event), "{event:?} of a page with flags {flags:#x}");
        let (sets, clears) = effect(event);
        flags = flags & !clears | sets;
    }
    flags
}

impl Page {
    /// Lets an event change the page's state.
    ///
    /// # Panics
    /// With debug assertions, when the table does not have it.
    #[inline(always)]
    pub fn step(&self, event: Event) {
        self.steps([event]);
    }

    /// Several events at once.
    ///
    /// # Panics
    /// As [`Page::step`].
    #[inline(always)]
    pub fn steps<const N: usize>(&self, events: [Event; N]) {
        self.flags.set(after(self.flags.get(), events));
    }

    /// A frame that belongs to nobody becomes a page: its first events, and its other flags.
    ///
    /// # Panics
    /// As [`Page::step`].
    #[inline(always)]
    pub fn begin<const N: usize>(&self, events: [Event; N], others: u32) {
        debug_assert_eq!(others & STATE, 0, "the state of a page changes by `step` only");
        self.flags.set(after(0, events) | others);
    }

    /// Takes the lock, if nobody has it; whether it did. Source: Linux `folio_trylock`.
    #[inline(always)]
    pub fn trylock(&self) -> bool {
        let free = !self.has(flag::LOCKED);
        if free {
            self.step(Event::Lock);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 6] = [
        Event::Lock,
        Event::Unlock,
        Event::Uptodate,
        Event::Dirty,
        Event::StartWriteback,
        Event::EndWriteback,
    ];

    fn page(flags: u32) -> Page {
        let page = Page::default();
        page.flags.set(flags);
        page
    }

    /// The states that a page can come into from that of a new one.
    fn reachable() -> std::vec::Vec<u32> {
        let mut states = std::vec![0];
        let mut at = 0;
        while let Some(&state) = states.get(at) {
            at += 1;
            for event in EVENTS.into_iter().filter(|&event| is_allowed(state, event)) {
                let page = page(state);
                page.step(event);
                if !states.contains(&page.flags.get()) {
                    states.push(page.flags.get());
                }
            }
        }
        states
    }

    /// C11, F11: of the sixteen states a page comes into twelve, and never loses content: what is being written has content, and what has
    /// content keeps it; only the beginning of a write makes a dirty page clean, and then it is under writeback.
    #[test]
    fn no_event_loses_content() {
        let states = reachable();
        assert_eq!(states.len(), 12, "{states:x?}");
        for state in states {
            let named = |flag| state & flag != 0;
            assert!(!named(flag::WRITEBACK) || named(flag::UPTODATE), "{state:#x}");
            for event in EVENTS.into_iter().filter(|&event| is_allowed(state, event)) {
                let page = page(state);
                page.step(event);
                assert!(
                    !named(flag::UPTODATE) || page.has(flag::UPTODATE),
                    "{event:?} in {state:#x}"
                );
                let cleaned = named(flag::DIRTY) && !page.has(flag::DIRTY);
                assert_eq!(cleaned, named(flag::DIRTY) && event == Event::StartWriteback);
                assert!(!cleaned || page.has(flag::WRITEBACK));
            }
        }
    }

    /// D24, F10: every event in every state, against what each is said to need, in words.
    #[test]
    fn every_event_in_every_state() {
        for bits in 0..16u32 {
            let flag_of = |bit: u32, flag: u32| if bits & bit != 0 { flag } else { 0 };
            let state = flag_of(1, flag::LOCKED) | flag_of(2, flag::UPTODATE) | flag_of(4, flag::DIRTY);
            let state = state | flag_of(8, flag::WRITEBACK);
            let (locked, filled, writing) = (bits & 1 != 0, bits & 2 != 0, bits & 8 != 0);
            for event in EVENTS {
                let (expected, after) = match event {
                    Event::Lock => (!locked, state | flag::LOCKED),
                    Event::Unlock => (locked, state & !flag::LOCKED),
                    Event::Uptodate => (locked && !filled && !writing, state | flag::UPTODATE),
                    Event::Dirty => (locked || filled, state | flag::DIRTY),
                    Event::StartWriteback => {
                        let after = state & !flag::DIRTY | flag::WRITEBACK;
                        (locked && filled && !writing, after)
                    }
                    Event::EndWriteback => (filled && writing, state & !flag::WRITEBACK),
                };
                assert_eq!(is_allowed(state, event), expected, "{event:?} in {state:#x}");
                if expected {
                    // Other flags stay as they are.
                    let page = page(state | flag::LRU | flag::ACTIVE);
                    page.step(event);
                    assert_eq!(
                        page.flags.get(),
                        after | flag::LRU | flag::ACTIVE,
                        "{event:?} in {state:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn lines_of_one_event_have_one_effect() {
        for rule in TABLE {
            assert_eq!(effect(rule.event), (rule.sets, rule.clears), "{rule:?}");
            assert_eq!(
                (rule.has | rule.lacks | rule.sets | rule.clears) & !STATE,
                0,
                "{rule:?}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "Unlock of a page")]
    fn what_the_table_does_not_have_is_refused() {
        page(flag::UPTODATE).step(Event::Unlock);
    }

    #[test]
    #[should_panic(expected = "changes by `step` only")]
    fn flags_of_the_state_are_not_set_beside_the_table() {
        page(0).set_flags(flag::DIRTY | flag::LRU);
    }
}
