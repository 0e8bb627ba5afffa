//! Who may have huge pages. Rule G1.
//!
//! | who | asks |
//! |---|---|
//! | private memory | [`AnonPolicy`], advice of the mapping, `prctl(PR_SET_THP_DISABLE)` |
//! | an object of a mounted tmpfs | the mount's `huge=`; [`ShmemPolicy`] when that is `deny` or `force` |
//! | other objects | [`ShmemPolicy`] |
//!
//! Source: Linux, include/linux/huge_mm.h (`vma_thp_disabled`, `thp_vma_suitable_order`), mm/shmem.c (`shmem_huge_global_enabled`).

use super::{HPAGE_PAGES, HPAGE_SIZE, huge_start};
use crate::addr::{VirtAddr, pages_for};
use crate::gfp::Gfp;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::Field;
use crate::shmem::{Inode, SuperId, inode_flag};
use crate::vma::{MmId, MmStruct, VmArea, vm};
use crate::vma_tree::find_vma_area;

/// `/sys/kernel/mm/transparent_hugepage/enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AnonPolicy {
    /// Nobody.
    Never,
    /// Mappings that were advised (`MADV_HUGEPAGE`).
    Madvise,
    /// Everybody who did not decline.
    Always,
}

impl AnonPolicy {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Madvise => "madvise",
            Self::Never => "never",
        }
    }

    /// In the order in which the file shows them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Madvise, Self::Never];

    /// The one of this name.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().as_bytes() == name)
    }
}

/// `/sys/kernel/mm/transparent_hugepage/defrag`: what a huge page may cost where no free one is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Defrag {
    /// Reclaim and compaction, for whoever needs one.
    Always,
    /// Only kswapd is woken.
    Defer,
    /// The first for mappings that were advised, the second for others.
    DeferMadvise,
    /// The first for mappings that were advised, nothing for others.
    Madvise,
    /// Nothing.
    Never,
}

impl Defrag {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Defer => "defer",
            Self::DeferMadvise => "defer+madvise",
            Self::Madvise => "madvise",
            Self::Never => "never",
        }
    }

    /// In the order in which the file shows them.
    pub const ALL: [Self; 5] = [
        Self::Always,
        Self::Defer,
        Self::DeferMadvise,
        Self::Madvise,
        Self::Never,
    ];

    /// The one of this name.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|defrag| defrag.name().as_bytes() == name)
    }

    /// What the allocator may do for a huge page, in a mapping that was advised or not. Source: Linux `vma_thp_gfp_mask`.
    #[must_use]
    pub(super) const fn gfp(self, advised: bool) -> Gfp {
        let light = Gfp::TRANSHUGE_LIGHT;
        match (self, advised) {
            (Self::Always, true) => Gfp::TRANSHUGE,
            (Self::Always, false) => Gfp::TRANSHUGE.with(Gfp::NORETRY),
            (Self::DeferMadvise | Self::Madvise, true) => light.with(Gfp::DIRECT_RECLAIM),
            (Self::Defer, _) | (Self::DeferMadvise, false) => light.with(Gfp::KSWAPD_RECLAIM),
            (Self::Madvise, false) | (Self::Never, _) => light,
        }
    }
}

/// `huge=` of a tmpfs, and `/sys/kernel/mm/transparent_hugepage/shmem_enabled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum ShmemPolicy {
    /// No huge page.
    #[default]
    Never,
    /// Wherever something is needed.
    Always,
    /// Where the object's size has room for all of it, or as `Advise`.
    WithinSize,
    /// In mappings that were advised (`MADV_HUGEPAGE`).
    Advise,
    /// No object at all, whatever its mount says. Not for mounts.
    Deny,
    /// Every object, whatever its mount says. Not for mounts.
    Force,
}

impl ShmemPolicy {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::WithinSize => "within_size",
            Self::Advise => "advise",
            Self::Deny => "deny",
            Self::Force => "force",
        }
    }

    /// In the order in which the file shows them.
    pub const ALL: [Self; 6] = [
        Self::Always,
        Self::WithinSize,
        Self::Advise,
        Self::Never,
        Self::Deny,
        Self::Force,
    ];

    /// What `huge=` means by a word.
    #[must_use]
    pub fn of_mount(name: &[u8]) -> Option<Self> {
        Self::of_name(name).filter(|policy| !matches!(policy, Self::Deny | Self::Force))
    }

    /// What `shmem_enabled` means by a word.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().as_bytes() == name)
    }
}

