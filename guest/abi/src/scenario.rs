//! The catalogue of scenarios: every kind of fault, call and exit that the program `faults` can provoke, in the order of
//! reports. The program measures them, the VMM selects and names them.
//!
//! A scenario is one operation in one known state. Its row says how often it was done, what one cost, and what one moved
//! in the counters; [`Scenario::counted`] is what that must be.
//!
//! What the costs mean: `docs/measuring.md`.

/// What a scenario's operation is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// Pages, each once, by the access that is asked for; in any order.
    Pages,
    /// Pages, each once, by stores only: nothing else is the fault that is meant. In any order.
    Stores,
    /// Pages, each once, by loads only. In any order.
    Loads,
    /// No pages: a call or an exit, repeated. Order and access have no meaning.
    Nothing,
}

macro_rules! catalogue {
    ($($variant:ident = $name:literal, $touches:ident, $least:literal, $meaning:literal, $counted:literal;)+) => {
        /// One scenario.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Scenario { $(#[doc = $meaning] $variant,)+ }

        /// Every scenario, in the order of reports.
        pub const ALL: &[Scenario] = &[$(Scenario::$variant,)+];

        impl Scenario {
            /// Its name, in every output and on every command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What is done, and in which state, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What one operation must be counted as.
            #[must_use]
            pub const fn counted(self) -> &'static str {
                match self { $(Self::$variant => $counted,)+ }
            }

            /// What it touches.
            #[must_use]
            pub const fn touches(self) -> Touches {
                match self { $(Self::$variant => Touches::$touches,)+ }
            }

            /// Operations that are done at least, where their number is calibrated: as many as give a 99th percentile some
            /// meaning, fewer where one takes long.
            #[must_use]
            pub const fn least(self) -> u64 {
                match self { $(Self::$variant => $least,)+ }
            }
        }
    };
}

catalogue! {
    WarmTouch = "warm-touch", Pages, 64, "a page that is mapped, and backed by the host", "nothing";
    TlbMiss = "tlb-miss", Pages, 1024, "the same, among more pages than the TLB holds", "nothing";
    Minor = "minor", Pages, 64, "a shared page in the page cache, not mapped here", "1 fault";
    MinorRead = "minor-read", Loads, 64, "the same, by a load", "1 fault";
    FaultAround = "fault-around", Loads, 64, "a load among 16 cached pages of shared memory: maps all 16, whose loads follow", "1 fault";
    Minor1M = "minor-1m", Pages, 64, "as minor, in 64 places all over an object of 1 MiB", "1 fault";
    Minor16M = "minor-16m", Pages, 64, "as minor, in 64 places all over an object of 16 MiB", "1 fault";
    Minor256M = "minor-256m", Pages, 64, "as minor, in 64 places all over an object of 256 MiB", "1 fault";
    Minor4G = "minor-4g", Pages, 64, "as minor, in 64 places all over an object of 4 GiB", "1 fault";
    Minor64G = "minor-64g", Pages, 64, "as minor, in 64 places all over an object of 64 GiB", "1 fault";
    Minor1T = "minor-1t", Pages, 64, "as minor, in 64 places all over an object of 1 TiB", "1 fault";
    Minor1Vma = "minor-1-vma", Pages, 64, "as minor, in one mapping of an object", "1 fault";
    Minor10Vmas = "minor-10-vmas", Pages, 64, "as minor, all over 10 mappings of an object", "1 fault";
    Minor100Vmas = "minor-100-vmas", Pages, 64, "as minor, all over 100 mappings of an object", "1 fault";
    Minor1000Vmas = "minor-1000-vmas", Pages, 64, "as minor, all over 1,000 mappings of an object", "1 fault";
    Minor10000Vmas = "minor-10000-vmas", Pages, 64, "as minor, all over 10,000 mappings of an object", "1 fault";
    AllocWarm = "alloc-warm", Pages, 64, "a hole of shared memory; the next free frame is backed", "1 fault, 1 frame";
    AllocCold = "alloc-cold", Pages, 64, "a hole of shared memory; the next free frame is not backed", "1 fault, 1 frame, 1 violation";
    SecondLevelOnly = "second-level-only", Pages, 64, "a page that is mapped in the guest, not backed by the host", "1 violation";
    SecondLevelRead = "second-level-read", Loads, 64, "the same, by a load", "1 violation";
    WriteProtect = "write-protect", Stores, 64, "a page that the host has write-protected (dirty log)", "1 dirty page";
    Anon = "anon", Stores, 64, "private memory, never touched", "1 fault, 1 frame";
    ZeroPage = "zero-page", Loads, 64, "private memory, never touched, by a load", "1 fault";
    ZeroUpgrade = "zero-upgrade", Stores, 64, "private memory that was only read: it maps the page of zeroes", "1 fault, 1 frame";
    Cow = "cow", Stores, 64, "private memory that a forked child shares with its parent", "1 fault, 1 frame";
    CowReuse = "cow-reuse", Stores, 64, "private memory that was shared, and is owned alone again", "1 fault";
    SwapOut = "swap-out", Nothing, 64, "madvise(MADV_PAGEOUT) of one shared page", "1 page written";
    SwapIn = "swap-in", Pages, 64, "a shared page on swap", "1 major fault, 1 frame, 1 page read";
    HugeAnon = "huge-anon", Stores, 4, "private memory, never touched, that gets a page of 2 MiB", "1 fault, 513 frames, 1 call";
    HugeShmem = "huge-shmem", Stores, 4, "a hole of a memory file that gets a page of 2 MiB", "1 fault, 512 frames, 1 call";
    ColdPages = "cold-pages", Stores, 1024, "each page of 4 KiB in turn, mapped; not backed by the host", "1 violation a page of the host";
    HugeColdPages = "huge-cold-pages", Stores, 1024, "the same, mapped in pages of 2 MiB", "1 violation a page of the host";
    HugeTlbMiss = "huge-tlb-miss", Pages, 1024, "as tlb-miss, mapped in pages of 2 MiB", "nothing";
    UffdCopy = "uffd-copy", Stores, 16, "private memory; another process copies the page (userfaultfd)", "1 fault, 1 frame";
    UffdContinue = "uffd-continue", Stores, 16, "a cached page of a memory file; another process lets it be mapped (userfaultfd)", "1 fault";
    Getppid = "getppid", Nothing, 64, "getppid(): the way into the kernel and back", "1 call";
    MmapMunmap = "mmap-munmap", Nothing, 64, "mmap() and munmap() of one private page, untouched", "2 calls";
    Munmap = "munmap", Nothing, 64, "munmap() of one touched private page", "1 call";
    Mprotect = "mprotect", Nothing, 64, "mprotect() of one page in a larger mapping, and back", "2 calls";
    Pread = "pread", Nothing, 64, "pread() of a page of a tmpfs file, in the page cache", "1 call";
    CreateUnlink = "create-unlink", Nothing, 64, "open() of a new tmpfs file, close(), unlink()", "3 calls";
    ShmatShmdt = "shmat-shmdt", Nothing, 64, "shmat() of a segment of 8 MiB, untouched, and shmdt()", "2 calls";
    ShmgetRmid = "shmget-rmid", Nothing, 64, "shmget() of a new segment of one page, shmctl(IPC_RMID)", "2 calls";
    Fork = "fork", Nothing, 16, "fork(), exit() of the child, wait4()", "each time the same";
    PioExit = "pio-exit", Nothing, 64, "one port access, from ring 0", "1 exit";
    MmioExit = "mmio-exit", Nothing, 64, "one access to device memory, from ring 3", "1 exit";
    CpuidExit = "cpuid-exit", Nothing, 64, "one CPUID, from ring 0", "no exit to the VMM";
    HaltExit = "halt-exit", Nothing, 64, "one HLT, from ring 0; the vCPU's thread resumes it at once", "1 exit";
    HaltWake = "halt-wake", Nothing, 64, "one HLT, from ring 0; another thread wakes the vCPU's", "1 exit";
}

