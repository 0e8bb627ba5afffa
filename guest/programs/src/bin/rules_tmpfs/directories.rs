//! Directories: C39.

use core::ffi::CStr;
use core::fmt::{self, Display};

use faultlab_programs::arena::{Answer, Plain, line, must};
use faultlab_programs::print::Bytes;
use faultlab_programs::sys::{files, paths};

use faultlab_programs::by_path::{Open, RDWR, Shown, chdir, create, link, mkdir, need, rmdir, stat, stat_of, unlink};

pub(crate) fn show() {
    sizes();
    numbers();
    listings();
    working();
}

fn sizes() {
    must(mkdir(c"d"));
    line("C39", "empty", Shown(stat(c"d")));
    must(create(c"d/f"));
    line("C39", "a file", Shown(stat(c"d")));
    must(link(c"d/f", c"d/g"));
    line("C39", "another name", Shown(stat(c"d")));
    must(mkdir(c"d/s"));
    line("C39", "a subdirectory", Shown(stat(c"d")));
    must(mkdir(c"d/t"));
    line("C39", "another", Shown(stat(c"d")));
    for name in [c"d/f", c"d/g"] {
        must(unlink(name));
    }
    for name in [c"d/s", c"d/t"] {
        must(rmdir(name));
    }
    line("C39", "empty again", Shown(stat(c"d")));
    must(rmdir(c"d"));
}

fn numbers() {
    line("C39", "number of the root", stat(c".").ino());
    must(create(c"a"));
    must(create(c"b"));
    line("C39", "numbers grow by", stat(c"b").ino() - stat(c"a").ino());
    must(link(c"a", c"c"));
    line("C39", "another name has the same", stat(c"a").ino() == stat(c"c").ino());
    for name in [c"a", c"b", c"c"] {
        must(unlink(name));
    }
}

/// Names of a directory, and types, in alphabetical order.
struct Listing {
    names: [[u8; 24]; 16],
    count: usize,
}

impl Listing {
    fn of(path: &CStr, bytes: usize) -> Result<Self, faultlab_programs::sys::Errno> {
        let dir = need(path, 0);
        let mut listing = Self {
            names: [[0; 24]; 16],
            count: 0,
        };
        loop {
            let mut buffer = [0u8; 1024];
            let filled = getdents(&dir, &mut buffer, bytes)?;
            if filled == 0 {
                break;
            }
            let mut rest = &buffer[..filled];
            while let Some(len) = rest.get(16) {
                let (record, behind) = rest.split_at(usize::from(*len));
                let name = CStr::from_bytes_until_nul(&record[19..]).unwrap_or(c"?").to_bytes();
                let entry = &mut listing.names[listing.count];
                entry[0] = b'0' + record[18];
                entry[1..=name.len()].copy_from_slice(name);
                listing.count += 1;
                rest = behind;
            }
        }
        listing.names[..listing.count].sort_unstable_by_key(|name| (name[1..].first_chunk::<23>().copied(), name[0]));
        Ok(listing)
    }
}

impl Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.names[..self.count] {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            write!(f, "{} ({}) ", Bytes(&name[1..end]), char::from(name[0]))?;
        }
        write!(f, "in all {}", self.count)
    }
}

fn getdents(dir: &Open, buffer: &mut [u8; 1024], bytes: usize) -> Answer {
    // SAFETY: writes no more than the buffer.
    unsafe { paths::getdents64([dir.0, buffer.as_mut_ptr() as usize, bytes.min(buffer.len())]) }
}

pub(crate) fn list(case: &str, path: &CStr, bytes: usize) {
    match Listing::of(path, bytes) {
        Ok(listing) => line("C39", case, listing),
        Err(errno) => line("C39", case, errno),
    }
}

