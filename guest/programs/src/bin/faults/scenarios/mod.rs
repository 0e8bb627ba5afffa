//! The scenarios: how each state is set and looked at, and what must be counted.
//!
//! | file | whose state |
//! |---|---|
//! | `shared.rs`, on `segment.rs` | shared memory: present, in the page cache, a hole; backed or not |
//! | `around.rs` | shared memory in the page cache, by loads that map what is around |
//! | `growth.rs` | shared memory in the page cache: of large objects, of many mappings |
//! | `private.rs` | private memory: untouched, zero, shared after a fork |
//! | `window.rs` | the lab window: consecutive guest memory on the chosen backing |
//! | `huge.rs` | memory in pages of 2 MiB, private and shared |
//! | `userfault.rs` | memory whose faults another process answers |
//! | `swap.rs` | shared memory and the swap disk |
//! | `calls.rs` | none: system calls |
//! | `sysv.rs` | segments that nobody touches: calls on them |
//! | `tmpfs.rs` | files of tmpfs: calls on them |
//! | `exits.rs` | none: exits of the vCPU |
//!
//! What one operation must be counted as stands in the catalogue ([`faultlab_abi::scenario`]) in words, and in each function
//! as the numbers that the VMM checks. Frames counted are those of data: page tables and XArray nodes exist beforehand.

mod around;
mod calls;
mod exits;
mod growth;
mod huge;
mod private;
mod resident;
mod segment;
mod shared;
mod swap;
mod sysv;
mod tmpfs;
mod userfault;
mod window;

use faultlab_abi::dev::{HostInfo, PhaseArgs, access};
use faultlab_abi::scenario::Scenario;
use faultlab_programs::tsc;

use crate::lab::Lab;
use crate::phase::{Failure, Phases};
use resident::Pages;

/// Sets the state for so many pages (or operations) and measures once.
pub(crate) type Runner = fn(&mut Phases, usize) -> Result<(), Failure>;

/// What measures `scenario`.
pub(crate) fn runner(scenario: Scenario) -> Runner {
    match scenario {
        Scenario::WarmTouch => shared::warm_touch,
        Scenario::TlbMiss => window::tlb_miss,
        Scenario::Minor | Scenario::MinorRead => shared::minor,
        Scenario::FaultAround => around::fault_around,
        Scenario::Minor1M => |phases, pages| growth::sized(phases, pages, 1 << 20),
        Scenario::Minor16M => |phases, pages| growth::sized(phases, pages, 16 << 20),
        Scenario::Minor256M => |phases, pages| growth::sized(phases, pages, 256 << 20),
        Scenario::Minor4G => |phases, pages| growth::sized(phases, pages, 4 << 30),
        Scenario::Minor64G => |phases, pages| growth::sized(phases, pages, 64 << 30),
        Scenario::Minor1T => |phases, pages| growth::sized(phases, pages, 1 << 40),
        Scenario::Minor1Vma => |phases, pages| growth::split(phases, pages, 1),
        Scenario::Minor10Vmas => |phases, pages| growth::split(phases, pages, 10),
        Scenario::Minor100Vmas => |phases, pages| growth::split(phases, pages, 100),
        Scenario::Minor1000Vmas => |phases, pages| growth::split(phases, pages, 1000),
        Scenario::Minor10000Vmas => |phases, pages| growth::split(phases, pages, 10_000),
        Scenario::AllocWarm => shared::alloc_warm,
        Scenario::AllocCold => shared::alloc_cold,
        Scenario::SecondLevelOnly | Scenario::SecondLevelRead => shared::second_level,
        Scenario::WriteProtect => window::write_protect,
        Scenario::Anon => private::anon,
        Scenario::ZeroPage => private::zero_page,
        Scenario::ZeroUpgrade => private::zero_upgrade,
        Scenario::Cow => private::cow,
        Scenario::CowReuse => private::cow_reuse,
        Scenario::SwapOut => swap::swap_out,
        Scenario::SwapIn => swap::swap_in,
        Scenario::HugeAnon => huge::anon,
        Scenario::HugeShmem => huge::shmem,
        Scenario::ColdPages => window::cold_pages,
        Scenario::HugeColdPages => huge::cold_pages,
        Scenario::HugeTlbMiss => huge::tlb_miss,
        Scenario::UffdCopy => userfault::copy,
        Scenario::UffdContinue => userfault::let_go,
        Scenario::Getppid => calls::getppid,
        Scenario::MmapMunmap => calls::mmap_munmap,
        Scenario::Munmap => calls::munmap,
        Scenario::Mprotect => calls::mprotect,
        Scenario::Pread => tmpfs::pread,
        Scenario::CreateUnlink => tmpfs::create_unlink,
        Scenario::ShmatShmdt => sysv::shmat_shmdt,
        Scenario::ShmgetRmid => sysv::shmget_rmid,
        Scenario::Fork => calls::fork,
        Scenario::PioExit => exits::pio,
        Scenario::MmioExit => exits::mmio,
        Scenario::CpuidExit => exits::cpuid,
        Scenario::HaltExit => exits::halt,
        Scenario::HaltWake => exits::halt_wake,
    }
}

/// Frames made warm or cold beyond those measured, should the kernel allocate some for itself.
const SLACK_PAGES: usize = 64;

/// Touches every page once, timed, by the access and in the order of the row.
fn touch(phases: &mut Phases, pages: &impl Pages, expected: PhaseArgs) -> Result<(), Failure> {
    let expected = PhaseArgs {
        count: pages.count() as u64,
        ..expected
    };
    if phases.access() == access::LOAD {
        // SAFETY: the page is ours to read (invariant of `Pages`), and aligned.
        phases.time(expected, |index| unsafe { tsc::load(pages.address(index)) })
    } else {
        // SAFETY: the page is ours to write (invariant of `Pages`), and aligned.
        phases.time(expected, |index| unsafe {
            tsc::store(pages.address(index), index as u64)
        })
    }
}

/// Makes sure, in the lab, that the frames allocated next have backing.
fn warm_next_frames(phases: &Phases, pages: usize) -> Result<(), Failure> {
    match phases.lab() {
        Ok(lab) => lab
            .warm_free(pages + SLACK_PAGES)
            .map_err(|errno| Failure::Call("ioctl WARM_FREE", errno)),
        Err(_) => Ok(()),
    }
}

/// How the host backs memory.
fn host_info(lab: &Lab) -> Result<HostInfo, Failure> {
    lab.host_info().map_err(|errno| Failure::Call("ioctl HOST_INFO", errno))
}
