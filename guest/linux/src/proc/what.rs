//! What a name in proc can stand for: a directory, text, a link, a number.
//!
//! Source: Linux, fs/proc/base.c, kernel/sysctl.c; proc(5).

use super::sysfs::Attribute;

/// A directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dir {
    Root,
    Sysvipc,
    Sys,
    Kernel,
    Random,
    Vm,
    Fs,
    /// Of a process, or of a thread in its process's `task`.
    Process,
    /// Of a process: its threads.
    Task,
    /// Of a process: its descriptors, as links.
    Fd,
    /// Of a process: its descriptors, as text.
    FdInfo,
    /// The root of sysfs, and what leads to what is in it.
    Sysfs,
    SysfsKernel,
    SysfsMm,
    Hugepages,
    Hugepages1G,
    Hugepages2M,
    Thp,
}

/// Text that is made when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Buddyinfo,
    Cmdline,
    Cpuinfo,
    Devices,
    Filesystems,
    Loadavg,
    Meminfo,
    Slabinfo,
    Stat,
    Swaps,
    Uptime,
    Version,
    Vmstat,
    Zoneinfo,
    SysvipcShm,
    Process(Show),
}

/// Text about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Cmdline,
    Comm,
    Environ,
    Auxv,
    FdInfo,
    Limits,
    Maps,
    Mountinfo,
    Mounts,
    OomScore,
    OomScoreAdj,
    Smaps,
    SmapsRollup,
    Stat,
    Statm,
    Status,
    Wchan,
}

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    SelfProcess,
    ThreadSelf,
    Mounts,
    Exe,
    Cwd,
    Root,
    Fd,
}

/// A number that can be read, and mostly written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knob {
    ShmMax,
    ShmAll,
    ShmMni,
    ShmNextId,
    ShmRmidForced,
    PidMax,
    OvercommitMemory,
    OvercommitRatio,
    OvercommitKbytes,
    MaxMapCount,
    Swappiness,
    MinFreeKbytes,
    NrHugepages,
    NrOvercommitHugepages,
    HugetlbShmGroup,
    WatermarkScaleFactor,
    PageCluster,
    DropCaches,
    CompactMemory,
    MmapMinAddr,
    FileMax,
    NrOpen,
    LeaseBreakTime,
    LeasesEnable,
    DirNotifyEnable,
    PipeMaxSize,
    PipeUserPagesSoft,
    PipeUserPagesHard,
    Constant(u64),
}

/// A line of text that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Fixed(&'static str),
    BootId,
    Uuid,
    FileNr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Dir(Dir),
    File(File),
    Link(Link),
    Knob(Knob),
    Word(Word),
    /// A file of sysfs.
    Attribute(Attribute),
    /// Of a process: what each page of it is, 8 bytes each.
    Pagemap,
    /// Of a process: its memory.
    Mem,
    /// A standard stream, as a device.
    Stream,
}
