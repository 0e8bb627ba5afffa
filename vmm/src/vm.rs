//! A guest's configuration and its life: built, run once, and reported.
//!
//! # Invariants
//! The memory slot lives as long as the VM: [`Vm`] drops its fields in order, RAM last.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultlab_abi::layout::{
    CMDLINE_CHECK, CMDLINE_IDS, CMDLINE_OUT, CMDLINE_STRACE, CMDLINE_TTY, PAGE_SIZE, VIRTIO_MMIO_BASE,
};
use faultlab_abi::vmstat;
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress};

use crate::boot::files::{GuestFile, join};
use crate::boot::symbols::Symbols;
use crate::boot::{self, BootImage, CommandLine, Initrd};
use crate::bring_back::{BringBack, OutFile};
use crate::devices::Session;
use crate::devices::block::{BlockCounters, BlockDevice, Place};
use crate::devices::bus::{Bus, SWAP_DISKS_MAX};
use crate::devices::lab::LabDevice;
use crate::devices::virtio_mmio::VirtioMmio;
use crate::error::{BootError, Error, KvmError, SwapError};
use crate::host::Host;
use crate::host_events::HostEvents;
use crate::kvm_stats::KvmStats;
use crate::memory::dirty_log::{self, DirtyLog};
use crate::memory::{Backing, BackingOptions, DirtyMode, GuestRam, MemoryConfig, Prepare};
use crate::observer::{Observer, Vmstat};
use crate::outcome::{CrashReport, End, Outcome, WatchdogReport};
use crate::process;
use crate::swap_faults::SwapFaults;
use crate::swap_file::{SwapArea, SwapConfig, SwapFile};
use crate::swap_io::SwapIo;
use crate::timeline::Timeline;
use crate::timeline::clock::{GuestClock, host_tsc};
use crate::timeline::log::{Log, SharedLog};
use crate::timeline::requests::Requests;
use crate::trace_ring;
use crate::vcpu::kick::StopHandle;
use crate::vcpu::state::VcpuState;
use crate::vcpu::{self, Stopped};
use crate::watchdog::Watch;

/// Guest memory unless told otherwise.
pub const MEMORY_DEFAULT_BYTES: u64 = 64 << 20;

/// Three pages that Intel processors without "unrestricted guest" need, in the hole between RAM and 4 GiB, away from
/// the devices. Source: Linux, Documentation/virt/kvm/api.rst, 4.36 `KVM_SET_TSS_ADDR`.
const TSS_ADDRESS: usize = VIRTIO_MMIO_BASE as usize + 0x10_0000;

/// Requests of a phase that are noted without the memory for that being touched in it: one for each sample that there may be.
const REQUESTS_ROOM: usize = 65_536;

/// What the guest kernel records while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLevel {
    /// Nothing.
    #[default]
    Off,
    /// Every stage of every fault ([`faultlab_abi::trace`]).
    Stages,
    /// That, who faulted where, and what the VMM did meanwhile ([`crate::timeline`]).
    Timeline,
}

