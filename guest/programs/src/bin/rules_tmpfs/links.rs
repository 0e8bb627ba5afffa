//! Symbolic links: C42.

use core::fmt::{self, Display};

use faultlab_programs::arena::{Plain, line, must};
use faultlab_programs::print::Bytes;
use faultlab_programs::sys::paths;

use faultlab_programs::by_path::{
    CWD, Long, Shown, Space, chmod, create, mkdir, mount, rmdir, stat, symlink, umount, unlink,
};

pub(crate) fn show() {
    for length in [1, 2, 126, 127, 128, 129, 4094, 4095, 4096] {
        let target = Long::of(b't', length);
        line(
            "C42",
            format_args!("a target of {length}"),
            Plain(symlink(target.path(), c"l")),
        );
        if length < 4096 {
            line("C42", "is", Shown(stat(c"l")));
            line("C42", "read", Target(4096));
            must(unlink(c"l"));
        }
    }
    line("C42", "no target", Plain(symlink(c"", c"l")));
    must(create(c"f"));
    line("C42", "over a file", Plain(symlink(c"x", c"f")));
    line("C42", "with a slash", Plain(symlink(c"x", c"l/")));
    must(symlink(c"some/where", c"l"));
    line("C42", "read", Target(64));
    line("C42", "read without room", Target(4));
    line("C42", "read into nothing", Target(0));
    line("C42", "chmod of nothing", Plain(chmod(c"l", 0o600)));
    must(unlink(c"l"));
    // SAFETY: no byte is written.
    let file = unsafe { paths::readlinkat([CWD, c"f".as_ptr() as usize, &raw const file_bytes as usize, 0]) };
    line("C42", "read of a file into nothing", Plain(file));
    must(unlink(c"f"));
    limited();
}

#[expect(non_upper_case_globals, reason = "an address to give, which nothing is stored at")]
static file_bytes: u8 = 0;

/// The target of `l`, as much as there is room for: how many bytes, and how it begins.
struct Target(usize);

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0u8; 4096];
        let arguments = [CWD, c"l".as_ptr() as usize, buffer.as_mut_ptr() as usize, self.0];
        // SAFETY: writes no more than the buffer.
        match unsafe { paths::readlinkat(arguments) } {
            Ok(bytes) => write!(f, "{bytes} bytes, {}", Bytes(&buffer[..bytes.min(12)])),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// Long targets take a block, short ones do not.
fn limited() {
    must(mkdir(c"m"));
    must(mount(c"m", c"tmpfs", 0, c"nr_blocks=1,nr_inodes=10"));
    line(
        "C42",
        "a short target",
        Plain(symlink(Long::of(b's', 127).path(), c"m/short")),
    );
    line(
        "C42",
        "a long target",
        Plain(symlink(Long::of(b'l', 128).path(), c"m/long")),
    );
    line("C42", "space", Space::of(c"m"));
    line("C42", "one more", Plain(symlink(Long::of(b'l', 200).path(), c"m/more")));
    line("C42", "a short one more", Plain(symlink(c"x", c"m/more")));
    line("C42", "space", Space::of(c"m"));
    must(unlink(c"m/long"));
    line("C42", "space", Space::of(c"m"));
    must(umount(c"m", 0));
    must(rmdir(c"m"));
}
