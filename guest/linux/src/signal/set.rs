//! Signals, and sets of them. Source: Linux, arch/x86/include/uapi/asm/signal.h, include/linux/signal.h; signal(7).

/// A signal: 1 to 64. From 32 on they are real-time signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(u8);

/// What a signal does where no action was asked for. Core files are not written, so those that would leave one just end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// The process ends.
    End,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// A stopped process goes on.
    Continue,
}

#[expect(missing_docs, reason = "those of signal(7)")]
impl Signal {
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const QUIT: Self = Self(3);
    pub const ILL: Self = Self(4);
    pub const TRAP: Self = Self(5);
    pub const BUS: Self = Self(7);
    pub const FPE: Self = Self(8);
    pub const KILL: Self = Self(9);
    pub const SEGV: Self = Self(11);
    pub const PIPE: Self = Self(13);
    pub const ALRM: Self = Self(14);
    pub const CHLD: Self = Self(17);
    pub const CONT: Self = Self(18);
    pub const STOP: Self = Self(19);
    pub const TSTP: Self = Self(20);
    pub const TTIN: Self = Self(21);
    pub const TTOU: Self = Self(22);
    pub const URG: Self = Self(23);
    pub const XCPU: Self = Self(24);
    pub const XFSZ: Self = Self(25);
    pub const VTALRM: Self = Self(26);
    pub const PROF: Self = Self(27);
    pub const WINCH: Self = Self(28);
    /// A descriptor has something.
    pub const IO: Self = Self(29);
    pub const SYS: Self = Self(31);
}

impl Signal {
    /// The first real-time signal, as the kernel counts.
    const RTMIN: u8 = 32;
    /// The last signal.
    const MAX: u8 = 64;

    /// The signal of this number, if there is one.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 || number > Self::MAX as u64 {
            return None;
        }
        Some(Self(number as u8))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Whether each one sent is kept, instead of one of them.
    #[must_use]
    pub const fn is_real_time(self) -> bool {
        self.0 >= Self::RTMIN
    }

    /// What it does if nobody says otherwise.
    #[must_use]
    pub const fn default_action(self) -> DefaultAction {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => DefaultAction::Ignore,
            Self::CONT => DefaultAction::Continue,
            Self::STOP | Self::TSTP | Self::TTIN | Self::TTOU => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }
}

/// A set of signals, signal 1 in bit 0, as programs have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigSet(pub u64);

impl SigSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(!0);
    /// Those that stop.
    pub const STOPPING: Self = Self::of(Signal::STOP)
        .union(Self::of(Signal::TSTP))
        .union(Self::of(Signal::TTIN))
        .union(Self::of(Signal::TTOU));
    /// Those that an instruction of the process causes. Source: Linux `SYNCHRONOUS_MASK`.
    const SYNCHRONOUS: Self = Self::of(Signal::SEGV)
        .union(Self::of(Signal::BUS))
        .union(Self::of(Signal::ILL))
        .union(Self::of(Signal::TRAP))
        .union(Self::of(Signal::FPE))
        .union(Self::of(Signal::SYS));

    /// One signal.
    #[must_use]
    pub const fn of(signal: Signal) -> Self {
        Self(1 << (signal.number() - 1))
    }

    /// Whether it is in.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// In either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In this one only.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Without those that nobody can block or handle.
    #[must_use]
    pub const fn blockable(self) -> Self {
        self.minus(Self::of(Signal::KILL).union(Self::of(Signal::STOP)))
    }

    /// The one that is taken first: of those that an instruction caused, or else of all, the lowest.
    pub(super) fn first(self) -> Option<Signal> {
        let synchronous = self.intersection(Self::SYNCHRONOUS);
        let among = if synchronous.is_empty() { self } else { synchronous };
        Signal::new(u64::from(among.0.trailing_zeros()) + 1)
    }
}
