//! `/dev/faultlab`, through which only the laboratory's services are asked for.

use core::ffi::CStr;

use faultlab_abi::dev::{self, HostInfo, PhaseArgs, Range, RangeCount, Samples, SkipArgs};
use faultlab_programs::sys::memory::{self, MAP_SHARED, PAGE_BYTES, PROT_READ};
use faultlab_programs::sys::{self, Errno};

/// The open device; closed with the process.
pub(crate) struct Lab {
    descriptor: i32,
}

impl Lab {
    /// Opens the device; `None` where there is none.
    pub(crate) fn open() -> Option<Lab> {
        let mut path = [0; dev::PATH.len() + 1];
        path[..dev::PATH.len()].copy_from_slice(dev::PATH.as_bytes());
        let path = CStr::from_bytes_until_nul(&path).ok()?;
        sys::open_read_write(path).ok().map(|descriptor| Lab { descriptor })
    }

    /// So many scenarios follow.
    pub(crate) fn plan(&self, scenarios: u64) -> Result<(), Errno> {
        self.number(dev::PLAN, scenarios as usize)
    }

    /// A scenario of the plan will not follow.
    pub(crate) fn skip(&self, args: &SkipArgs) -> Result<(), Errno> {
        self.give(dev::SKIP, args)
    }

    /// What follows is measured.
    #[inline(always)]
    pub(crate) fn begin(&self, phase: &PhaseArgs) -> Result<(), Errno> {
        self.give(dev::PHASE_BEGIN, phase)
    }

    /// Up to here.
    #[inline(always)]
    pub(crate) fn end(&self, phase: &PhaseArgs) -> Result<(), Errno> {
        self.give(dev::PHASE_END, phase)
    }

    /// Hands over the samples of the phase that ended last.
    pub(crate) fn samples(&self, cycles: &[u64]) -> Result<(), Errno> {
        let samples = Samples {
            cycles: cycles.as_ptr() as u64,
            count: cycles.len() as u64,
        };
        self.give(dev::SAMPLES, &samples)
    }

    /// How the host backs memory.
    pub(crate) fn host_info(&self) -> Result<HostInfo, Errno> {
        let mut info = HostInfo::default();
        self.take(dev::HOST_INFO, &mut info)?;
        Ok(info)
    }

    /// Drops the host's backing of present pages.
    pub(crate) fn cold(&self, range: Range) -> Result<(), Errno> {
        self.give(dev::COLD, &range)
    }

    /// Drops the host's backing of the frames that are allocated next.
    pub(crate) fn cold_free(&self, pages: usize) -> Result<(), Errno> {
        self.number(dev::COLD_FREE, pages)
    }

    /// Makes the host back the frames that are allocated next.
    pub(crate) fn warm_free(&self, pages: usize) -> Result<(), Errno> {
        self.number(dev::WARM_FREE, pages)
    }

    /// How many bytes around a load that faults are mapped with it.
    pub(crate) fn fault_around(&self, bytes: usize) -> Result<(), Errno> {
        self.number(dev::FAULT_AROUND, bytes)
    }

    /// How many pages of a range the host has backed.
    pub(crate) fn present(&self, range: Range) -> Result<u64, Errno> {
        self.count(dev::PRESENT, range)
    }

    /// Write-protects pages of the window on the host, and logs the next store to each.
    pub(crate) fn write_protect(&self, range: Range) -> Result<(), Errno> {
        self.give(dev::WRITE_PROTECT, &range)
    }

    /// How many pages of the window were stored to since.
    pub(crate) fn dirty_pages(&self, range: Range) -> Result<u64, Errno> {
        self.count(dev::DIRTY_PAGES, range)
    }

    /// Ends the log.
    pub(crate) fn dirty_stop(&self) -> Result<(), Errno> {
        self.number(dev::DIRTY_STOP, 0)
    }

    /// Times as many exits as there are samples, in ring 0: one of the calls for that.
    pub(crate) fn exits(&self, request: u64, cycles: &mut [u64]) -> Result<(), Errno> {
        let mut samples = Samples {
            cycles: cycles.as_mut_ptr() as u64,
            count: cycles.len() as u64,
        };
        self.take(request, &mut samples)
    }

    /// Maps the page whose every access exits to the VMM. It stays mapped.
    pub(crate) fn scratch(&self) -> Result<*const u32, Errno> {
        memory::map(PAGE_BYTES, PROT_READ, MAP_SHARED, self.descriptor).map(|page| page as *const u32)
    }

    /// Maps the first `bytes` of the window.
    pub(crate) fn window(&self, bytes: usize) -> Result<*mut u8, Errno> {
        memory::map_device(self.descriptor, dev::WINDOW_OFFSET, bytes)
    }

    fn count(&self, request: u64, Range { addr, len }: Range) -> Result<u64, Errno> {
        let mut count = RangeCount { addr, len, pages: 0 };
        self.take(request, &mut count)?;
        Ok(count.pages)
    }

    fn number(&self, request: u64, number: usize) -> Result<(), Errno> {
        // SAFETY: the argument is a number. Backing that is dropped held measured data that nobody reads.
        unsafe { sys::ioctl(self.descriptor, request, number) }.map(drop)
    }

    /// A call that reads a record of the interface. (What a range names is pages of the caller's, and data that nobody reads.)
    #[inline(always)]
    fn give<T>(&self, request: u64, record: &T) -> Result<(), Errno> {
        // SAFETY: callers give the record that the request takes; it is only read.
        unsafe { sys::ioctl(self.descriptor, request, record as *const T as usize) }.map(drop)
    }

    /// A call that fills a record of the interface, or a buffer that it names.
    fn take<T>(&self, request: u64, record: &mut T) -> Result<(), Errno> {
        // SAFETY: callers give the record that the request takes, which is theirs, as is the buffer.
        unsafe { sys::ioctl(self.descriptor, request, record as *mut T as usize) }.map(drop)
    }
}
