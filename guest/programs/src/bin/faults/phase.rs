//! One measured phase: marks, the timed loop, the samples.

use core::fmt::{self, Write};
use core::slice;

use faultlab_abi::dev::{self, PhaseArgs, SkipArgs, access};
use faultlab_abi::pattern::Pattern;
use faultlab_abi::scenario::Scenario;
use faultlab_programs::stats;
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::{self, MAP_ANONYMOUS, MAP_SHARED, PAGE_BYTES, PROT_READ, PROT_WRITE};

use crate::lab::Lab;
use crate::order;
use crate::recorder::Recorder;

/// The call by which records go out.
const RECORD: &str = "write to --record";

/// Why a scenario did not give its row.
pub(crate) enum Failure {
    /// This call failed.
    Call(&'static str, Errno),
    /// It cannot be measured here, for this reason.
    Skip(&'static str),
    /// The state was set, but is not there: what was looked at, the page, and whether it had to be there.
    State(&'static str, usize, bool),
    /// What the host says of the window is not so: what was found, pages counted, and pages that had to be.
    Backing(&'static str, u64, u64),
    /// The child that measured failed, and has said why.
    Child,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Call(call, errno) => write!(f, "{call}: {errno}"),
            Failure::Skip(reason) => write!(f, "skipped: {reason}"),
            Failure::State(what, page, expected) => {
                let (is, be) = if *expected { ("is not", "be") } else { ("is", "not be") };
                write!(f, "{what}: page {page} {is} there, and must {be}")
            }
            Failure::Backing(what, found, expected) => write!(f, "{what}: {found} of {expected}"),
            Failure::Child => f.write_str("the child that measured failed"),
        }
    }
}

/// What is measured: one row.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) pattern: Pattern,
    /// One of [`access`].
    pub(crate) access: u64,
}

/// What the phase that comes is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The same code with marks left out.
    Rehearsal,
    /// The phase with nothing in it.
    Empty,
    /// The first or second half of a row.
    Half(u64),
}

/// Runs phases; rehearsals are the same code with marks and samples left out.
///
/// # Invariants
/// Samples and order are shared memory: a forked child measures into them.
pub(crate) struct Phases {
    lab: Option<Lab>,
    recorder: Option<Recorder>,
    mode: Mode,
    row: Row,
    seed: u64,
    samples: &'static mut [u64],
    order: &'static mut [u32],
    /// Where the samples of the running half begin.
    start: usize,
    /// Samples of the row so far.
    count: usize,
}

impl Phases {
    /// Opens the lab device, if there is one, and gets buffers for `capacity` samples. `seed` decides random orders.
    /// Without it, phases go to `recorder`, if there is one.
    pub(crate) fn open(capacity: usize, seed: u64, recorder: Option<Recorder>) -> Result<Phases, Failure> {
        let lab = Lab::open();
        Ok(Phases {
            recorder: recorder.filter(|_| lab.is_none()),
            lab,
            mode: Mode::Rehearsal,
            row: Row {
                scenario: Scenario::WarmTouch,
                pattern: Pattern::None,
                access: access::NONE,
            },
            seed,
            samples: shared(capacity)?,
            order: shared(capacity)?,
            start: 0,
            count: 0,
        })
    }

    /// The lab device.
    pub(crate) fn lab(&self) -> Result<&Lab, Failure> {
        self.lab
            .as_ref()
            .ok_or(Failure::Skip("needs /dev/faultlab, which only the guest has"))
    }

    /// Whether this runs in the lab.
    pub(crate) fn in_lab(&self) -> bool {
        self.lab.is_some()
    }

    /// How pages of this row are touched: one of [`access`].
    pub(crate) fn access(&self) -> u64 {
        self.row.access
    }

    /// So many scenarios follow.
    pub(crate) fn plan(&self, scenarios: u64) -> Result<(), Failure> {
        match &self.lab {
            Some(lab) => lab.plan(scenarios).map_err(|errno| Failure::Call("ioctl PLAN", errno)),
            None => Ok(()),
        }
    }

    /// Tells the lab why this row will not come, or why what came of it is not to be trusted.
    pub(crate) fn skip(&self, row: Row, failure: &Failure) -> Result<(), Failure> {
        if self.lab.is_none() && self.recorder.is_none() {
            return Ok(());
        }
        let (failed, reason) = match failure {
            Failure::Skip(reason) => (0, padded(format_args!("{reason}"))),
            other => (1, padded(format_args!("{other}"))),
        };
        let args = SkipArgs {
            scenario: padded(format_args!("{}", row.scenario.name())),
            pattern: padded(format_args!("{}", row.pattern)),
            access: row.access,
            failed,
            reason,
        };
        match (&self.lab, self.recorder) {
            (Some(lab), _) => lab.skip(&args).map_err(|errno| Failure::Call("ioctl SKIP", errno)),
            (None, Some(recorder)) => recorder.skip(&args).map_err(|errno| Failure::Call(RECORD, errno)),
            (None, None) => Ok(()),
        }
    }

    /// What follows is a rehearsal of this row.
    pub(crate) fn rehearse(&mut self, row: Row) {
        (self.row, self.mode, self.start) = (row, Mode::Rehearsal, 0);
    }

