//! Names on a small tmpfs that everybody may write to: few of them, so that calls meet, and little space, so that it runs out.
//! Each process has its working directory and its mask; who has become a user lacks root's rights.

use core::ffi::CStr;
use core::fmt::{self, Display};

use faultlab_programs::arena::{Plain, must};
use faultlab_programs::by_path::{
    self, APPEND, CREAT, CWD, DIRECTORY, EXCL, NOFOLLOW, Open, PATH, RDONLY, RDWR, SYMLINK_NOFOLLOW, Shown, Space,
    TMPFILE, TRUNC, WRONLY,
};
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::{Errno, paths, process};

use crate::Call;
use crate::draw::Draw;
use crate::memory_files::{Number, show_new};

const ROOT: &CStr = c"/dev/shm";
/// Where processes begin. A working directory is here or below, never the root of the file system, so that `..` does not lead out of it.
const TOP: &CStr = c"/dev/shm/top";

/// What calls are about: some of them never exist, or only for a while.
const NAMES: [&CStr; 18] = [
    c"a",
    c"a",
    c"b",
    c"b",
    c"c",
    c"d",
    c"d/a",
    c"d/b",
    c"d/e",
    c"d/e/a",
    c"a/b",
    c"./b",
    c"d/../a",
    c"d/",
    c"a/",
    c"../a",
    c"/dev/shm/top/d/a",
    c"",
];

/// What symbolic links hold: nothing that could lead to the root of the file system from wherever they are.
const TARGETS: [&CStr; 9] = [c"a", c"b", c"c", c"d", c"d/a", c"d/e", c"a/b", c"/dev/shm/top/d/a", c""];

/// Mounts it, with space for 24 pages.
///
/// # Errors
/// As `mount`: without root's rights, `EPERM`.
pub(crate) fn set() -> Result<(), Errno> {
    by_path::mount(ROOT, c"tmpfs", 0, c"size=96k,mode=1777")?;
    by_path::umask(0o022);
    by_path::mkdir(TOP)?;
    by_path::chmod(TOP, 0o1777)?;
    by_path::chdir(TOP)?;
    Ok(())
}

fn name(draw: &mut Draw) -> &'static CStr {
    draw.one_of(&NAMES)
}

/// A path as it is written.
struct Path(&'static CStr);

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.to_str().unwrap_or("?"))
    }
}

pub(crate) fn make(call: &Call, draw: &mut Draw) {
    let path = name(draw);
    let shown = Path(path);
    match draw.below(30) {
        0..=5 => open(call, draw, path),
        6..=8 => call.show(format_args!("mkdir {shown}"), Plain(by_path::mkdir(path))),
        9 => call.show(format_args!("rmdir {shown}"), Plain(by_path::rmdir(path))),
        10 | 11 => call.show(format_args!("unlink {shown}"), Plain(by_path::unlink(path))),
        12..=14 => rename(call, draw, path),
        // What others may link to depends on how this system is set up (`fs.protected_hardlinks`).
        15 | 16 if process::ids()[1] != 0 => call.show("link", "not as another"),
        15 | 16 => {
            let new = name(draw);
            call.show(
                format_args!("link {shown} {}", Path(new)),
                Plain(by_path::link(path, new)),
            );
        }
        17 => {
            let target = draw.one_of(&TARGETS);
            call.show(
                format_args!("symlink {} at {shown}", Path(target)),
                Plain(by_path::symlink(target, path)),
            );
        }
        18 => read_link(call, path),
        19 => rights(call, draw, path),
        20 => {
            let size = draw.one_of(&[0, 1, 5000, 10 * PAGE_BYTES, 30 * PAGE_BYTES]);
            let answer = by_path::truncate(path, size);
            call.show(format_args!("truncate {shown} to {size}"), Plain(answer));
        }
        21..=23 => show_stat(call, path),
        24 => list(call, path),
        25 => call.show(
            format_args!("access {shown}"),
            format_args!(
                "{}, {}",
                Plain(by_path::access(path, 4)),
                Plain(by_path::access(path, 3))
            ),
        ),
        26 => call.show(format_args!("chdir {shown}"), Plain(by_path::chdir(path))),
        27 => call.show("chdir to the top", Plain(by_path::chdir(TOP))),
        28 => {
            // A regular file, a character device that is no device, a socket.
            let mode = draw.one_of(&[0o100_644, 0o020_666, 0o140_755]);
            let answer = by_path::mknod(path, mode, 0);
            call.show(format_args!("mknod {shown} {mode:o}"), Plain(answer));
        }
        _ => match Space::try_of(path) {
            // A file that is open without a name keeps the directory alive that it was in, and counted: not so in the guest.
            Ok(space) => call.show(
                format_args!("statfs {shown}"),
                format_args!("{} of {} blocks free", space.free(), space.blocks()),
            ),
            Err(errno) => call.show(format_args!("statfs {shown}"), errno),
        },
    }
}

