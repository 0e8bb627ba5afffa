//! Arguments that must be refused, each with its `errno`.

use faultlab_abi::dev::{self, Range, RangeCount, Samples};
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::{self, PAGE_BYTES};

use crate::{Lab, Window};

/// Where nothing is mapped.
const WILD: usize = 0x7000_0000_0000;

/// Calls about a range.
const RANGES: [(&str, u64); 5] = [
    ("COLD", dev::COLD),
    ("WARM", dev::WARM),
    ("PRESENT", dev::PRESENT),
    ("WRITE_PROTECT", dev::WRITE_PROTECT),
    ("DIRTY_PAGES", dev::DIRTY_PAGES),
];

/// Calls that time exits.
const EXITS: [(&str, u64); 4] = [
    ("PIO_EXITS", dev::PIO_EXITS),
    ("CPUID_EXITS", dev::CPUID_EXITS),
    ("HLT_EXITS", dev::HLT_EXITS),
    ("HLT_WAKES", dev::HLT_WAKES),
];

pub(crate) fn of_all(lab: &Lab) {
    let device = lab.device;
    for (name, request) in RANGES {
        for (addr, len, errno) in [
            (1, PAGE_BYTES as u64, Errno::EINVAL),
            (WILD as u64, 1, Errno::EINVAL),
            (!0 << 12, 1 << 13, Errno::EINVAL),
            (WILD as u64, PAGE_BYTES as u64, Errno::EFAULT),
            (0xffff_8880_0010_0000, PAGE_BYTES as u64, Errno::EFAULT),
            (0, 1 << 62, Errno::EFAULT),
        ] {
            let mut count = RangeCount { addr, len, pages: 7 };
            lab.expect_errno(name, device.record(request, &mut count), errno);
            lab.expect_count(name, Ok(count.pages), 7);
        }
        lab.expect_errno(name, device.number(request, WILD), Errno::EFAULT);
        let mut empty = RangeCount::default();
        lab.expect_ok(name, device.record(request, &mut empty));
    }
    // This page of the program itself, which may be read and executed only.
    let own = (of_all as *const () as usize & !(PAGE_BYTES - 1)) as *const u8;
    for (name, request) in [("COLD", dev::COLD), ("WRITE_PROTECT", dev::WRITE_PROTECT)] {
        let result = device.range(request, own, PAGE_BYTES);
        lab.expect_errno(name, result, Errno::EACCES);
    }
    for (name, request) in EXITS {
        for (cycles, count, errno) in [
            (4, 1, Errno::EINVAL),
            (WILD as u64, 65_537, Errno::EINVAL),
            (WILD as u64, u64::MAX, Errno::EINVAL),
            (WILD as u64, 1, Errno::EFAULT),
            (0xffff_8880_0010_0000, 1, Errno::EFAULT),
        ] {
            lab.expect_errno(name, device.record(request, &mut Samples { cycles, count }), errno);
        }
        lab.expect_errno(name, device.number(request, WILD), Errno::EFAULT);
        lab.expect_ok(name, device.samples(request, &mut []));
    }
    lab.expect_errno("HOST_INFO", device.number(dev::HOST_INFO, WILD), Errno::EFAULT);
    lab.expect_errno("unknown call", device.number(dev::HLT_WAKES + 1, 0), Errno::ENOTTY);
    for (name, offset, bytes) in [
        ("mmap between the devices", PAGE_BYTES as u64, PAGE_BYTES),
        ("mmap of two scratch pages", 0, 2 * PAGE_BYTES),
        (
            "mmap past the window",
            dev::WINDOW_OFFSET + lab.info.window_bytes,
            PAGE_BYTES,
        ),
        (
            "mmap of more than the window",
            dev::WINDOW_OFFSET,
            lab.info.window_bytes as usize + PAGE_BYTES,
        ),
        ("mmap far past the window", !0 << 12, PAGE_BYTES),
        ("mmap of all", dev::WINDOW_OFFSET, !0 << 12),
        ("mmap of nothing", dev::WINDOW_OFFSET, 0),
    ] {
        lab.expect_errno(
            name,
            memory::map_device(device.descriptor, offset, bytes),
            Errno::EINVAL,
        );
    }
}

/// The window is no memory that the kernel would copy from or to, and the dirty log knows nothing else.
pub(crate) fn of_window(lab: &Lab, window: Window) {
    let device = lab.device;
    for (name, request) in EXITS {
        let mut samples = Samples {
            cycles: window.start as u64,
            count: 1,
        };
        lab.expect_errno(name, device.record(request, &mut samples), Errno::EFAULT);
    }
    lab.expect_errno(
        "HOST_INFO",
        device.number(dev::HOST_INFO, window.start as usize),
        Errno::EFAULT,
    );
    let mut range = Range::default();
    let own = (&raw mut range as usize) & !(PAGE_BYTES - 1);
    let result = device.range(dev::WRITE_PROTECT, own as *const u8, PAGE_BYTES);
    lab.expect_errno("WRITE_PROTECT of memory", result, Errno::EFAULT);
    if lab.info.granule_bytes > PAGE_BYTES as u64 {
        let result = device.range(dev::COLD, window.start, PAGE_BYTES);
        lab.expect_errno("COLD of less than a granule", result, Errno::EINVAL);
    }
}
