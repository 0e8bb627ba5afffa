//! One measured phase: marks, the timed loop, the samples.

use core::fmt;
use core::slice;

use faultlab_abi::dev::{self, PhaseArgs};
use faultlab_programs::stats;
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::{self, MAP_ANONYMOUS, MAP_PRIVATE, PAGE_BYTES, PROT_READ, PROT_WRITE};

use crate::lab::Lab;
use crate::scenarios::Skip;

/// Why a scenario did not give its row.
pub(crate) enum Failure {
    /// This call failed.
    Call(&'static str, Errno),
    /// It cannot be measured here.
    Skip(Skip),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Call(call, errno) => write!(f, "{call}: {errno}"),
            Failure::Skip(Skip(reason)) => write!(f, "skipped: {reason}"),
        }
    }
}

/// Runs phases; rehearsals are the same code with marks and samples left out.
pub(crate) struct Phases {
    lab: Option<Lab>,
    /// `None` while rehearsing.
    scenario: Option<&'static str>,
    samples: &'static mut [u64],
    /// Samples of the phase that ended last.
    count: usize,
}

impl Phases {
    /// Opens the lab device, if there is one, and gets a buffer for `capacity` samples.
    pub(crate) fn open(capacity: usize) -> Result<Phases, Failure> {
        let bytes = (capacity * size_of::<u64>()).next_multiple_of(PAGE_BYTES);
        let buffer = memory::map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1)
            .map_err(|errno| Failure::Call("mmap", errno))?;
        // SAFETY: fresh zeroed memory of that size, page-aligned, never unmapped and referred to by nothing else.
        let samples = unsafe { slice::from_raw_parts_mut(buffer.cast::<u64>(), capacity) };
        Ok(Phases {
            lab: Lab::open(),
            scenario: None,
            samples,
            count: 0,
        })
    }

    /// The lab device.
    pub(crate) fn lab(&self) -> Result<&Lab, Failure> {
        self.lab
            .as_ref()
            .ok_or(Failure::Skip(Skip("needs /dev/faultlab, which only the guest has")))
    }

    /// Whether this runs in the lab.
    pub(crate) fn in_lab(&self) -> bool {
        self.lab.is_some()
    }

    /// So many scenarios follow.
    pub(crate) fn plan(&self, scenarios: u64) -> Result<(), Failure> {
        match &self.lab {
            Some(lab) => lab.plan(scenarios).map_err(|errno| Failure::Call("ioctl PLAN", errno)),
            None => Ok(()),
        }
    }

    /// What follows is a rehearsal.
    pub(crate) fn rehearse(&mut self) {
        self.scenario = None;
    }

    /// What follows is this scenario's measurement.
    pub(crate) fn record(&mut self, scenario: &'static str) {
        self.scenario = Some(scenario);
    }

    /// The phase with nothing in it: twice, since the first finds its own code cold.
    pub(crate) fn empty(&mut self) -> Result<(), Failure> {
        self.record(dev::EMPTY_PHASE);
        self.run(PhaseArgs::default(), |_| Ok(()))?;
        self.run(PhaseArgs::default(), |_| Ok(()))
    }

    /// Times `operation` once for each of the pages `0..expected.count`; it returns the cycles that it took.
    #[inline(always)]
    pub(crate) fn time(&mut self, expected: PhaseArgs, operation: impl Fn(usize) -> u64) -> Result<(), Failure> {
        self.run(expected, |samples| {
            for (index, sample) in samples.iter_mut().enumerate() {
                *sample = operation(index);
            }
            Ok(())
        })
    }

    /// Times port-I/O exits, which only ring 0 can provoke.
    pub(crate) fn time_port_io(&mut self, expected: PhaseArgs) -> Result<(), Failure> {
        let lab = self.lab.take();
        let result = match &lab {
            Some(port) => self.run_with(lab.as_ref(), expected, |samples| {
                port.pio_exits(samples)
                    .map_err(|errno| Failure::Call("ioctl PIO_EXITS", errno))
            }),
            None => self.lab().map(drop),
        };
        self.lab = lab;
        result
    }

    /// Median and 99th percentile of the phase that ended last, in cycles.
    pub(crate) fn percentiles(&mut self) -> (u64, u64) {
        let samples = &mut self.samples[..self.count];
        samples.sort_unstable();
        (stats::percentile(samples, 50), stats::percentile(samples, 99))
    }

    #[inline(always)]
    fn run(&mut self, phase: PhaseArgs, body: impl FnOnce(&mut [u64]) -> Result<(), Failure>) -> Result<(), Failure> {
        let lab = self.lab.take();
        let result = self.run_with(lab.as_ref(), phase, body);
        self.lab = lab;
        result
    }

    #[inline(always)]
    fn run_with(
        &mut self,
        lab: Option<&Lab>,
        mut phase: PhaseArgs,
        body: impl FnOnce(&mut [u64]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.count = phase.count as usize;
        let samples = &mut self.samples[..self.count];
        // The buffer must be resident, lest the phase fault on it.
        samples.fill(u64::MAX);
        let marked = lab.zip(self.scenario);
        if let Some((lab, scenario)) = marked {
            phase.scenario = padded(scenario);
            phase.pattern = padded("seq");
            phase.page_bytes = PAGE_BYTES as u64;
            lab.begin(&phase)
                .map_err(|errno| Failure::Call("ioctl PHASE_BEGIN", errno))?;
        }
        let result = body(samples);
        if let Some((lab, _)) = marked {
            lab.end(&phase)
                .map_err(|errno| Failure::Call("ioctl PHASE_END", errno))?;
            if !samples.is_empty() {
                lab.samples(samples)
                    .map_err(|errno| Failure::Call("ioctl SAMPLES", errno))?;
            }
        }
        result
    }
}

fn padded(name: &str) -> [u8; dev::NAME_BYTES] {
    let mut bytes = [0; dev::NAME_BYTES];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}
