//! The time-stamp counters of host and guest.
//!
//! KVM adds an offset to what a guest reads. The guest's counter is read through KVM between two readings of the host's:
//! the offset is exact to half the time between those. KVM scales only if asked to, which faultlab does not; the two
//! measurements, before and after a run, would show it as drift. Where KVM tells the offset itself and it agrees with the readings, it is taken: it
//! is exact, and only the order in which a processor carries out instructions is not.
//!
//! Source: Intel SDM vol. 3, 25.3 "TSC offsetting"; Linux, Documentation/virt/kvm/api.rst, 4.19 `KVM_GET_MSRS`; devices/vcpu.rst, 4.1
//! `KVM_VCPU_TSC_OFFSET`.

use std::os::fd::AsRawFd;

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, Msrs, kvm_device_attr, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

/// `_IOW(KVMIO, 0xe2, struct kvm_device_attr)`.
const KVM_GET_DEVICE_ATTR: u64 =
    1 << 30 | (size_of::<kvm_device_attr>() as u64) << 16 | (kvm_bindings::KVMIO as u64) << 8 | 0xe2;

/// `IA32_TIME_STAMP_COUNTER`.
const MSR_TSC: u32 = 0x10;

/// Readings, of which the tightest counts.
const TRIES: usize = 64;

/// How much earlier than the instruction before it `rdtsc` may be carried out, in cycles: a load's time.
const UNORDERED_CYCLES: u64 = 100;

/// The offset as KVM has it; `None` before Linux 5.16.
fn told_offset(vcpu: &VcpuFd) -> Option<i64> {
    let mut offset = 0_i64;
    let attribute = kvm_device_attr {
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr: &raw mut offset as u64,
        ..kvm_device_attr::default()
    };
    // SAFETY: the record that this call takes; KVM writes 8 bytes to `addr`, a local.
    let result = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_DEVICE_ATTR, &raw const attribute) };
    (result == 0).then_some(offset)
}

/// The host's time-stamp counter now.
#[must_use]
pub fn host_tsc() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux does not forbid it unless a process asks for that.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// How the guest's counter relates to the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestClock {
    /// Guest less host, in cycles.
    pub offset_cycles: i64,
    /// How far that may be from the truth, in cycles.
    pub error_cycles: u64,
    /// How much the offset changed during the run, as far as it exceeds both errors; 0 unless something scaled or set a counter.
    pub drift_cycles: u64,
}

impl GuestClock {
    /// Measures; `None` if KVM does not tell.
    pub(crate) fn measure(vcpu: &VcpuFd) -> Option<GuestClock> {
        let entry = kvm_msr_entry {
            index: MSR_TSC,
            ..kvm_msr_entry::default()
        };
        let mut msrs = Msrs::from_entries(&[entry]).ok()?;
        let readings = (0..TRIES).filter_map(|_| {
            let before = host_tsc();
            let read = vcpu.get_msrs(&mut msrs).ok()?;
            let after = host_tsc();
            let guest = msrs.as_slice().first().filter(|_| read == 1)?.data;
            Some(Self::between(before, guest, after))
        });
        let best = readings.min_by_key(|clock| clock.error_cycles)?;
        Some(told_offset(vcpu).map_or(best, |told| best.or_told(told)))
    }

    /// What KVM itself tells, if these readings agree.
    fn or_told(self, offset_cycles: i64) -> GuestClock {
        let apart = self.offset_cycles.wrapping_sub(offset_cycles).unsigned_abs();
        if apart > self.error_cycles {
            return self;
        }
        GuestClock {
            offset_cycles,
            error_cycles: self.error_cycles.min(UNORDERED_CYCLES),
            drift_cycles: 0,
        }
    }

    /// What one reading of the guest's counter between two of the host's says.
    fn between(before: u64, guest: u64, after: u64) -> GuestClock {
        let half = after.saturating_sub(before) / 2;
        GuestClock {
            offset_cycles: guest.wrapping_sub(before + half).cast_signed(),
            error_cycles: half + 1,
            drift_cycles: 0,
        }
    }

    /// This measurement, checked against one at the end of the run.
    #[must_use]
    pub(crate) fn checked_by(self, end: GuestClock) -> GuestClock {
        let apart = self.offset_cycles.wrapping_sub(end.offset_cycles).unsigned_abs();
        GuestClock {
            drift_cycles: apart.saturating_sub(self.error_cycles + end.error_cycles),
            ..self
        }
    }

    /// A time stamp of the guest on the host's axis.
    #[must_use]
    pub fn to_host(self, guest_tsc: u64) -> u64 {
        guest_tsc.wrapping_sub(self.offset_cycles.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_exact_to_half_the_reading() {
        let clock = GuestClock::between(1000, 500, 1100);
        assert_eq!((clock.offset_cycles, clock.error_cycles), (-550, 51));
        assert_eq!(clock.to_host(500), 1050);
    }

    #[test]
    fn what_kvm_tells_is_taken_if_the_readings_agree() {
        let read = GuestClock::between(1000, 500, 1500);
        assert_eq!((read.offset_cycles, read.error_cycles), (-750, 251));
        let told = read.or_told(-900);
        assert_eq!((told.offset_cycles, told.error_cycles), (-900, UNORDERED_CYCLES));
        assert_eq!(read.or_told(0), read);
    }

    #[test]
    fn drift_is_what_the_errors_do_not_explain() {
        let (start, end) = (
            GuestClock::between(1000, 500, 1100),
            GuestClock::between(5000, 4500, 5100),
        );
        assert_eq!(start.checked_by(end).drift_cycles, 0);
        let fast = GuestClock::between(5000, 5500, 5100);
        assert_eq!(start.checked_by(fast).drift_cycles, 1000 - 102);
    }
}
