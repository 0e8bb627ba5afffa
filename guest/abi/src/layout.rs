//! Addresses that loader and kernel share, each with its reason.
//!
//! ```text
//! guest physical                                  guest virtual
//! 0x0000_0500  GDT for the entry                  0x0000_0000_0001_0000  lowest program address
//! 0x0000_7000  zero page (boot_params)            0x0000_7fff_ffff_f000  end of program addresses
//! 0x0000_9000  page tables for the entry          0xffff_8880_0000_0000  direct map of all RAM
//! 0x0002_0000  command line                       0xffff_ffff_8000_0000  kernel image (= physical 0)
//! 0x0010_0000  kernel image (ELF, as linked)
//!      ...     initrd, page-aligned, at the end of RAM
//! 0xd000_0000  virtio-mmio devices, 4 KiB each
//! 0xd001_0000  lab device: registers, then its scratch page
//! 0x2_0000_0000  lab window, up to 16 GiB, in a memory slot of its own (absent unless the VM is given one)
//! ```

/// Bytes of a page, everywhere in faultlab unless a name says otherwise.
pub const PAGE_SIZE: u64 = 4096;

/// The GDT that the VMM enters the kernel with. Below the BIOS data area's use in real firmware, as in Firecracker.
pub const BOOT_GDT: u64 = 0x500;
/// `struct boot_params`. Source: Linux, Documentation/arch/x86/zero-page.rst.
pub const ZERO_PAGE: u64 = 0x7000;
/// PML4, PDPT and PD of the entry's identity map of the first GiB (three pages).
pub const BOOT_PAGE_TABLES: u64 = 0x9000;
/// The NUL-terminated command line, at most [`CMDLINE_MAX_BYTES`] with the NUL.
pub const CMDLINE: u64 = 0x2_0000;
/// `COMMAND_LINE_SIZE` of x86 Linux.
pub const CMDLINE_MAX_BYTES: usize = 2048;
/// Where the kernel's first segment is loaded: 1 MiB, above all that firmware keeps.
pub const KERNEL_LOAD: u64 = 0x10_0000;

/// Highest guest memory size: below the 32-bit device window, so that RAM is one range.
pub const RAM_MAX_BYTES: u64 = 0xc000_0000;
/// Smallest guest memory size that boots with room for a program.
pub const RAM_MIN_BYTES: u64 = 8 << 20;

/// First virtio-mmio register page; device `i` is at `VIRTIO_MMIO_BASE + i * 4096`.
pub const VIRTIO_MMIO_BASE: u64 = 0xd000_0000;
/// Global system interrupt of virtio-mmio device 0.
pub const VIRTIO_MMIO_IRQ: u32 = 5;
/// The lab device's registers ([`crate::lab::reg`]), one page.
pub const LAB_MMIO: u64 = 0xd001_0000;
/// The lab device's scratch page, for measuring MMIO exits: reads return 0, writes are ignored, both exit to the VMM.
/// The kernel maps it into programs that `mmap` `/dev/faultlab`.
pub const LAB_SCRATCH: u64 = 0xd001_1000;
/// The lab window: memory that no allocator of the guest's owns, for programs to map ([`crate::dev::WINDOW_OFFSET`]) and the VMM to
/// make cold, warm or write-protected. 8 GiB: above RAM and the devices wherever a PC puts them, aligned to the largest page, and,
/// window included, below the 36 bits of physical address that every x86-64 processor has.
pub const WINDOW: u64 = 0x2_0000_0000;
/// Largest lab window.
pub const WINDOW_MAX_BYTES: u64 = 16 << 30;
/// The port for measuring port-I/O exits: writes are ignored. Unassigned in the PC's port map.
pub const LAB_PIO_PORT: u16 = 0x0fa0;
/// COM1, the kernel's log before and without a lab device.
pub const SERIAL_PORT: u16 = 0x3f8;

/// Virtual address of physical 0 in the kernel's image mapping (-2 GiB, Linux's `__START_KERNEL_map`).
pub const KERNEL_VMA: u64 = 0xffff_ffff_8000_0000;
/// Virtual address of physical 0 in the direct map (Linux's `page_offset_base` with four levels).
pub const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// Lowest address a program may map (Linux's default `vm.mmap_min_addr`).
pub const USER_MIN: u64 = 0x1_0000;
/// First address past the programs' half (Linux's `TASK_SIZE_MAX`: the last page below the hole is never mapped).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Name of the initrd file that holds the first program's arguments, NUL-terminated one after another.
/// The command line cannot carry arbitrary bytes; this file can. The first is also the path in the initrd to run.
pub const INITRD_ARGV: &str = ".faultlab/argv";
/// Name of the initrd file that holds the first program's environment, `NAME=value` each NUL-terminated.
pub const INITRD_ENVP: &str = ".faultlab/envp";

/// Name of the initrd file that holds the path to run, if that is not the first argument. No NUL.
pub const INITRD_PATH: &str = ".faultlab/path";
/// Name of the initrd file that holds the first program's working directory, if that is not `/`. No NUL.
pub const INITRD_CWD: &str = ".faultlab/cwd";

/// Command-line key announcing a virtio-mmio device, as Linux spells it: `virtio_mmio.device=4K@0xd0000000:5`.
pub const CMDLINE_VIRTIO: &str = "virtio_mmio.device=";
/// Command-line key announcing the lab device: `faultlab.device=8K@0xd0010000`.
pub const CMDLINE_LAB: &str = "faultlab.device=";
/// Command-line key with the time-stamp counter's rate in kHz (Linux's own parameter).
pub const CMDLINE_TSC_KHZ: &str = "tsc_early_khz=";
/// Command-line key with the first program's user and group: `faultlab.ids=1000:1000`.
pub const CMDLINE_IDS: &str = "faultlab.ids=";
/// Command-line option that has the kernel tell every system call ([`crate::lab::kind::CALL`]).
pub const CMDLINE_STRACE: &str = "faultlab.strace";
/// Command-line option that has the kernel bring files to the VMM when the first program has ended ([`crate::lab::kind::OUT_NEXT`]).
pub const CMDLINE_OUT: &str = "faultlab.out";
/// Command-line option that has the kernel verify its own structures when the first program has ended.
pub const CMDLINE_CHECK: &str = "faultlab.check";
/// As [`CMDLINE_CHECK`], after it has spoilt one of them: for tests of that.
pub const CMDLINE_CHECK_SPOILT: &str = "faultlab.check=spoilt";
/// Command-line key that says which of the first program's streams are a terminal, a bit each: `faultlab.tty=7`. Bit 0 is among them.
pub const CMDLINE_TTY: &str = "faultlab.tty=";
