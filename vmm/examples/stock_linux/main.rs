//! A distribution's Linux, unchanged, on faultlab's swap disk: the product's own transport and block device, at the product's address, under the
//! driver that everybody has. `tests/accuracy/stock-linux` runs it in the simulated machine, where a stock Linux boots in seconds; docs/swap.md says
//! what it printed.
//!
//! What faultlab's guest does not need is here: KVM's interrupt controllers, an interrupt of the disk's, and ACPI tables that name it. The first
//! program ends with a restart, which is a triple fault; its verdict is on the console.
//!
//! Exit status: 0 if the program found all well and the device refused nothing.

mod acpi;
mod boot;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use faultlab::boot::entry;
use faultlab::devices::block::{BlockDevice, Place};
use faultlab::devices::virtio_mmio::VirtioMmio;
use faultlab::memory::{Backing, GuestRam};
use faultlab::swap_file::SwapFile;
use faultlab::{SwapConfig, SwapFaults, SwapIo};
use faultlab_abi::layout::{PAGE_SIZE, SERIAL_PORT, VIRTIO_MMIO_BASE, VIRTIO_MMIO_IRQ};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_QUEUE_NOTIFY};
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use self::boot::Software;

/// What `/init` writes last.
const VERDICT: &[u8] = b"stock-linux: ok";

/// Away from RAM and devices, as in the product.
const TSS_ADDRESS: usize = VIRTIO_MMIO_BASE as usize + 0x10_0000;

/// `X86_FEATURE_TSC_DEADLINE_TIMER`, which KVM's local APIC has and leaves for the VMM to say: without it Linux wants an older timer to measure
/// the APIC's with, and there is none.
const TSC_DEADLINE: u32 = 1 << 24;
/// `X86_FEATURE_HYPERVISOR`, likewise: it has Linux look for KVM, whose clock tells the counter's rate.
const HYPERVISOR: u32 = 1 << 31;

/// A stock Linux on faultlab's swap disk.
#[derive(Parser)]
struct Options {
    /// The kernel, a bzImage
    #[arg(long)]
    kernel: PathBuf,
    /// Its first program
    #[arg(long)]
    init: PathBuf,
    /// A module for the program to load; several are loaded in this order
    #[arg(long)]
    module: Vec<PathBuf>,
    /// A static program to run there instead of what the first one does by itself; its output is shown
    #[arg(long)]
    program: Option<PathBuf>,
    /// MiB of memory
    #[arg(long, default_value_t = 256)]
    memory: u64,
    /// Who serves the disk: inline, thread or uring
    #[arg(long, default_value = "inline")]
    swap_io: String,
    /// Keep the disk in a temporary file and not in memory
    #[arg(long)]
    file: bool,
    /// Show all that the kernel says, and not only the program
    #[arg(long)]
    log: bool,
}

const DISK_BYTES: u64 = 64 << 20;

fn main() -> ExitCode {
    env_logger::init();
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stock_linux: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<bool, Box<dyn Error>> {
    let wanted = |how: &&SwapIo| how.name() == options.swap_io;
    let how = *SwapIo::ALL
        .iter()
        .find(wanted)
        .ok_or("--swap-io is inline, thread or uring")?;
    if how.on_this_host() != how {
        return Err("no io_uring here".into());
    }
    let ram = Arc::new(GuestRam::new(options.memory << 20, Backing::default())?);
    let software = Software {
        kernel: options.kernel,
        init: options.init,
        modules: options.module,
        program: options.program,
    };
    let entry = boot::load(&ram, &software)?;
    let (vm, mut vcpu) = create(&ram, entry)?;
    let interrupt = EventFd::new(libc::EFD_CLOEXEC)?;
    vm.register_irqfd(&interrupt, VIRTIO_MMIO_IRQ)?;
    let vm = Arc::new(vm);
    let config = match options.file {
        true => SwapConfig::Temporary { bytes: DISK_BYTES },
        false => SwapConfig::Memory { bytes: DISK_BYTES },
    };
    let file = SwapFile::open(&config)?.ok_or("no disk")?;
    let place = Place {
        vm: Arc::clone(&vm),
        registers: VIRTIO_MMIO_BASE,
    };
    let mut disk = BlockDevice::served(file, false, &SwapFaults::default(), how, &ram, Some(place))?;
    let by_thread = interrupt.try_clone()?;
    disk.interrupt_through(move || {
        // It fails only if the count would overflow, and then KVM has it already.
        let _ = by_thread.write(1);
    });
    let mut machine = Machine {
        disk: VirtioMmio::new(disk),
        interrupt,
        console: Serial::new(NoInterrupt, Console::new(options.log)),
        ram: Arc::clone(&ram),
    };
    machine.run(&mut vcpu)?;
    machine.disk.shut_down();
    let counters = machine.disk.device().counters();
    let refused = machine.disk.refused() + counters.io_errors + counters.unsupported + counters.refused_chains;
    println!("{counters:?}\nrefused or failed: {refused}");
    Ok(machine.console.writer().good && refused == 0)
}

/// A virtual machine with KVM's interrupt controllers, and its processor at `entry`.
fn create(ram: &GuestRam, entry: u64) -> Result<(VmFd, VcpuFd), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    vm.set_tss_address(TSS_ADDRESS)?;
    vm.create_irq_chip()?;
    let region = kvm_userspace_memory_region {
        guest_phys_addr: 0,
        memory_size: ram.bytes(),
        userspace_addr: ram.host_address() as u64,
        ..kvm_userspace_memory_region::default()
    };
    // SAFETY: the range is mapped as long as `ram` lives, which is longer than the guest runs.
    unsafe { vm.set_user_memory_region(region) }?;
    let vcpu = vm.create_vcpu(0)?;
    entry::configure_vcpu(&kvm, &vcpu, entry)?;
    let mut cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
    for leaf in cpuid.as_mut_slice() {
        if leaf.function == 1 {
            leaf.ecx |= TSC_DEADLINE | HYPERVISOR;
        }
    }
    vcpu.set_cpuid2(&cpuid)?;
    Ok((vm, vcpu))
}