/// Scenarios that show something together, and can be asked for by one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// How a cost grows.
    Growth,
    /// What small and huge pages cost, in the guest and on the host.
    FourWay,
    /// What it costs to have a program answer faults, beside the kernel.
    Userfault,
}

impl Group {
    /// Every group.
    pub const ALL: [Group; 3] = [Group::Growth, Group::FourWay, Group::Userfault];

    /// Its name, on every command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Growth => "growth",
            Self::FourWay => "four-way",
            Self::Userfault => "userfault",
        }
    }

    /// Whether a scenario is of it.
    #[must_use]
    pub const fn has(self, scenario: Scenario) -> bool {
        use Scenario as S;
        match self {
            Self::Growth => scenario.is_growth(),
            Self::FourWay => matches!(
                scenario,
                S::TlbMiss
                    | S::AllocWarm
                    | S::Anon
                    | S::HugeAnon
                    | S::HugeShmem
                    | S::ColdPages
                    | S::HugeColdPages
                    | S::HugeTlbMiss
            ),
            Self::Userfault => matches!(
                scenario,
                S::Minor | S::Anon | S::AllocCold | S::SecondLevelOnly | S::UffdCopy | S::UffdContinue
            ),
        }
    }
}

/// How many there are.
pub const COUNT: usize = ALL.len();

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Scenario> {
        ALL.iter().copied().find(|scenario| scenario.name().as_bytes() == name)
    }

    /// Whether the order of the touches has a meaning.
    #[must_use]
    pub const fn has_pattern(self) -> bool {
        !matches!(self.touches(), Touches::Nothing)
    }

    /// Whether it belongs to the standard set of `faultlab run`.
    #[must_use]
    pub const fn is_standard(self) -> bool {
        matches!(
            self,
            Self::WarmTouch
                | Self::Minor
                | Self::AllocWarm
                | Self::AllocCold
                | Self::SecondLevelOnly
                | Self::SwapOut
                | Self::SwapIn
                | Self::PioExit
                | Self::MmioExit
        )
    }

    /// Whether it is one of those that show how a cost grows, which together set up far more than they measure.
    #[must_use]
    pub const fn is_growth(self) -> bool {
        matches!(
            self,
            Self::Minor1M
                | Self::Minor16M
                | Self::Minor256M
                | Self::Minor4G
                | Self::Minor64G
                | Self::Minor1T
                | Self::Minor1Vma
                | Self::Minor10Vmas
                | Self::Minor100Vmas
                | Self::Minor1000Vmas
                | Self::Minor10000Vmas
        )
    }

    /// Whether it is measured only when it, or a group that it is of, is asked for: what it sets up takes long (thousands of mappings, a
    /// minute where ring 0 is emulated), or much of a guest's memory.
    #[must_use]
    pub const fn is_special(self) -> bool {
        self.is_growth()
            || matches!(
                self,
                Self::HugeAnon
                    | Self::HugeShmem
                    | Self::ColdPages
                    | Self::HugeColdPages
                    | Self::HugeTlbMiss
                    | Self::UffdCopy
                    | Self::UffdContinue
            )
    }

    /// Whether it cannot be had without a swap area.
    #[must_use]
    pub const fn needs_swap(self) -> bool {
        matches!(self, Self::SwapOut | Self::SwapIn)
    }
}

const _: () = assert!(COUNT <= 64, "a set of scenarios is a 64-bit word");
