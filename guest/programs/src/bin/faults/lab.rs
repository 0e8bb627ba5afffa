//! `/dev/faultlab`, through which only the laboratory's services are asked for.

use core::ffi::CStr;

use faultlab_abi::dev::{self, PhaseArgs, Range, Samples};
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
        // SAFETY: the argument is a number.
        unsafe { sys::ioctl(self.descriptor, dev::PLAN, scenarios as usize) }.map(drop)
    }

    /// What follows is measured.
    #[inline(always)]
    pub(crate) fn begin(&self, phase: &PhaseArgs) -> Result<(), Errno> {
        // SAFETY: the device reads a `PhaseArgs`.
        unsafe { sys::ioctl(self.descriptor, dev::PHASE_BEGIN, phase as *const PhaseArgs as usize) }.map(drop)
    }

    /// Up to here.
    #[inline(always)]
    pub(crate) fn end(&self, phase: &PhaseArgs) -> Result<(), Errno> {
        // SAFETY: the device reads a `PhaseArgs`.
        unsafe { sys::ioctl(self.descriptor, dev::PHASE_END, phase as *const PhaseArgs as usize) }.map(drop)
    }

    /// Hands over the samples of the phase that ended last.
    pub(crate) fn samples(&self, cycles: &[u64]) -> Result<(), Errno> {
        let samples = Samples {
            cycles: cycles.as_ptr() as u64,
            count: cycles.len() as u64,
        };
        // SAFETY: the device reads a `Samples` and the buffer that it names.
        unsafe { sys::ioctl(self.descriptor, dev::SAMPLES, &raw const samples as usize) }.map(drop)
    }

    /// Drops the host's backing of present pages. Their contents are lost.
    pub(crate) fn cold(&self, range: Range) -> Result<(), Errno> {
        // SAFETY: the device reads a `Range`; what the pages hold is measured data that nobody reads.
        unsafe { sys::ioctl(self.descriptor, dev::COLD, &raw const range as usize) }.map(drop)
    }

    /// Drops the host's backing of the frames that are allocated next.
    pub(crate) fn cold_free(&self, pages: usize) -> Result<(), Errno> {
        // SAFETY: the argument is a number.
        unsafe { sys::ioctl(self.descriptor, dev::COLD_FREE, pages) }.map(drop)
    }

    /// Makes the host back the frames that are allocated next.
    pub(crate) fn warm_free(&self, pages: usize) -> Result<(), Errno> {
        // SAFETY: the argument is a number.
        unsafe { sys::ioctl(self.descriptor, dev::WARM_FREE, pages) }.map(drop)
    }

    /// Times as many port-I/O exits as there are samples, in ring 0.
    pub(crate) fn pio_exits(&self, cycles: &mut [u64]) -> Result<(), Errno> {
        let samples = Samples {
            cycles: cycles.as_mut_ptr() as u64,
            count: cycles.len() as u64,
        };
        // SAFETY: the device reads a `Samples` and fills the buffer that it names, which is ours.
        unsafe { sys::ioctl(self.descriptor, dev::PIO_EXITS, &raw const samples as usize) }.map(drop)
    }

    /// Maps the page whose every access exits to the VMM. It stays mapped.
    pub(crate) fn scratch(&self) -> Result<*const u32, Errno> {
        memory::map(PAGE_BYTES, PROT_READ, MAP_SHARED, self.descriptor).map(|page| page as *const u32)
    }
}