/// What to run, and on what.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// Guest RAM, in bytes: 8 MiB to 3 GiB in whole pages.
    pub memory_bytes: u64,
    /// The lab window ([`faultlab_abi::layout::WINDOW`]), in bytes: whole granules of the backing up to 16 GiB; 0 for none.
    pub window_bytes: u64,
    /// What backs both on the host.
    pub backing: Backing,
    /// Details of that.
    pub backing_options: BackingOptions,
    /// How far both are brought in beforehand.
    pub prepare: Prepare,
    /// How stores to the window are logged.
    pub dirty: DirtyMode,
    /// What the guest swaps to.
    pub swap: SwapConfig,
    /// Further areas, which the guest knows as `/dev/vdb` and on; at most three.
    pub more_swap: Vec<SwapArea>,
    /// Whether the host's page cache is bypassed on the way there.
    pub swap_direct: bool,
    /// Who serves its requests; what this host lacks is replaced ([`SwapIo::on_this_host`]).
    pub swap_io: SwapIo,
    /// What goes wrong with that.
    pub swap_faults: SwapFaults,
    /// The guest kernel, an ELF that is entered at its physical entry address.
    pub kernel: Cow<'static, [u8]>,
    /// The program, a static x86-64 Linux ELF.
    pub program: Cow<'static, [u8]>,
    /// Its arguments; the first is also its path in the guest, unless [`VmConfig::path`] says otherwise.
    pub argv: Vec<Vec<u8>>,
    /// The path in the guest that is run, if one of [`VmConfig::files`] is: `program` is not looked at then.
    pub path: Option<Vec<u8>>,
    /// What the guest's root holds besides.
    pub files: Vec<GuestFile>,
    /// What comes back when the program has ended, if the guest's kernel is still well then.
    pub out: Vec<OutFile>,
    /// The program's working directory; the root if it is empty.
    pub cwd: Vec<u8>,
    /// The program's user and group.
    pub ids: (u32, u32),
    /// Its environment, `NAME=value` each.
    pub envp: Vec<Vec<u8>>,
    /// What the kernel records.
    pub trace: TraceLevel,
    /// Bytes of guest memory for the trace, rounded up to a power of two of at least 256 KiB; the guest's own choice if `None`.
    pub trace_bytes: Option<u64>,
    /// What the program reads; nothing if `None`.
    pub stdin: Option<Arc<OwnedFd>>,
    /// Which of the program's streams are a terminal, a bit each; bit 0 is among them if any is. `stdin` is the terminal then.
    pub terminal: u8,
    /// Tells the observer of every system call; they then cost several exits each.
    pub strace: bool,
    /// Has the guest kernel verify its own structures when the program has ended; a disagreement ends the run as a panic does.
    pub check: bool,
    /// Records the host kernel's events of the vCPU's thread, during phases and, with a timeline, all the time.
    pub host_events: bool,
    /// Ends the guest after so long.
    pub timeout: Option<Duration>,
    /// Keeps the host kernel's account of the swap file's bytes beside the device's own; costs a few microseconds a
    /// swap request.
    pub account_file_io: bool,
    /// Further words for the kernel's command line.
    pub command_line: Vec<String>,
    /// Ends the run, and cuts short the building of the guest before it, from another thread. Each guest has one of its own.
    pub stop: StopHandle,
}

impl VmConfig {
    /// `program` with `argv` on the embedded kernel, everything else as by default.
    #[must_use]
    pub fn new(program: impl Into<Cow<'static, [u8]>>, argv: Vec<Vec<u8>>) -> VmConfig {
        VmConfig {
            memory_bytes: MEMORY_DEFAULT_BYTES,
            window_bytes: 0,
            backing: Backing::default(),
            backing_options: BackingOptions::default(),
            prepare: Prepare::default(),
            dirty: DirtyMode::default(),
            swap: SwapConfig::default(),
            more_swap: Vec::new(),
            swap_direct: false,
            swap_io: SwapIo::default(),
            swap_faults: SwapFaults::default(),
            kernel: Cow::Borrowed(faultlab_images::KERNEL),
            program: program.into(),
            argv,
            path: None,
            files: Vec::new(),
            out: Vec::new(),
            cwd: Vec::new(),
            ids: (0, 0),
            envp: Vec::new(),
            trace: TraceLevel::Off,
            trace_bytes: None,
            stdin: None,
            terminal: 0,
            strace: false,
            check: false,
            host_events: false,
            timeout: None,
            account_file_io: false,
            command_line: Vec::new(),
            stop: StopHandle::default(),
        }
    }
}

/// A guest, built and not yet run.
pub struct Vm {
    stats: Option<KvmStats>,
    vcpu: VcpuFd,
    // Never read, but the VM must not be closed before its vCPU.
    _vm: Arc<VmFd>,
    bus: Bus,
    kernel: Cow<'static, [u8]>,
    timeout: Option<Duration>,
    trace: TraceLevel,
    host_events: bool,
    stop: StopHandle,
    building_since: Instant,
    /// What the disk noted, if it notes.
    requests: Option<SharedLog>,
    ram: Arc<GuestRam>,
}

