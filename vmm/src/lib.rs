//! faultlab's VMM: boots the guest kernel on KVM, carries its devices, and measures what its faults cost.
//!
//! A run in three steps: [`Host::open`] says what this machine is, [`Vm::new`] builds a guest, and [`Vm::run`] runs it
//! on the calling thread until it ends, telling an [`Observer`] what happens.
//!
//! | module | what is in it |
//! |---|---|
//! | [`host`] | `/dev/kvm`, what kind of KVM it is, and the machine's identity |
//! | [`memory`] | guest RAM and its host backing |
//! | [`boot`] | the Linux 64-bit boot protocol: kernel, zero page, initrd, entry state |
//! | [`vcpu`] | the run loop, kicks, and the state of a vCPU that stopped |
//! | [`devices`] | bus, serial console, virtio-mmio block, lab device |
//! | [`trace_ring`] | what the guest kernel traced |
//! | [`timeline`] | guest, VMM and host on one axis; the Chrome trace |
//! | [`host_events`] | the host kernel's events of the vCPU's thread |
//! | [`swap_file`], [`swap_io`], [`swap_faults`] | what is behind the swap disk, who serves it, and what goes wrong with it |
//! | [`kvm_stats`] | KVM's binary statistics |
//! | [`vm`] | a guest's configuration and its life |
//! | [`rig`] | this program inside a simulated machine |
//! | [`gate`] | costs in instructions against a recorded baseline |
//! | [`watchdog`] | ends a guest that makes no progress |
//! | [`observer`], [`outcome`], [`error`] | what a caller sees |
//! | [`bring_back`] | files that come back from the guest |
//! | [`paths`] | what a path that somebody gave names: an open descriptor, or a file |
//! | [`strace`] | system calls as lines of text |
//! | [`report`] | rows, checks, table and JSON made of measured phases |
//!
//! Trust: the guest is hostile. Nothing that it writes may crash, hang or confuse the VMM, or make it touch memory
//! outside the guest's. What the guest caused and what the host failed at are different types: [`End`] and [`Error`].
//!
//! Locks: one in [`vcpu::kick`], between the vCPU's thread and those that kick it; one in [`devices::block`], around what
//! the vCPU's thread sees of a disk that another serves; one around a log of requests ([`timeline::log`]). None is held
//! while another is taken. Everything else belongs to the thread that called [`Vm::run`].

pub mod boot;
pub mod bring_back;
pub mod devices;
pub mod error;
pub mod gate;
pub mod host;
pub mod host_events;
pub mod kvm_stats;
pub mod memory;
pub mod observer;
pub mod on_linux;
pub mod outcome;
pub mod paths;
mod process;
mod rate_limit;
pub mod report;
pub mod rig;
pub mod strace;
pub mod swap_faults;
pub mod swap_file;
pub mod swap_io;
#[cfg(test)]
mod testing;
pub mod timeline;
pub mod trace_ring;
pub mod vcpu;
pub mod vm;
pub mod watchdog;

pub use error::{Error, exit};
pub use host::{Host, HostIdentity};
pub use observer::{HostFaults, Observer, PhaseRecord, Stream, Vmstat};
pub use outcome::{CrashCause, CrashReport, End, Outcome, PanicReport, WatchdogCause, WatchdogReport};
pub use swap_faults::SwapFaults;
pub use swap_file::{SwapArea, SwapConfig};
pub use swap_io::SwapIo;
pub use vcpu::kick::StopHandle;
pub use vm::{TraceLevel, Vm, VmConfig};
