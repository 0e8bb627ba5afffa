//! What the host has backed, step by step.

use faultlab_abi::dev::{self, host_flag};
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::{self, MAP_ANONYMOUS, MAP_PRIVATE, PAGE_BYTES, PROT_READ, PROT_WRITE};

use crate::{Lab, Window};

/// Pages of ordinary memory that are used.
const PAGES: usize = 32;
/// Exits of each kind.
const EXITS: usize = 16;

/// Stores the page's number to every `step`th page of `[start, start + bytes)`.
pub(crate) fn store(start: *mut u8, bytes: usize, step: usize) {
    for page in (0..bytes / PAGE_BYTES).step_by(step) {
        // SAFETY: callers give mapped, writable, page-aligned memory of so many bytes.
        unsafe {
            start
                .add(page * PAGE_BYTES)
                .cast::<u64>()
                .write_volatile(page as u64 + 1);
        };
    }
}

/// Pages whose first word is not what [`store`] put there, or (`zero`) not 0.
fn wrong(start: *mut u8, bytes: usize, step: usize, zero: bool) -> u64 {
    let pages = (0..bytes / PAGE_BYTES).step_by(step);
    let bad = pages.filter(|&page| {
        // SAFETY: as for `store`.
        let word = unsafe { start.add(page * PAGE_BYTES).cast::<u64>().read_volatile() };
        word != if zero { 0 } else { page as u64 + 1 }
    });
    bad.count() as u64
}

/// Memory that the guest's allocator gave.
pub(crate) fn of_memory(lab: &Lab) {
    let bytes = PAGES * PAGE_BYTES;
    let start = match memory::map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1) {
        Ok(start) => start,
        Err(errno) => return lab.expect("memory: mmap", errno, "an address", false),
    };
    lab.expect_errno(
        "memory: PRESENT before the first touch",
        lab.device.count(dev::PRESENT, start, bytes),
        Errno::EFAULT,
    );
    store(start, bytes, 1);
    let present = || lab.device.count(dev::PRESENT, start, bytes);
    lab.expect_count("memory: touched, present", present(), PAGES);
    let cold = lab.device.range(dev::COLD, start, bytes);
    if lab.info.granule_bytes > PAGE_BYTES as u64 {
        lab.expect_errno("memory: COLD of less than a granule", cold, Errno::EINVAL);
        lab.expect_errno(
            "memory: COLD_FREE",
            lab.device.number(dev::COLD_FREE, 1),
            Errno::EOPNOTSUPP,
        );
        return;
    }
    lab.expect_ok("memory: COLD", cold);
    lab.expect_count("memory: cold, present", present(), 0);
    let zero = !lab.has(host_flag::COLD_KEEPS);
    lab.expect_count("memory: wrong contents", Ok(wrong(start, bytes, 1, zero)), 0);
    lab.expect_ok("memory: COLD", lab.device.range(dev::COLD, start, bytes));
    lab.expect_ok("memory: WARM", lab.device.range(dev::WARM, start, bytes / 2));
    lab.expect_count("memory: half warm, present", present(), PAGES / 2);
    lab.expect_ok("memory: COLD_FREE", lab.device.number(dev::COLD_FREE, 8));
}

/// The window: every granule cold, then one page of each touched.
pub(crate) fn of_window(lab: &Lab, Window { start, bytes }: Window) {
    let granule = lab.info.granule_bytes as usize;
    let (pages, step) = (bytes / PAGE_BYTES, granule / PAGE_BYTES);
    let present = || lab.device.count(dev::PRESENT, start, bytes);
    lab.expect_count(
        "window: fresh, present",
        present(),
        if lab.populated { pages } else { 0 },
    );
    store(start, bytes, step);
    lab.expect_count("window: touched, present", present(), pages);
    lab.expect_count(
        "window: touched, wrong contents",
        Ok(wrong(start, bytes, step, false)),
        0,
    );
    lab.expect_ok("window: COLD", lab.device.range(dev::COLD, start, bytes));
    lab.expect_count("window: cold, present", present(), 0);
    let zero = !lab.has(host_flag::COLD_KEEPS);
    lab.expect_count("window: cold, wrong contents", Ok(wrong(start, bytes, step, zero)), 0);
    lab.expect_ok("window: COLD", lab.device.range(dev::COLD, start, bytes));
    // The second half, or all of a window of one granule.
    let from = bytes / granule / 2 * granule;
    lab.expect_ok(
        "window: WARM",
        lab.device.range(dev::WARM, start.wrapping_add(from), bytes - from),
    );
    lab.expect_count("window: part warm, present", present(), (bytes - from) / PAGE_BYTES);
    store(start, bytes, step);
    lab.expect_count("window: touched again, present", present(), pages);
    if granule < bytes {
        let second = start.wrapping_add(granule);
        lab.expect_ok(
            "window: COLD of one granule",
            lab.device.range(dev::COLD, second, granule),
        );
        lab.expect_count("window: one granule cold, present", present(), pages - step);
    }
}

/// Exits that ring 0 provokes: each takes time.
pub(crate) fn exits(lab: &Lab) {
    let calls = [
        ("PIO_EXITS", dev::PIO_EXITS),
        ("CPUID_EXITS", dev::CPUID_EXITS),
        ("HLT_EXITS", dev::HLT_EXITS),
        ("HLT_WAKES", dev::HLT_WAKES),
    ];
    for (name, request) in calls {
        let mut cycles = [0; EXITS];
        lab.expect_ok(name, lab.device.samples(request, &mut cycles));
        let untimed = cycles.iter().filter(|cycles| **cycles == 0).count();
        lab.expect_count(name, Ok((EXITS - untimed) as u64), EXITS);
    }
}