impl ShmemPolicy {
    /// Flags of mappings, one of which an object's has where a fault may want a huge page.
    const fn wanted_by(self) -> u64 {
        match self {
            Self::Never | Self::Deny => 0,
            Self::Advise => vm::HUGEPAGE,
            Self::Always | Self::WithinSize | Self::Force => ANYBODY,
        }
    }
}

/// Flags of mappings, one of which all have that a fault gets so far with.
const ANYBODY: u64 = vm::READ | vm::WRITE | vm::EXEC;

impl Field for ShmemPolicy {
    fn to_word(self) -> u64 {
        self as u64
    }

    #[inline(always)]
    fn from_word(word: u64) -> Self {
        const ALWAYS: u64 = ShmemPolicy::Always as u64;
        const WITHIN_SIZE: u64 = ShmemPolicy::WithinSize as u64;
        const ADVISE: u64 = ShmemPolicy::Advise as u64;
        const DENY: u64 = ShmemPolicy::Deny as u64;
        const FORCE: u64 = ShmemPolicy::Force as u64;
        match word {
            ALWAYS => Self::Always,
            WITHIN_SIZE => Self::WithinSize,
            ADVISE => Self::Advise,
            DENY => Self::Deny,
            FORCE => Self::Force,
            _ => Self::Never,
        }
    }
}

/// Whether the huge page around `addr` lies in the mapping.
#[inline(always)]
pub(super) fn has_room(vma: VmArea<'_>, addr: VirtAddr) -> bool {
    let start = huge_start(addr);
    start >= vma.vm_start() && start.offset(HPAGE_SIZE) <= vma.vm_end()
}

/// Whether a leaf at the huge page around `addr` would lie in the mapping, and, for an object's, map a huge page as it is in the object.
pub(crate) fn is_suitable(vma: VmArea<'_>, addr: VirtAddr) -> bool {
    let in_phase = || {
        vma.linear_page_index(huge_start(addr))
            .is_multiple_of(u64::from(HPAGE_PAGES))
    };
    has_room(vma, addr) && (vma.vm_file().is_none() || in_phase())
}

impl<P: Platform> Memory<P> {
    /// Who of private memory gets huge pages.
    pub fn anon_policy(&self) -> AnonPolicy {
        let known = AnonPolicy::ALL.into_iter();
        known
            .into_iter()
            .find(|policy| *policy as u32 == self.thp.enabled.get())
            .unwrap_or(AnonPolicy::Never)
    }

    /// Sets [`Memory::anon_policy`].
    pub fn set_anon_policy(&self, policy: AnonPolicy) {
        self.thp.enabled.set(policy as u32);
        self.policies_changed();
    }

    /// What a huge page may cost.
    pub fn defrag(&self) -> Defrag {
        let known = Defrag::ALL.into_iter();
        known
            .into_iter()
            .find(|defrag| *defrag as u32 == self.thp.defrag.get())
            .unwrap_or(Defrag::Never)
    }

    /// Sets [`Memory::defrag`].
    pub fn set_defrag(&self, defrag: Defrag) {
        self.thp.defrag.set(defrag as u32);
    }

    /// Which objects get huge pages, where no mount says it.
    #[inline(always)]
    pub fn shmem_policy(&self) -> ShmemPolicy {
        ShmemPolicy::from_word(u64::from(self.thp.shmem_enabled.get()))
    }

    /// Sets [`Memory::shmem_policy`].
    pub fn set_shmem_policy(&self, policy: ShmemPolicy) {
        self.thp.shmem_enabled.set(policy as u32);
        self.policies_changed();
    }

    /// `huge=` of a mounted file system.
    pub fn set_mount_policy(&self, sb: SuperId, policy: ShmemPolicy) {
        self.sb(sb).set_huge(policy);
        // For good: nobody counts such mounts.
        let mounts = &self.thp.wanted_on_mounts;
        mounts.set(mounts.get() | policy.wanted_by());
        self.policies_changed();
    }

