//! What there is in proc: a table of names, each with its directory, its rights and what it shows.
//!
//! Source: Linux, fs/proc/root.c, fs/proc/base.c (`tgid_base_stuff`), kernel/sysctl.c; proc(5).

use super::hugepages::Pool;
use super::sysfs::Attribute;
use super::what::{Dir, File, Knob, Link, Show, What, Word};
use crate::vfs::s;

pub(crate) struct Node {
    pub(crate) dir: Dir,
    pub(crate) name: &'static str,
    /// Rights; the type follows from `what`.
    rights: u32,
    pub(crate) what: What,
}

impl Node {
    /// Type and rights.
    pub(crate) const fn mode(&self) -> u32 {
        self.rights
            | match self.what {
                What::Dir(_) => s::IFDIR,
                What::Link(_) => s::IFLNK,
                What::Stream => s::IFCHR,
                _ => s::IFREG,
            }
    }

    /// Names of it that `stat` tells, where they are not 1 or 2. Source: Linux: directories of sysctl do not count.
    pub(crate) const fn is_sysctl_dir(&self) -> bool {
        matches!(
            self.what,
            What::Dir(Dir::Sys | Dir::Kernel | Dir::Random | Dir::Vm | Dir::Fs)
        )
    }
}

const fn dir(dir: Dir, name: &'static str, what: Dir) -> Node {
    Node {
        dir,
        name,
        rights: 0o555,
        what: What::Dir(what),
    }
}

const fn private_dir(dir: Dir, name: &'static str, what: Dir) -> Node {
    Node {
        dir,
        name,
        rights: if matches!(what, Dir::Fd) { 0o500 } else { 0o555 },
        what: What::Dir(what),
    }
}

const fn file(name: &'static str, file: File) -> Node {
    Node {
        dir: Dir::Root,
        name,
        rights: 0o444,
        what: What::File(file),
    }
}

const fn show(name: &'static str, rights: u32, show: Show) -> Node {
    Node {
        dir: Dir::Process,
        name,
        rights,
        what: What::File(File::Process(show)),
    }
}

const fn link(dir: Dir, name: &'static str, link: Link) -> Node {
    Node {
        dir,
        name,
        rights: 0o777,
        what: What::Link(link),
    }
}

const fn knob(dir: Dir, name: &'static str, rights: u32, knob: Knob) -> Node {
    Node {
        dir,
        name,
        rights,
        what: What::Knob(knob),
    }
}

const fn word(dir: Dir, name: &'static str, word: Word) -> Node {
    Node {
        dir,
        name,
        rights: 0o444,
        what: What::Word(word),
    }
}

const fn attribute(name: &'static str, rights: u32, attribute: Attribute) -> Node {
    Node {
        dir: Dir::Thp,
        name,
        rights,
        what: What::Attribute(attribute),
    }
}

const fn pool(dir: Dir, name: &'static str, rights: u32, pool: Pool) -> Node {
    Node {
        dir,
        name,
        rights,
        what: What::Attribute(Attribute::Pool(pool)),
    }
}

/// Numbers of nodes that have no name of their own.
pub(crate) const ROOT: u16 = 0;
pub(crate) const PROCESS: u16 = 1;
pub(crate) const THREAD: u16 = 2;
pub(crate) const DESCRIPTOR: u16 = 3;
pub(crate) const DESCRIPTOR_INFO: u16 = 4;
pub(crate) const STREAM: u16 = 5;
pub(crate) const SYSFS: u16 = 6;
/// Name of a stream's node in the root of proc, before its number.
pub(crate) const STREAM_NAME: &[u8] = b"stream:";

/// What `uname` says, too.
pub const OSTYPE: &str = "Linux";
/// The release is that of the Linux whose rules are kept.
pub const OSRELEASE: &str = "6.18.0-faultlab";
/// Which build.
pub const VERSION: &str = "#1";
/// The machine's name.
pub const HOSTNAME: &str = "faultlab";

