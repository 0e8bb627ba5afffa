//! Which pages of the lab window were stored to: KVM's dirty log of the window's memory slot, a bitmap or the vCPU's ring.
//!
//! Reading either write-protects the pages that it shows, so what it shows is kept here until the pages are protected again on purpose.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 4.8 `KVM_GET_DIRTY_LOG`, 4.35 `KVM_SET_USER_MEMORY_REGION`.

use std::ops::Range;
use std::sync::Arc;

use kvm_bindings::KVM_MEM_LOG_DIRTY_PAGES;
use kvm_ioctls::{VcpuFd, VmFd};

use self::ring::Ring;
use super::GuestRam;
use super::ram::WINDOW_SLOT;
use crate::error::{HostError, KvmError};
use crate::host::Host;

mod ring;

pub(crate) use self::ring::enable as enable_ring;

/// How KVM tells which pages were stored to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirtyMode {
    /// A bitmap of the memory slot (`KVM_GET_DIRTY_LOG`).
    #[default]
    Log,
    /// A ring of the vCPU (`KVM_CAP_DIRTY_LOG_RING`).
    Ring,
}

impl DirtyMode {
    /// Whether this host can.
    ///
    /// # Errors
    /// The capability that is missing.
    pub fn check(self, host: &Host) -> Result<(), HostError> {
        match self {
            DirtyMode::Ring if !ring::is_supported(host) => Err(HostError::MissingOption {
                name: "KVM_CAP_DIRTY_LOG_RING",
                remedy: "use Linux 5.11 or later, or --dirty log",
            }),
            _ => Ok(()),
        }
    }
}

/// See the module.
pub(crate) struct DirtyLog {
    vm: Arc<VmFd>,
    /// `None`: the bitmap.
    ring: Option<Ring>,
    is_on: bool,
    /// Whether each page was stored to.
    dirty: Vec<bool>,
}

impl DirtyLog {
    /// Logging is off.
    ///
    /// # Errors
    /// The ring cannot be mapped.
    pub(crate) fn new(vm: Arc<VmFd>, vcpu: &VcpuFd, mode: DirtyMode) -> Result<DirtyLog, KvmError> {
        let ring = match mode {
            DirtyMode::Log => None,
            DirtyMode::Ring => Some(Ring::map(vcpu)?),
        };
        Ok(DirtyLog {
            vm,
            ring,
            is_on: false,
            dirty: Vec::new(),
        })
    }

    /// How KVM tells.
    pub(crate) fn mode(&self) -> DirtyMode {
        self.ring.as_ref().map_or(DirtyMode::Log, |_| DirtyMode::Ring)
    }

    /// Protects `pages` of the window, and counts stores to them from now on.
    pub(crate) fn protect(&mut self, ram: &GuestRam, pages: Range<u64>) -> Result<(), KvmError> {
        if self.is_on {
            self.harvest(ram)?;
        } else {
            self.switch(ram, KVM_MEM_LOG_DIRTY_PAGES)?;
        }
        self.dirty[pages.start as usize..pages.end as usize].fill(false);
        Ok(())
    }

    /// How many of `pages` were stored to since they were protected; `None` if logging is off.
    pub(crate) fn count(&mut self, ram: &GuestRam, pages: Range<u64>) -> Result<Option<u64>, KvmError> {
        if !self.is_on {
            return Ok(None);
        }
        self.harvest(ram)?;
        let pages = &self.dirty[pages.start as usize..pages.end as usize];
        Ok(Some(pages.iter().filter(|dirty| **dirty).count() as u64))
    }

    /// Ends logging.
    pub(crate) fn stop(&mut self, ram: &GuestRam) -> Result<(), KvmError> {
        if !self.is_on {
            return Ok(());
        }
        // Nothing of this logging may be in the ring at the next.
        self.harvest(ram)?;
        self.switch(ram, 0)
    }

    fn switch(&mut self, ram: &GuestRam, flags: u32) -> Result<(), KvmError> {
        let Some(slot) = ram.window_slot(flags) else {
            return Ok(());
        };
        // SAFETY: the slot as it is, but for its flags.
        unsafe { self.vm.set_user_memory_region(slot) }.map_err(KvmError::of("KVM_SET_USER_MEMORY_REGION"))?;
        self.is_on = flags != 0;
        self.dirty.clear();
        self.dirty
            .resize((slot.memory_size / faultlab_abi::layout::PAGE_SIZE) as usize, false);
        Ok(())
    }

    /// Takes what KVM has logged, and has it protect those pages again.
    pub(crate) fn harvest(&mut self, ram: &GuestRam) -> Result<(), KvmError> {
        let dirty = &mut self.dirty;
        if let Some(ring) = &mut self.ring {
            return ring.harvest(&self.vm, |slot, page| {
                if let (WINDOW_SLOT, Some(dirty)) = (slot, dirty.get_mut(page as usize)) {
                    *dirty = true;
                }
            });
        }
        let log = self.vm.get_dirty_log(WINDOW_SLOT, ram.window_bytes() as usize);
        let log = log.map_err(KvmError::of("KVM_GET_DIRTY_LOG"))?;
        for (page, dirty) in dirty.iter_mut().enumerate() {
            *dirty |= log[page / 64] >> (page % 64) & 1 != 0;
        }
        Ok(())
    }
}
