//! The dirty log of the window.

use faultlab_abi::dev;
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::PAGE_BYTES;

use crate::states::store;
use crate::{Lab, Window};

/// Pages that are stored to: not a divisor of anything.
const STORED: usize = 13;

pub(crate) fn check(lab: &Lab, Window { start, bytes }: Window) {
    let pages = bytes / PAGE_BYTES;
    let stored = STORED.min(pages);
    let dirty = || lab.device.count(dev::DIRTY_PAGES, start, bytes);
    let protect = || lab.device.range(dev::WRITE_PROTECT, start, bytes);
    store(start, bytes, 1);
    lab.expect_errno("dirty log: DIRTY_PAGES while off", dirty(), Errno::EINVAL);
    for round in ["first", "again"] {
        lab.expect_ok("dirty log: WRITE_PROTECT", protect());
        lab.expect_count(round, dirty(), 0);
        store(start, stored * PAGE_BYTES, 1);
        lab.expect_count("dirty log: stored to", dirty(), stored);
        lab.expect_count("dirty log: asked twice", dirty(), stored);
        let second = start.wrapping_add(PAGE_BYTES);
        let part = lab.device.count(dev::DIRTY_PAGES, second, bytes - PAGE_BYTES);
        lab.expect_count("dirty log: without the first page", part, stored - 1);
    }
    store(start, bytes, 1);
    lab.expect_count("dirty log: all stored to", dirty(), pages);
    lab.expect_ok("dirty log: DIRTY_STOP", lab.device.number(dev::DIRTY_STOP, 0));
    lab.expect_ok("dirty log: DIRTY_STOP twice", lab.device.number(dev::DIRTY_STOP, 0));
    lab.expect_errno("dirty log: DIRTY_PAGES once stopped", dirty(), Errno::EINVAL);
    store(start, bytes, 1);
}