/// What the guest can reach besides RAM.
struct Machine {
    disk: VirtioMmio<BlockDevice>,
    interrupt: EventFd,
    console: Serial<NoInterrupt, vm_superio::serial::NoEvents, Console>,
    ram: Arc<GuestRam>,
}

impl Machine {
    /// Until the guest restarts.
    fn run(&mut self, vcpu: &mut VcpuFd) -> Result<(), Box<dyn Error>> {
        loop {
            match vcpu.run() {
                Ok(VcpuExit::IoOut(port, data)) => {
                    if let Some(offset) = serial_offset(port) {
                        data.iter().try_for_each(|byte| self.console.write(offset, *byte)).ok();
                    }
                }
                Ok(VcpuExit::IoIn(port, data)) => match serial_offset(port) {
                    Some(offset) => data.fill_with(|| self.console.read(offset)),
                    None => data.fill(0xff),
                },
                Ok(VcpuExit::MmioRead(address, data)) => match disk_offset(address) {
                    Some(offset) => self.disk.read(offset, data),
                    None => data.fill(0xff),
                },
                Ok(VcpuExit::MmioWrite(address, data)) => {
                    if let Some(offset) = disk_offset(address) {
                        self.disk.write(offset, data, &self.ram);
                        if offset == u64::from(VIRTIO_MMIO_QUEUE_NOTIFY) {
                            self.interrupt_if_done()?;
                        }
                    }
                }
                Ok(VcpuExit::Shutdown) => return Ok(()),
                Ok(other) => return Err(format!("the guest stopped: {other:?}").into()),
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Served by who rings, the disk is done by now; an I/O thread interrupts by itself, and once too often does no harm.
    fn interrupt_if_done(&mut self) -> io::Result<()> {
        let mut status = [0; 4];
        self.disk.read(u64::from(VIRTIO_MMIO_INTERRUPT_STATUS), &mut status);
        if status == [0; 4] {
            Ok(())
        } else {
            self.interrupt.write(1)
        }
    }
}

fn serial_offset(port: u16) -> Option<u8> {
    port.checked_sub(SERIAL_PORT)
        .filter(|offset| *offset < 8)
        .map(|offset| offset as u8)
}

fn disk_offset(address: u64) -> Option<u64> {
    address
        .checked_sub(VIRTIO_MMIO_BASE)
        .filter(|offset| *offset < PAGE_SIZE)
}

/// The kernel's console polls.
struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes lines on, and finds the verdict among them.
struct Console {
    line: Vec<u8>,
    all: bool,
    good: bool,
}

impl Console {
    fn new(all: bool) -> Console {
        Console {
            line: Vec::new(),
            all,
            good: false,
        }
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                // The kernel may have begun a line of its own.
                let text = line.windows(12).position(|part| part == b"stock-linux:");
                self.good |= text.is_some_and(|at| line[at..].starts_with(VERDICT));
                match text {
                    Some(at) if !self.all => io::stdout().write_all(&line[at..])?,
                    None if !self.all => {}
                    _ => io::stdout().write_all(&line)?,
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