fn open(call: &Call, draw: &mut Draw, path: &'static CStr) {
    let (flags, shown) = draw.one_of(&[
        (RDONLY, "to read"),
        (WRONLY, "to write"),
        (RDWR, "to read and write"),
        (RDWR | CREAT, "to create"),
        (RDWR | CREAT, "to create"),
        (RDWR | CREAT | EXCL, "if it is new"),
        (RDWR | CREAT | TRUNC, "emptied"),
        (RDWR | CREAT | NOFOLLOW, "if it is no link"),
        (WRONLY | CREAT | APPEND, "to append"),
        (RDONLY | DIRECTORY, "as a directory"),
        (PATH, "as a place"),
        (RDWR | TMPFILE, "without a name"),
    ]);
    let answer = by_path::open_at(CWD, path, flags, 0o666);
    show_new(call, format_args!("open {} {shown}", Path(path)), answer);
}

fn rename(call: &Call, draw: &mut Draw, path: &'static CStr) {
    let new = name(draw);
    let (flags, shown) = draw.one_of(&[(0, ""), (0, ""), (1, ", if free"), (2, ", exchanged")]);
    call.show(
        format_args!("rename {} {}{shown}", Path(path), Path(new)),
        Plain(by_path::rename(path, new, flags)),
    );
}

fn rights(call: &Call, draw: &mut Draw, path: &'static CStr) {
    if draw.once_in(2) {
        let mode = draw.one_of(&[0o644, 0o600, 0o755, 0o1777, 0o4755, 0o2711, 0]);
        let answer = by_path::chmod(path, mode);
        return call.show(format_args!("chmod {} {mode:o}", Path(path)), Plain(answer));
    }
    let (user, group) = draw.one_of(&[(0, 0), (1000, 1000), (1000, usize::MAX)]);
    let answer = by_path::chown(path, user, group, draw.below(2) * SYMLINK_NOFOLLOW);
    call.show(
        format_args!("chown {} {} {}", Path(path), user as i32, group as i32),
        Plain(answer),
    );
}

fn read_link(call: &Call, path: &'static CStr) {
    let mut target = [0u8; 64];
    // SAFETY: reads the path, and writes no more than the buffer.
    let answer =
        unsafe { paths::readlinkat([CWD, path.as_ptr() as usize, target.as_mut_ptr() as usize, target.len()]) };
    let text = core::str::from_utf8(&target[..answer.unwrap_or(0)]).unwrap_or("?");
    call.show(
        format_args!("readlink {}", Path(path)),
        format_args!("{} {text}", Number(answer)),
    );
}

fn show_stat(call: &Call, path: &'static CStr) {
    match by_path::stat_of(path) {
        Ok(stat) => {
            let (user, group) = stat.owner();
            call.show(
                format_args!("stat {}", Path(path)),
                format_args!("{} of {user} {group}", Shown(stat)),
            );
        }
        Err(errno) => call.show(format_args!("stat {}", Path(path)), errno),
    }
}

/// The names in a directory, in the order in which it gives them.
fn list(call: &Call, path: &'static CStr) {
    let what = Path(path);
    let dir = match by_path::open(path, RDONLY | DIRECTORY) {
        Ok(number) => Open(number),
        Err(errno) => return call.show(format_args!("list {what}"), errno),
    };
    let mut buffer = [0u8; 2048];
    // SAFETY: writes no more than the buffer.
    let bytes = must(unsafe { paths::getdents64([dir.0, buffer.as_mut_ptr() as usize, buffer.len()]) });
    call.show(format_args!("list {what}"), Names(&buffer[..bytes]));
}

/// What `getdents64` wrote.
struct Names<'a>(&'a [u8]);

impl Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// `ino`, `off`, `reclen`, `type`.
        const HEADER: usize = 19;
        let mut rest = self.0;
        while let Some(&[low, high]) = rest.get(16..18) {
            let entry = rest.split_at(usize::from(u16::from_le_bytes([low, high])).min(rest.len()));
            let name = CStr::from_bytes_until_nul(&entry.0[HEADER..]).unwrap_or(c"?");
            write!(f, "{} ", name.to_str().unwrap_or("?"))?;
            rest = entry.1;
        }
        Ok(())
    }
}