/// All of it. The first seven have names that are numbers, or none.
pub(crate) static NODES: &[Node] = &[
    dir(Dir::Root, "", Dir::Root),
    dir(Dir::Root, "", Dir::Process),
    dir(Dir::Task, "", Dir::Process),
    Node {
        dir: Dir::Fd,
        name: "",
        rights: 0o700,
        what: What::Link(Link::Fd),
    },
    Node {
        dir: Dir::FdInfo,
        name: "",
        rights: 0o444,
        what: What::File(File::Process(Show::FdInfo)),
    },
    Node {
        dir: Dir::Root,
        name: "",
        rights: 0o600,
        what: What::Stream,
    },
    dir(Dir::Sysfs, "", Dir::Sysfs),
    file("buddyinfo", File::Buddyinfo),
    file("cmdline", File::Cmdline),
    file("cpuinfo", File::Cpuinfo),
    file("devices", File::Devices),
    file("filesystems", File::Filesystems),
    file("loadavg", File::Loadavg),
    file("meminfo", File::Meminfo),
    link(Dir::Root, "mounts", Link::Mounts),
    link(Dir::Root, "self", Link::SelfProcess),
    Node {
        dir: Dir::Root,
        name: "slabinfo",
        rights: 0o400,
        what: What::File(File::Slabinfo),
    },
    file("stat", File::Stat),
    file("swaps", File::Swaps),
    dir(Dir::Root, "sys", Dir::Sys),
    dir(Dir::Root, "sysvipc", Dir::Sysvipc),
    link(Dir::Root, "thread-self", Link::ThreadSelf),
    file("uptime", File::Uptime),
    file("version", File::Version),
    file("vmstat", File::Vmstat),
    file("zoneinfo", File::Zoneinfo),
    Node {
        dir: Dir::Sysvipc,
        name: "shm",
        rights: 0o444,
        what: What::File(File::SysvipcShm),
    },
    dir(Dir::Sys, "fs", Dir::Fs),
    dir(Dir::Sys, "kernel", Dir::Kernel),
    dir(Dir::Sys, "vm", Dir::Vm),
    knob(Dir::Fs, "dir-notify-enable", 0o644, Knob::DirNotifyEnable),
    knob(Dir::Fs, "file-max", 0o644, Knob::FileMax),
    word(Dir::Fs, "file-nr", Word::FileNr),
    knob(Dir::Fs, "lease-break-time", 0o644, Knob::LeaseBreakTime),
    knob(Dir::Fs, "leases-enable", 0o644, Knob::LeasesEnable),
    knob(Dir::Fs, "nr_open", 0o644, Knob::NrOpen),
    knob(Dir::Fs, "pipe-max-size", 0o644, Knob::PipeMaxSize),
    knob(Dir::Fs, "pipe-user-pages-hard", 0o644, Knob::PipeUserPagesHard),
    knob(Dir::Fs, "pipe-user-pages-soft", 0o644, Knob::PipeUserPagesSoft),
    knob(Dir::Kernel, "cap_last_cap", 0o444, Knob::Constant(40)),
    word(Dir::Kernel, "domainname", Word::Fixed("(none)")),
    word(Dir::Kernel, "hostname", Word::Fixed(HOSTNAME)),
    knob(Dir::Kernel, "ngroups_max", 0o444, Knob::Constant(65536)),
    word(Dir::Kernel, "osrelease", Word::Fixed(OSRELEASE)),
    word(Dir::Kernel, "ostype", Word::Fixed(OSTYPE)),
    knob(Dir::Kernel, "pid_max", 0o444, Knob::PidMax),
    dir(Dir::Kernel, "random", Dir::Random),
    knob(Dir::Kernel, "randomize_va_space", 0o444, Knob::Constant(0)),
    knob(Dir::Kernel, "shm_next_id", 0o644, Knob::ShmNextId),
    knob(Dir::Kernel, "shm_rmid_forced", 0o644, Knob::ShmRmidForced),
    knob(Dir::Kernel, "shmall", 0o644, Knob::ShmAll),
    knob(Dir::Kernel, "shmmax", 0o644, Knob::ShmMax),
    knob(Dir::Kernel, "shmmni", 0o644, Knob::ShmMni),
    knob(Dir::Kernel, "tainted", 0o444, Knob::Constant(0)),
    word(Dir::Kernel, "version", Word::Fixed(VERSION)),
    word(Dir::Random, "boot_id", Word::BootId),
    knob(Dir::Random, "entropy_avail", 0o444, Knob::Constant(256)),
    knob(Dir::Random, "poolsize", 0o444, Knob::Constant(256)),
    word(Dir::Random, "uuid", Word::Uuid),
    knob(Dir::Vm, "compact_memory", 0o200, Knob::CompactMemory),
    knob(Dir::Vm, "drop_caches", 0o200, Knob::DropCaches),
    knob(Dir::Vm, "hugetlb_shm_group", 0o644, Knob::HugetlbShmGroup),
    knob(Dir::Vm, "max_map_count", 0o644, Knob::MaxMapCount),
    knob(Dir::Vm, "min_free_kbytes", 0o644, Knob::MinFreeKbytes),
    knob(Dir::Vm, "mmap_min_addr", 0o644, Knob::MmapMinAddr),
    knob(Dir::Vm, "nr_hugepages", 0o644, Knob::NrHugepages),
    knob(Dir::Vm, "nr_overcommit_hugepages", 0o644, Knob::NrOvercommitHugepages),
    knob(Dir::Vm, "overcommit_kbytes", 0o644, Knob::OvercommitKbytes),
    knob(Dir::Vm, "overcommit_memory", 0o644, Knob::OvercommitMemory),
    knob(Dir::Vm, "overcommit_ratio", 0o644, Knob::OvercommitRatio),
    knob(Dir::Vm, "page-cluster", 0o644, Knob::PageCluster),
    knob(Dir::Vm, "swappiness", 0o644, Knob::Swappiness),
    knob(Dir::Vm, "watermark_scale_factor", 0o644, Knob::WatermarkScaleFactor),
    show("auxv", 0o400, Show::Auxv),
    show("cmdline", 0o444, Show::Cmdline),
    show("comm", 0o644, Show::Comm),
    link(Dir::Process, "cwd", Link::Cwd),
    show("environ", 0o400, Show::Environ),
    link(Dir::Process, "exe", Link::Exe),
    private_dir(Dir::Process, "fd", Dir::Fd),
    private_dir(Dir::Process, "fdinfo", Dir::FdInfo),
    show("limits", 0o444, Show::Limits),
    show("maps", 0o444, Show::Maps),
    Node {
        dir: Dir::Process,
        name: "mem",
        rights: 0o600,
        what: What::Mem,
    },
    show("mountinfo", 0o444, Show::Mountinfo),
    show("mounts", 0o444, Show::Mounts),
    show("oom_score", 0o444, Show::OomScore),
    show("oom_score_adj", 0o644, Show::OomScoreAdj),
    Node {
        dir: Dir::Process,
        name: "pagemap",
        rights: 0o400,
        what: What::Pagemap,
    },
    link(Dir::Process, "root", Link::Root),
    show("smaps", 0o444, Show::Smaps),
    show("smaps_rollup", 0o444, Show::SmapsRollup),
    show("stat", 0o444, Show::Stat),
    show("statm", 0o444, Show::Statm),
    show("status", 0o444, Show::Status),
    dir(Dir::Process, "task", Dir::Task),
    show("wchan", 0o444, Show::Wchan),
    dir(Dir::Sysfs, "kernel", Dir::SysfsKernel),
    dir(Dir::SysfsKernel, "mm", Dir::SysfsMm),
    dir(Dir::SysfsMm, "hugepages", Dir::Hugepages),
    dir(Dir::Hugepages, "hugepages-1048576kB", Dir::Hugepages1G),
    dir(Dir::Hugepages, "hugepages-2048kB", Dir::Hugepages2M),
    pool(Dir::Hugepages1G, "demote", 0o200, Pool::Demote),
    pool(Dir::Hugepages1G, "demote_size", 0o644, Pool::DemoteSize),
    pool(Dir::Hugepages1G, "free_hugepages", 0o444, Pool::Free(true)),
    pool(Dir::Hugepages1G, "nr_hugepages", 0o644, Pool::Size(true)),
    pool(Dir::Hugepages1G, "nr_hugepages_mempolicy", 0o644, Pool::Size(true)),
    pool(
        Dir::Hugepages1G,
        "nr_overcommit_hugepages",
        0o644,
        Pool::Overcommit(true),
    ),
    pool(Dir::Hugepages1G, "resv_hugepages", 0o444, Pool::Reserved(true)),
    pool(Dir::Hugepages1G, "surplus_hugepages", 0o444, Pool::Surplus(true)),
    pool(Dir::Hugepages2M, "free_hugepages", 0o444, Pool::Free(false)),
    pool(Dir::Hugepages2M, "nr_hugepages", 0o644, Pool::Size(false)),
    pool(Dir::Hugepages2M, "nr_hugepages_mempolicy", 0o644, Pool::Size(false)),
    pool(
        Dir::Hugepages2M,
        "nr_overcommit_hugepages",
        0o644,
        Pool::Overcommit(false),
    ),
    pool(Dir::Hugepages2M, "resv_hugepages", 0o444, Pool::Reserved(false)),
    pool(Dir::Hugepages2M, "surplus_hugepages", 0o444, Pool::Surplus(false)),
    dir(Dir::SysfsMm, "transparent_hugepage", Dir::Thp),
    attribute("defrag", 0o644, Attribute::Defrag),
    attribute("enabled", 0o644, Attribute::Enabled),
    attribute("hpage_pmd_size", 0o444, Attribute::HpagePmdSize),
    attribute("shmem_enabled", 0o644, Attribute::ShmemEnabled),
    attribute("use_zero_page", 0o644, Attribute::UseZeroPage),
];

