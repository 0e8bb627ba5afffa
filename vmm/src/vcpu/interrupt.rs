//! The timer's interrupt, on its way into the guest.
//!
//! There is no interrupt controller, in the kernel or here: `KVM_INTERRUPT` is the processor's interrupt pin with a vector on it. It may be
//! pulled only while the guest takes interrupts, which this guest does in ring 3 only; until then KVM is asked for the *window*, an exit as
//! soon as it does.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 4.16 `KVM_INTERRUPT`, section 5 (`request_interrupt_window`,
//! `ready_for_interrupt_injection`).

use faultlab_abi::lab::TIMER_VECTOR;
use kvm_bindings::{KVMIO, kvm_interrupt};
use kvm_ioctls::VcpuFd;
use std::io;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use crate::devices::lab::LabDevice;
use crate::error::KvmError;

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

/// Delivers the timer's interrupt if it is due and the guest takes it, or asks for an exit when it does. For a vCPU that just left `KVM_RUN`.
#[cold]
pub(super) fn deliver(vcpu: &mut VcpuFd, lab: &LabDevice) -> Result<(), KvmError> {
    let run = vcpu.get_kvm_run();
    let due = lab.timer_is_due();
    let ready = run.if_flag != 0 && run.ready_for_interrupt_injection != 0;
    run.request_interrupt_window = u8::from(due && !ready);
    if due && ready {
        let interrupt = kvm_interrupt {
            irq: u32::from(TIMER_VECTOR),
        };
        // SAFETY: the argument is the structure that the request reads.
        if unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &interrupt) } != 0 {
            return Err(KvmError::of_io("KVM_INTERRUPT")(io::Error::last_os_error()));
        }
        lab.timer_delivered();
    }
    Ok(())
}