impl Vm {
    /// Builds the guest: memory, devices, and everything loaded.
    ///
    /// # Errors
    /// A configuration out of range, a program that is none, a swap file that cannot be used, a host that refuses.
    pub fn new(config: VmConfig, host: &Host) -> Result<Vm, Error> {
        let building_since = Instant::now();
        let name = config
            .argv
            .first()
            .map(|name| String::from_utf8_lossy(name))
            .unwrap_or_default();
        if config.path.is_none() {
            boot::program::check(&name, &config.program)?;
        }
        config.prepare.check(host)?;
        config.dirty.check(host)?;
        let ram = Arc::new(GuestRam::with(&MemoryConfig {
            bytes: config.memory_bytes,
            window_bytes: config.window_bytes,
            backing: config.backing,
            options: config.backing_options.clone(),
        })?);
        let areas = std::iter::once(&config.swap).chain(config.more_swap.iter().map(|area| &area.config));
        let mut swap = Vec::new();
        for area in areas.take(SWAP_DISKS_MAX) {
            let file = SwapFile::open(area)?;
            if let (Some(file), true) = (&file, config.swap_direct) {
                file.bypass_page_cache()?;
            }
            swap.extend(file);
        }
        let swap_bytes = swap.iter().map(SwapFile::bytes).sum();
        let back = BringBack::claim(&config.out, ram.bytes(), swap_bytes)?;
        let (vm, vcpu) = create(host, &ram, config.dirty)?;
        let entry = load(&config, &ram, swap.len(), host.identity().tsc_khz)?;
        boot::configure_vcpu(host.kvm(), &vcpu, entry)?;
        config.prepare.carry_out(&ram, &vcpu, &config.stop)?;
        let vm = Arc::new(vm);
        let dirty_log = DirtyLog::new(Arc::clone(&vm), &vcpu, config.dirty)?;
        let stats = KvmStats::open(&vm, &vcpu)
            .map_err(|error| log::warn!("no KVM counters: {error}"))
            .ok();
        let swap = swap.into_iter().enumerate();
        let mut blocks = swap
            .map(|(which, file)| swap_disk(&config, which, file, &ram, &vm))
            .collect::<Result<Vec<_>, _>>()?;
        let requests = match blocks.first_mut() {
            Some(device) if config.trace != TraceLevel::Off => {
                let log = SharedLog::with_room(REQUESTS_ROOM);
                device.note_requests(&log);
                Some(log)
            }
            _ => None,
        };
        let stop = config.stop;
        let lab = LabDevice::new(Some(dirty_log), stop.clone())
            .with_input(config.stdin, config.terminal != 0)
            .with_files_back(back);
        for block in &mut blocks {
            let bell = lab.bell();
            block.interrupt_through(move || bell.ring(true));
        }
        Ok(Vm {
            stats,
            vcpu,
            _vm: vm,
            bus: Bus::new(blocks.into_iter().map(VirtioMmio::new), lab),
            kernel: config.kernel,
            timeout: config.timeout,
            trace: config.trace,
            host_events: config.host_events,
            stop,
            building_since,
            requests,
            ram,
        })
    }