fn listings() {
    must(mkdir(c"d"));
    list("of an empty directory", c"d", 1024);
    for name in [c"d/one", c"d/two", c"d/three", c"d/four"] {
        must(create(name));
    }
    must(mkdir(c"d/five"));
    must(faultlab_programs::by_path::symlink(c"x", c"d/six"));
    must(faultlab_programs::by_path::mknod(c"d/seven", 0o010_644, 0));
    list("of files", c"d", 1024);
    list("with room for one", c"d", 24);
    list("with room for two", c"d", 56);
    list("with room for none", c"d", 23);
    must(unlink(c"d/two"));
    list("one less", c"d", 1024);
    let dir = need(c"d", 0);
    let mut buffer = [0; 1024];
    must(getdents(&dir, &mut buffer, 1024));
    line("C39", "at its end", Plain(getdents(&dir, &mut buffer, 1024)));
    // SAFETY: changes the position only.
    must(unsafe { files::lseek([dir.0, 0, 0]) });
    line(
        "C39",
        "from the start again",
        getdents(&dir, &mut buffer, 1024).unwrap_or(0),
    );
    for name in [c"d/one", c"d/three", c"d/four", c"d/six", c"d/seven"] {
        must(unlink(name));
    }
    must(rmdir(c"d/five"));
    must(rmdir(c"d"));
    line(
        "C39",
        "of a removed directory",
        Plain(getdents(&dir, &mut buffer, 1024)),
    );
    line(
        "C39",
        "whose links are",
        faultlab_programs::by_path::stat_open(&dir).links(),
    );
    must(create(c"f"));
    let file = need(c"f", RDWR);
    line("C39", "of a file", Plain(getdents(&file, &mut buffer, 1024)));
    must(unlink(c"f"));
    reading();
}

/// A directory is no file.
fn reading() {
    let dir = need(c".", 0);
    let mut byte = 0u8;
    let at = &raw mut byte as usize;
    // SAFETY: one byte is the buffer.
    line("C39", "read", Plain(unsafe { files::read([dir.0, at, 1]) }));
    // SAFETY: as above.
    line("C39", "write", Plain(unsafe { files::write([dir.0, at, 1]) }));
    // SAFETY: changes nothing.
    line("C39", "ftruncate", Plain(unsafe { files::ftruncate([dir.0, 0]) }));
    // SAFETY: as above.
    line("C39", "fsync", Plain(unsafe { files::fsync([dir.0]) }));
}

struct Cwd;

impl Display for Cwd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0u8; 64];
        // SAFETY: writes no more than the buffer.
        match unsafe { paths::getcwd([buffer.as_mut_ptr() as usize, buffer.len()]) } {
            Ok(bytes) => write!(f, "{} of {bytes}", Bytes(&buffer[..bytes - 1])),
            Err(errno) => errno.fmt(f),
        }
    }
}

fn working() {
    line("C39", "working directory", Cwd);
    must(mkdir(c"d"));
    must(mkdir(c"d/e"));
    line("C39", "chdir", Plain(chdir(c"d/e")));
    line("C39", "working directory", Cwd);
    line("C39", "chdir up", Plain(chdir(c"..")));
    line("C39", "working directory", Cwd);
    must(create(c"f"));
    line("C39", "chdir to a file", Plain(chdir(c"f")));
    line("C39", "chdir to nothing", Plain(chdir(c"x")));
    must(unlink(c"f"));
    let mut small = [0u8; 4];
    // SAFETY: writes no more than the buffer.
    let refused = unsafe { paths::getcwd([small.as_mut_ptr() as usize, small.len()]) };
    line("C39", "getcwd without room", Plain(refused));
    let above = need(c"..", 0);
    must(rmdir(c"e"));
    must(rmdir(c"/dev/shm/d"));
    line("C39", "removed", Cwd);
    line("C39", "a file in it", Plain(create(c"f")));
    line("C39", "what it is", Plain(stat_of(c".").map(|_| 0)));
    line("C39", "a directory beside where it was", Plain(mkdir(c"../b")));
    must(rmdir(c"/dev/shm/b"));
    // SAFETY: touches no memory.
    line("C39", "fchdir", Plain(unsafe { paths::fchdir([above.0]) }));
    line("C39", "working directory", Cwd);
    line("C39", "chdir across the mount", Plain(chdir(c"..")));
    line("C39", "working directory", Cwd);
    must(chdir(c"shm"));
    line("C39", "working directory", Cwd);
}
