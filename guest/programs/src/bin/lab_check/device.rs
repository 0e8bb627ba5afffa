//! `/dev/faultlab`, call by call.

use faultlab_abi::dev::{self, HostInfo, Range, RangeCount, Samples};
use faultlab_programs::sys::{self, Errno};

/// The open device; closed with the process.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    pub(crate) descriptor: i32,
}

impl Device {
    pub(crate) fn open() -> Result<Device, Errno> {
        let descriptor = sys::open_read_write(c"/dev/faultlab")?;
        Ok(Device { descriptor })
    }

    /// Any call with a number.
    pub(crate) fn number(self, request: u64, argument: usize) -> Result<(), Errno> {
        // SAFETY: callers give numbers, or addresses that the device must refuse or that are theirs to lose.
        unsafe { sys::ioctl(self.descriptor, request, argument) }.map(drop)
    }

    /// A call that gives or fills a record of the interface.
    pub(crate) fn record<T>(self, request: u64, record: &mut T) -> Result<(), Errno> {
        self.number(request, &raw mut *record as usize)
    }

    /// A call about a range.
    pub(crate) fn range(self, request: u64, address: *const u8, bytes: usize) -> Result<(), Errno> {
        let mut range = Range {
            addr: address as u64,
            len: bytes as u64,
        };
        self.record(request, &mut range)
    }

    /// A call that counts pages in a range.
    pub(crate) fn count(self, request: u64, address: *const u8, bytes: usize) -> Result<u64, Errno> {
        let mut range = RangeCount {
            addr: address as u64,
            len: bytes as u64,
            pages: u64::MAX,
        };
        self.record(request, &mut range)?;
        Ok(range.pages)
    }

    /// A call that times exits.
    pub(crate) fn samples(self, request: u64, cycles: &mut [u64]) -> Result<(), Errno> {
        let mut samples = Samples {
            cycles: cycles.as_mut_ptr() as u64,
            count: cycles.len() as u64,
        };
        self.record(request, &mut samples)
    }

    pub(crate) fn info(self) -> Result<HostInfo, Errno> {
        let mut info = HostInfo::default();
        self.record(dev::HOST_INFO, &mut info)?;
        Ok(info)
    }
}