    /// Ends the run from another thread.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Runs the guest on the calling thread until it ends, and tells `observer` what happens. A guest runs once.
    ///
    /// # Errors
    /// KVM fails in a way that is not the guest's doing.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let mut watch = Watch::start(&self.stop, &mut self.vcpu, self.timeout)
            .map_err(KvmError::of_io("starting the watchdog's thread"))?;
        let (build, start_to_guest) = (self.building_since.elapsed(), process::age());
        let whole_run = self.trace == TraceLevel::Timeline;
        let host_events = self.host_events.then(|| HostEvents::open(process::thread_id()));
        let is_traced = self.trace != TraceLevel::Off;
        let clock = is_traced.then(|| GuestClock::measure(&self.vcpu)).flatten();
        if let (true, Some(Ok(events))) = (whole_run, &host_events) {
            events.start().unwrap_or_else(|error| log::warn!("{error}"));
        }
        let mut session = Session {
            // A phase would begin anew what the timeline wants whole.
            host_events: host_events.as_ref().filter(|_| !whole_run),
            exits: whole_run.then(Log::default),
            requests: self.requests.as_ref().filter(|_| !whole_run).zip(clock),
            ram: &self.ram,
            observer,
            stats: self.stats.as_mut(),
            bus: self.bus.counters(),
        };
        let stopped = vcpu::run(&mut self.vcpu, &mut self.bus, &mut session, &mut watch);
        let program_cycles = self.bus.lab.hello_tsc().map(|since| host_tsc().saturating_sub(since));
        drop(watch);
        for block in &mut self.bus.blocks {
            block.shut_down();
        }
        self.bus.serial.finish();
        self.bus.lab.finish(&mut session);
        let exits = session.exits.take();
        let timeline = exits.map(|exits| Timeline {
            exits,
            block: self.requests.as_ref().map(SharedLog::take).unwrap_or_default(),
            host: host_events.map(|events| events.and_then(|events| events.stop())),
            clock: match (clock, GuestClock::measure(&self.vcpu)) {
                (Some(start), Some(end)) => start.checked_by(end),
                _ => GuestClock::default(),
            },
        });
        let requests = self.requests.as_ref().zip(clock).filter(|_| !whole_run);
        let requests = requests
            .map(|(log, clock)| Requests::new(log.drain(), clock))
            .unwrap_or_default();
        let end = self.end(stopped?);
        let not_brought = self.bus.lab.not_brought();
        Ok(Outcome {
            not_brought,
            program_cycles,
            timeline,
            requests,
            ..self.outcome(end, build, start_to_guest)
        })
    }

    /// Adds what is known about where the vCPU is.
    fn end(&self, stopped: Stopped) -> End {
        let state = || VcpuState::read(&self.vcpu, &self.ram, &self.kernel);
        match stopped {
            Stopped::End(End::Panicked(mut report)) => {
                let rip = report.record.as_ref().map(|record| record.rip);
                report.symbol = rip.and_then(|rip| Symbols::parse(&self.kernel).name(rip));
                End::Panicked(report)
            }
            Stopped::End(end) => end,
            Stopped::Crashed(cause) => End::Crashed(Box::new(CrashReport { cause, state: state() })),
            Stopped::Watchdog(cause) => End::Watchdog(Box::new(WatchdogReport {
                cause,
                waits_for: self.bus.blocks.iter().find_map(|block| block.device().unanswered()),
                state: state(),
            })),
        }
    }

    fn outcome(&self, end: End, build: Duration, start_to_guest: Duration) -> Outcome {
        let hello = self.bus.lab.hello().copied();
        let trace = hello.map_or_else(Default::default, |hello| trace_ring::read(&self.ram, &hello));
        let block = self.bus.blocks.first().map(|transport| BlockCounters {
            refused_accesses: transport.refused(),
            ..transport.device().counters()
        });
        if let Some(injected) = block.and_then(|block| block.injected) {
            log::info!("faults of the swap disk: {injected:?}");
        }
        Outcome {
            end,
            hello,
            guest_vmstat: self.vmstat(),
            block,
            bus: self.bus.counters(),
            lab_refused: self.bus.lab.refused(),
            not_brought: Vec::new(),
            vmm_resident_kib: process::resident_kib_without(&self.ram.host_addresses()),
            start_to_guest,
            build,
            program_cycles: None,
            trace,
            requests: Requests::default(),
            timeline: None,
        }
    }

    fn vmstat(&self) -> Vmstat {
        let mut values = [0; vmstat::COUNT];
        if let Some(hello) = self.bus.lab.hello() {
            for (index, value) in values.iter_mut().enumerate() {
                // The array was checked to lie in RAM.
                let address = GuestAddress(hello.vmstat + 8 * index as u64);
                *value = self.ram.memory().read_obj(address).unwrap_or(0);
            }
        }
        values
    }
}