    /// What follows is the first (0) or second (1) half of this row.
    pub(crate) fn record(&mut self, half: u64) {
        self.mode = Mode::Half(half);
        self.start = if half == 0 { 0 } else { self.count };
    }

    /// The phase with nothing in it: twice, since the first finds its own code cold.
    pub(crate) fn empty(&mut self) -> Result<(), Failure> {
        self.mode = Mode::Empty;
        self.run(PhaseArgs::default(), |_, _| Ok(()))?;
        self.run(PhaseArgs::default(), |_, _| Ok(()))
    }

    /// Times `operation` once for each of the pages `0..expected.count`, in the order of the pattern; it returns the cycles
    /// that it took.
    #[inline(always)]
    pub(crate) fn time(&mut self, expected: PhaseArgs, operation: impl Fn(usize) -> u64) -> Result<(), Failure> {
        self.run(expected, |samples, order| {
            for (sample, index) in samples.iter_mut().zip(order) {
                *sample = operation(*index as usize);
            }
            Ok(())
        })
    }

    /// Lets the lab fill in the samples: of what only ring 0 can provoke, by the call `request` of this `name`.
    pub(crate) fn time_in_lab(&mut self, expected: PhaseArgs, name: &'static str, request: u64) -> Result<(), Failure> {
        let lab = self.lab.take();
        let result = match &lab {
            Some(device) => self.run_with(lab.as_ref(), expected, |samples, _| {
                device
                    .exits(request, samples)
                    .map_err(|errno| Failure::Call(name, errno))
            }),
            None => self.lab().map(drop),
        };
        self.lab = lab;
        result
    }

    /// Takes over what a child measured: so many samples.
    pub(crate) fn adopt(&mut self, samples: usize) {
        self.count = self.start + samples;
    }

    /// Samples, median and 99th percentile of the row, in cycles.
    pub(crate) fn summary(&mut self) -> (usize, u64, u64) {
        let samples = &mut self.samples[..self.count];
        samples.sort_unstable();
        (
            samples.len(),
            stats::percentile(samples, 50),
            stats::percentile(samples, 99),
        )
    }

    #[inline(always)]
    fn run(
        &mut self,
        phase: PhaseArgs,
        body: impl FnOnce(&mut [u64], &[u32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
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
        body: impl FnOnce(&mut [u64], &[u32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let count = phase.count as usize;
        self.count = self.start + count;
        // The buffers must be resident, lest the phase fault on them.
        let order = &mut self.order[..count];
        order::fill(self.row.pattern, order, self.seed);
        let samples = &mut self.samples[self.start..self.count];
        samples.fill(u64::MAX);
        let marked = lab.filter(|_| self.mode != Mode::Rehearsal);
        let recorder = self.recorder.filter(|_| self.mode != Mode::Rehearsal);
        if marked.is_some() || recorder.is_some() {
            label(&mut phase, &self.row, self.mode);
        }
        if let Some(lab) = marked {
            lab.begin(&phase)
                .map_err(|errno| Failure::Call("ioctl PHASE_BEGIN", errno))?;
        }
        let before = recorder.map(Recorder::begin);
        let result = body(samples, order);
        if let (Some(recorder), Some(before)) = (recorder, before) {
            let after = recorder.begin();
            recorder
                .phase(&phase, before, after, samples)
                .map_err(|errno| Failure::Call(RECORD, errno))?;
        }
        if let Some(lab) = marked {
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

/// Writes into a phase which row it belongs to.
fn label(phase: &mut PhaseArgs, row: &Row, mode: Mode) {
    let name = if mode == Mode::Empty {
        dev::EMPTY_PHASE
    } else {
        row.scenario.name()
    };
    phase.scenario = padded(format_args!("{name}"));
    phase.pattern = padded(format_args!("{}", row.pattern));
    if phase.page_bytes == 0 {
        phase.page_bytes = PAGE_BYTES as u64;
    }
    phase.access = row.access;
    phase.half = u64::from(mode == Mode::Half(1));
}

/// Zeroed memory that forked children share.
fn shared<T: Copy>(capacity: usize) -> Result<&'static mut [T], Failure> {
    let bytes = (capacity * size_of::<T>()).next_multiple_of(PAGE_BYTES);
    let buffer = memory::map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1)
        .map_err(|errno| Failure::Call("mmap", errno))?;
    // SAFETY: fresh zeroed memory of that size, page-aligned, never unmapped; `T` is one of this file's integers. Of a parent and
    // its child, one waits for the other, so the memory has one user at a time.
    Ok(unsafe { slice::from_raw_parts_mut(buffer.cast::<T>(), capacity) })
}

/// Text, NUL-padded, cut at the end of its field.
pub(crate) fn padded<const BYTES: usize>(text: fmt::Arguments<'_>) -> [u8; BYTES] {
    struct Field<'a>(&'a mut [u8], usize);

    impl Write for Field<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.0.len() - self.1;
            let taken = text.len().min(room);
            self.0[self.1..self.1 + taken].copy_from_slice(&text.as_bytes()[..taken]);
            self.1 += taken;
            Ok(())
        }
    }

    let mut bytes = [0; BYTES];
    // The field never fails.
    _ = Field(&mut bytes, 0).write_fmt(text);
    bytes
}
