//! The descriptor that takes the place of the laboratory on plain Linux: phases and their samples, as records.

use core::mem::size_of;
use core::slice;

use faultlab_abi::dev::{PhaseArgs, SkipArgs};
use faultlab_abi::record::{Header, PHASE, Phase, SKIP};
use faultlab_programs::sys::process::{self, Faults};
use faultlab_programs::sys::{self, Errno};

/// A descriptor for records; the caller's, never closed.
#[derive(Clone, Copy)]
pub(crate) struct Recorder {
    descriptor: i32,
}

impl Recorder {
    /// Records go to `descriptor`.
    pub(crate) fn new(descriptor: i32) -> Recorder {
        Recorder { descriptor }
    }

    /// The process's faults so far; kept until the phase has ended.
    #[inline(always)]
    pub(crate) fn begin(self) -> Faults {
        process::faults()
    }

    /// The phase that `begin` began has ended.
    pub(crate) fn phase(self, args: &PhaseArgs, begin: Faults, end: Faults, cycles: &[u64]) -> Result<(), Errno> {
        let phase = Phase {
            args: *args,
            minflt: end.minor.wrapping_sub(begin.minor),
            majflt: end.major.wrapping_sub(begin.major),
        };
        self.header(PHASE, size_of::<Phase>() + size_of_val(cycles))?;
        self.write(bytes_of(&phase))?;
        // SAFETY: numbers may be read as bytes.
        self.write(unsafe { slice::from_raw_parts(cycles.as_ptr().cast(), size_of_val(cycles)) })
    }

    /// A row will not come.
    pub(crate) fn skip(self, args: &SkipArgs) -> Result<(), Errno> {
        self.header(SKIP, size_of::<SkipArgs>())?;
        self.write(bytes_of(args))
    }

    fn header(self, kind: u64, bytes: usize) -> Result<(), Errno> {
        self.write(bytes_of(&Header {
            kind,
            bytes: bytes as u64,
        }))
    }

    fn write(self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let written = sys::write(self.descriptor, bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

/// A record of the interface as it is in memory: all of them are free of padding.
fn bytes_of<T>(record: &T) -> &[u8] {
    // SAFETY: callers give records without padding, so every byte is initialised.
    unsafe { slice::from_raw_parts((record as *const T).cast(), size_of::<T>()) }
}
