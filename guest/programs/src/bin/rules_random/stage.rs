//! Several processes that take turns: which one makes the next call is drawn like the call, and the others wait.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use faultlab_programs::arena::{RW, SHARED, must};
use faultlab_programs::println;
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::{self, Errno, address_space, files};

/// Processes at a time.
const PROCESSES: usize = 4;
/// Segments known at a time.
pub(crate) const SEGMENTS: usize = 8;

/// What all processes share.
struct Board {
    /// Who makes the next call.
    turn: AtomicU32,
    /// Its number.
    next: AtomicU32,
    /// A bit for each living process.
    alive: AtomicU32,
    /// Who is about to end, or `NOBODY`: its parent has the turn, and waits for it.
    leaving: AtomicU32,
    parents: [AtomicU32; PROCESSES],
    pids: [AtomicI32; PROCESSES],
    segments: [AtomicI32; SEGMENTS],
}

const NOBODY: u32 = u32::MAX;

/// One process's view of the others.
pub(crate) struct Stage {
    board: &'static Board,
    /// Which of the processes this is. The first one is 0 and stays to the end.
    pub(crate) me: usize,
    /// A file of one page, for accesses that must not kill.
    pub(crate) scratch: usize,
}

impl Stage {
    /// With this process alone.
    pub(crate) fn set() -> Self {
        let page = must(faultlab_programs::arena::mmap(0, 1, RW, SHARED));
        // SAFETY: a page of zeroes that is never unmapped; every field is an atomic number, which may be zero.
        let board = unsafe { &*(page as *const Board) };
        board.leaving.store(NOBODY, Ordering::Relaxed);
        board.alive.store(1, Ordering::Relaxed);
        board.pids[0].store(process::id(), Ordering::Relaxed);
        for id in &board.segments {
            id.store(-1, Ordering::Relaxed);
        }
        // SAFETY: only reads the name.
        let scratch = must(unsafe { files::memfd_create([c"scratch".as_ptr() as usize, 0]) });
        // SAFETY: changes the file only.
        must(unsafe { files::ftruncate([scratch, 4096]) });
        Self { board, me: 0, scratch }
    }

    /// The number of the next call, when it is this process's turn. Waits for processes that end meanwhile.
    pub(crate) fn wait_for_turn(&self) -> u32 {
        loop {
            while self.board.turn.load(Ordering::Acquire) as usize != self.me {
                // SAFETY: touches no memory.
                must(unsafe { address_space::sched_yield([]) });
            }
            let leaving = self.board.leaving.load(Ordering::Relaxed);
            if leaving == NOBODY {
                return self.board.next.load(Ordering::Relaxed);
            }
            self.bury(leaving as usize);
        }
    }

    /// Waits for a child's end, and passes the turn on.
    fn bury(&self, child: usize) {
        match process::wait(self.board.pids[child].load(Ordering::Relaxed)) {
            Ok(status) => println!("  p{child} ended with {}", process::exit_status(status)),
            Err(errno) => println!("  p{child} was lost: {errno}"),
        }
        self.board.pids[child].store(0, Ordering::Relaxed);
        self.board.leaving.store(NOBODY, Ordering::Relaxed);
        self.board.alive.fetch_and(!(1 << child), Ordering::Relaxed);
        // Who is next was drawn before the end.
        self.pass_to(0);
    }

    /// The call is made: another may make call `number`. `choice` draws who.
    pub(crate) fn pass(&self, number: u32, choice: usize) {
        self.board.next.store(number, Ordering::Relaxed);
        let alive = self.board.alive.load(Ordering::Relaxed);
        let who = (0..PROCESSES).filter(|who| alive >> who & 1 == 1);
        let chosen = who.clone().nth(choice % who.count()).unwrap_or(0);
        self.pass_to(chosen);
    }

    fn pass_to(&self, who: usize) {
        self.board.turn.store(who as u32, Ordering::Release);
    }

    fn has_children(&self) -> bool {
        let alive = self.board.alive.load(Ordering::Relaxed);
        (1..PROCESSES)
            .any(|who| alive >> who & 1 == 1 && self.board.parents[who].load(Ordering::Relaxed) as usize == self.me)
    }

    /// Forks, if there is room for one more; which process this is afterwards, and which one is new.
    pub(crate) fn fork(&mut self) -> Result<Option<usize>, Errno> {
        let alive = self.board.alive.load(Ordering::Relaxed);
        let Some(new) = (1..PROCESSES).find(|who| alive >> who & 1 == 0) else {
            return Ok(None);
        };
        self.board.parents[new].store(self.me as u32, Ordering::Relaxed);
        match process::fork()? {
            Fork::Child => self.me = new,
            Fork::Parent(pid) => {
                self.board.pids[new].store(pid, Ordering::Relaxed);
                self.board.alive.fetch_or(1 << new, Ordering::Relaxed);
            }
        }
        Ok(Some(new))
    }

    /// Whether this process may end now: somebody can wait for it, and it leaves nobody behind whom nobody could wait for.
    pub(crate) fn may_end(&self) -> bool {
        self.me != 0 && !self.has_children()
    }

    /// Announces this process's end after call `number`; it must follow at once.
    pub(crate) fn announce_end(&self, number: u32) {
        self.board.next.store(number, Ordering::Relaxed);
        self.board.leaving.store(self.me as u32, Ordering::Relaxed);
        self.pass_to(self.board.parents[self.me].load(Ordering::Relaxed) as usize);
    }

    /// Ends this process, or lets others end first.
    pub(crate) fn end_in_turn(&self, number: u32) {
        if self.may_end() {
            self.announce_end(number);
            sys::exit(0);
        }
        // Parents are older than children where numbers are not reused; with reuse, some process without children is found all the same.
        let alive = self.board.alive.load(Ordering::Relaxed);
        let parent_of_some = |who: usize| {
            (1..PROCESSES).any(|child| {
                alive >> child & 1 == 1 && self.board.parents[child].load(Ordering::Relaxed) as usize == who
            })
        };
        let leaf = (1..PROCESSES).find(|&who| alive >> who & 1 == 1 && !parent_of_some(who));
        self.pass_to(leaf.unwrap_or(0));
    }

    /// Whether this process is the only one.
    pub(crate) fn is_alone(&self) -> bool {
        self.board.alive.load(Ordering::Relaxed) == 1
    }

    /// Which process has an ID: `p0` and so on, `nobody` for 0, `gone` for one that ended.
    pub(crate) fn name_of(&self, pid: i32) -> &'static str {
        const NAMES: [&str; PROCESSES] = ["p0", "p1", "p2", "p3"];
        let found = self
            .board
            .pids
            .iter()
            .position(|known| known.load(Ordering::Relaxed) == pid);
        match (pid, found) {
            (0, _) => "nobody",
            (_, Some(who)) => NAMES[who],
            (_, None) => "gone",
        }
    }

    /// The ID of a known segment; -1 if there is none.
    pub(crate) fn segment(&self, index: usize) -> i32 {
        self.board.segments[index].load(Ordering::Relaxed)
    }

    /// Keeps a segment's ID.
    pub(crate) fn set_segment(&self, index: usize, id: i32) {
        self.board.segments[index].store(id, Ordering::Relaxed);
    }
}
