//! The operations, one after another, on a good disk and a bad one, with and without huge pages, and with allocations that fail.

use super::*;

/// Runs the operations.
///
/// # Panics
/// When the manager does anything else than the model.
pub fn run(ops: &[Op]) {
    let world = World::new();
    world.memory.set_page_cluster(3);
    run_in(world, ops);
}

/// As [`run`], on a disk that fails one read in `reads` and one write in `writes` (0: none), as `seed` will have it.
///
/// # Panics
/// As [`run`].
pub fn run_on_bad_disk(ops: &[Op], reads: u64, writes: u64, seed: u64) {
    let mut world = World::new();
    world.reads_fail = reads != 0;
    world.memory.set_page_cluster((seed % 6) as u32);
    world.memory.platform.disk.borrow_mut().fails_one_in = Some((reads, writes, seed));
    run_in(world, ops);
}

/// Returns the pages swapped out and in.
pub(crate) fn run_in(mut world: World, ops: &[Op]) -> (u64, u64) {
    let free_at_start = {
        let alike = machine(FRAMES, 0);
        for (area, &config) in world.areas.iter().enumerate() {
            alike.swapon(area, config).expect("swapon");
        }
        alike.nr_free_pages()
    };
    for (i, op) in ops.iter().enumerate() {
        world.apply(op);
        world.check(i % 16 == 15);
    }
    world.check(true);
    let disk = world.memory.platform.disk.borrow();
    let swapped = (disk.writes, disk.reads);
    drop(disk);
    world.end(free_at_start);
    swapped
}

/// As [`run_with_failures`], with memory for huge pages, which everything gets that can have them.
///
/// # Panics
/// As [`run`].
pub fn run_huge(ops: &[(Op, Option<u64>)], frames: u32) {
    let (mut world, free_at_start) = World::with_huge_pages(frames);
    for (i, (op, failure)) in ops.iter().enumerate() {
        world.applying(op, *failure);
        world.check(i % 16 == 15);
    }
    world.check(true);
    world.end(free_at_start);
}

/// As [`run`]; where a number is given, the attempts to allocate from that one of the operation on fail, forty in a row.
///
/// # Panics
/// As [`run`].
pub fn run_with_failures(ops: &[(Op, Option<u64>)]) {
    let free_at_start = machine(FRAMES, SLOTS).nr_free_pages();
    let mut world = World::new();
    // A failure and a gap in one call of `mprotect` cannot be told apart.
    world.unmerged = true;
    for (op, failure) in ops {
        world.applying(op, *failure);
        world.check(false);
    }
    world.check(true);
    world.end(free_at_start);
}

impl World {
    /// A machine of so many frames where everything gets huge pages that can have them, with a file system that has a limit; and how many frames
    /// are free at the start.
    pub(crate) fn with_huge_pages(frames: u32) -> (Self, u64) {
        let slots = 2 * frames;
        let free_at_start = machine(frames, slots).nr_free_pages();
        let mut world = Self::on(machine(frames, slots));
        world.areas = [area(slots)].into();
        world.huge = true;
        world.unmerged = true;
        world.mount_limited();
        world.memory.set_anon_policy(AnonPolicy::Always);
        world.memory.set_shmem_policy(ShmemPolicy::Force);
        (world, free_at_start)
    }
}