/// Swap disk `which`, over `file`.
fn swap_disk(
    config: &VmConfig,
    which: usize,
    file: SwapFile,
    ram: &Arc<GuestRam>,
    vm: &Arc<VmFd>,
) -> Result<BlockDevice, SwapError> {
    let (account, faults) = (config.account_file_io, &config.swap_faults);
    let how = config.swap_io.on_this_host();
    if how != config.swap_io {
        log::warn!("no io_uring here: the swap disk is served by a thread with plain reads and writes");
    }
    let place = Place {
        vm: Arc::clone(vm),
        registers: VIRTIO_MMIO_BASE + which as u64 * PAGE_SIZE,
    };
    let mut device = BlockDevice::served(file, account, faults, how, ram, Some(place)).map_err(SwapError::Serve)?;
    device.stop_with(config.stop.clone());
    Ok(device)
}

fn create(host: &Host, ram: &GuestRam, dirty: DirtyMode) -> Result<(VmFd, VcpuFd), KvmError> {
    let vm = host.kvm().create_vm().map_err(KvmError::of("KVM_CREATE_VM"))?;
    vm.set_tss_address(TSS_ADDRESS)
        .map_err(KvmError::of("KVM_SET_TSS_ADDR"))?;
    if dirty == DirtyMode::Ring {
        dirty_log::enable_ring(&vm)?;
    }
    ram.register(&vm)?;
    let vcpu = vm.create_vcpu(0).map_err(KvmError::of("KVM_CREATE_VCPU"))?;
    Ok((vm, vcpu))
}

/// The option that tells the kernel the priorities of further areas, if any has one. Those without a file of their own have no number.
fn swap_priorities(areas: &[SwapArea]) -> Option<String> {
    areas.iter().find(|area| area.prio.is_some())?;
    let prio = |area: &SwapArea| area.prio.map_or_else(String::new, |prio| prio.to_string());
    let list: Vec<String> = areas.iter().map(prio).collect();
    Some(format!("faultlab.swap_prio=,{}", list.join(",")))
}

/// The archive with what is to run.
fn initrd(config: &VmConfig) -> Result<Initrd<'_>, BootError> {
    let (argv, envp) = (&config.argv, &config.envp);
    match (&config.path, argv.first()) {
        (Some(path), _) => Ok(Initrd::without_program(argv, envp)?.running(path)),
        (None, Some(name)) if !config.cwd.is_empty() => {
            // The program lies where its name leads to from the working directory on; without a slash, in the root.
            let place = match name.contains(&b'/') {
                true if !name.starts_with(b"/") => join(&config.cwd, name),
                _ => join(b"/", name),
            };
            Initrd::without_program(argv, envp)?.with_owned_program(place, &config.program)
        }
        (None, _) => Initrd::new(&config.program, argv, envp),
    }
}

/// Writes kernel, command line and initrd into RAM. Returns the entry address.
fn load(config: &VmConfig, ram: &GuestRam, disks: usize, tsc_khz: u64) -> Result<u64, Error> {
    let mut words = config.command_line.clone();
    match config.trace {
        TraceLevel::Off => {}
        TraceLevel::Stages => words.push("faultlab.trace=stages".into()),
        TraceLevel::Timeline => words.push("faultlab.trace=timeline".into()),
    }
    words.extend(swap_priorities(&config.more_swap));
    if let Some(bytes) = config.trace_bytes {
        words.push(format!("faultlab.trace_bytes={bytes}"));
    }
    if config.ids != (0, 0) {
        words.push(format!("{CMDLINE_IDS}{}:{}", config.ids.0, config.ids.1));
    }
    if config.terminal != 0 {
        words.push(format!("{CMDLINE_TTY}{}", config.terminal));
    }
    if !config.out.is_empty() {
        words.push(CMDLINE_OUT.to_owned());
    }
    if config.check {
        words.push(CMDLINE_CHECK.to_owned());
    }
    if config.strace {
        words.push(CMDLINE_STRACE.to_owned());
    }
    let command_line = CommandLine::new(disks, tsc_khz, &words)?;
    let initrd = initrd(config)?.with_files(&config.files, &config.cwd)?;
    let image = BootImage {
        kernel: &config.kernel,
        command_line: &command_line,
        initrd: &initrd,
    };
    Ok(boot::load(ram, &image)?)
}

#[cfg(test)]
mod tests;