/// The node of a name that is no number.
pub(crate) fn find(dir: Dir, name: &[u8]) -> Option<u16> {
    if name.is_empty() {
        return None;
    }
    let found = NODES
        .iter()
        .position(|node| node.dir == dir && node.name.as_bytes() == name);
    found.map(|at| at as u16)
}

/// What an object of proc is: a node, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shows {
    /// Index of the node.
    pub(crate) node: u16,
    /// A descriptor's number.
    pub(crate) descriptor: u16,
    /// A process's; 0 for none.
    pub(crate) pid: u32,
}

impl Shows {
    pub(crate) const ROOT: Self = Self::of_root(ROOT);
    pub(crate) const SYSFS: Self = Self::of_root(SYSFS);

    const fn of_root(node: u16) -> Self {
        Self {
            node,
            descriptor: 0,
            pid: 0,
        }
    }

    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.pid) << 32 | u64::from(self.descriptor) << 16 | u64::from(self.node)
    }

    pub(crate) fn from_word(word: u64) -> Self {
        Self {
            node: word as u16,
            descriptor: (word >> 16) as u16,
            pid: (word >> 32) as u32,
        }
    }

    /// A number that nothing else in proc has; the root has 1.
    pub(crate) fn ino(self) -> u64 {
        self.to_word() + 1
    }

    pub(crate) fn node(self) -> &'static Node {
        // Numbers come from here, so they are in the table.
        &NODES[usize::from(self.node) % NODES.len()]
    }

    pub(crate) fn what(self) -> What {
        self.node().what
    }
}

/// A decimal number without leading zeroes, as names of processes and descriptors are.
pub(crate) fn number(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 10 || (name[0] == b'0' && name.len() > 1) {
        return None;
    }
    name.iter().try_fold(0u32, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
}