    /// Which mappings a fault has to ask further about.
    fn policies_changed(&self) {
        let anon = match self.anon_policy() {
            AnonPolicy::Never => 0,
            AnonPolicy::Madvise => vm::HUGEPAGE,
            AnonPolicy::Always => ANYBODY,
        };
        let of_objects = self.shmem_policy().wanted_by() | self.thp.wanted_on_mounts.get();
        self.thp.wanted_of_objects.set(of_objects);
        self.thp
            .wanted_by
            .set(anon | of_objects | vm::HUGE_OBJECT | vm::HUGETLB);
    }

    /// `prctl(PR_SET_THP_DISABLE)`: whether an address space has no huge pages, whatever else says.
    pub fn set_thp_disabled(&self, mm_id: MmId, disabled: bool) {
        self.mm(mm_id).set_thp_disabled(disabled);
    }

    /// `prctl(PR_GET_THP_DISABLE)`.
    pub fn thp_disabled(&self, mm_id: MmId) -> bool {
        self.mm(mm_id).thp_disabled()
    }

    /// Whether the mapping at an address could have huge pages: `THPeligible` of smaps. Source: Linux `thp_vma_allowable_orders`.
    pub fn thp_eligible(&self, mm_id: MmId, addr: VirtAddr) -> bool {
        let mm = self.mm(mm_id);
        let Some((_, vma)) = find_vma_area(self, mm, addr) else {
            return false;
        };
        let Some(last) = vma.vm_end().0.checked_sub(HPAGE_SIZE) else {
            return false;
        };
        !mm.thp_disabled()
            && vma.vm_flags() & (vm::PFNMAP | vm::HUGETLB) == 0
            && is_suitable(vma, VirtAddr(last))
            && match vma.vm_file() {
                Some(file) => {
                    self.shmem_wants_huge(self.inode(file), vma.linear_page_index(vma.vm_start()), vma.vm_flags())
                }
                None => self.anon_wants_huge(mm, vma),
            }
    }

    /// Whether a fault of private memory is to get a huge page.
    pub(super) fn anon_wants_huge(&self, mm: MmStruct<'_>, vma: VmArea<'_>) -> bool {
        let policy = self.thp.enabled.get();
        let wanted =
            policy == AnonPolicy::Always as u32 || (policy != AnonPolicy::Never as u32 && vma.has(vm::HUGEPAGE));
        wanted && vma.vm_flags() & (vm::NOHUGEPAGE | vm::PFNMAP) == 0 && !mm.thp_disabled()
    }

    /// What an object's huge pages depend on; `Never`, `Always` or what has to be looked at.
    #[inline(always)]
    pub(crate) fn policy_of(&self, inode: Inode<'_>) -> ShmemPolicy {
        if inode.i_flags() & inode_flag::RAMFS != 0 {
            return ShmemPolicy::Never;
        }
        let knob = self.shmem_policy();
        match (knob, inode.i_sb()) {
            (ShmemPolicy::Deny, _) => ShmemPolicy::Never,
            (ShmemPolicy::Force, _) => ShmemPolicy::Always,
            (_, Some(sb)) => self.sb(sb).huge(),
            (_, None) => knob,
        }
    }

    /// Whether an object is to get a huge page where its page `index` is needed: for a fault, with the flags of its VMA; for a call, with 0.
    #[inline(always)]
    pub(crate) fn shmem_wants_huge(&self, inode: Inode<'_>, index: u64, vm_flags: u64) -> bool {
        if vm_flags & vm::NOHUGEPAGE != 0 {
            return false;
        }
        let advised = vm_flags & vm::HUGEPAGE != 0;
        match self.policy_of(inode) {
            ShmemPolicy::Never | ShmemPolicy::Deny => false,
            ShmemPolicy::Always | ShmemPolicy::Force => true,
            ShmemPolicy::WithinSize => {
                let last = index | u64::from(HPAGE_PAGES - 1);
                advised || last == index || last < pages_for(inode.i_size())
            }
            ShmemPolicy::Advise => advised,
        }
    }
}
