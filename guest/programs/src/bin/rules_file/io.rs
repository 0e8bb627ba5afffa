//! Reading, writing, size, seeking: C13 to C15, C18 to C21.

use faultlab_programs::arena::{Arena, NONE, PRIVATE, Plain, RO, RW, line, mmap_raw, must, peek, poke};
use faultlab_programs::sys::files;
use faultlab_programs::sys::memory::PAGE_BYTES;

use crate::file::{Count, File, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};

const P: usize = PAGE_BYTES;
/// Largest position.
const MAX: usize = i64::MAX as usize;

pub(crate) fn show(arena: &Arena) {
    read();
    write();
    arguments(arena);
    vectors(arena);
    truncate(arena);
    seek();
    data(arena);
}

fn read() {
    let file = File::of_bytes(3 * P + 10);
    line("C13", "a hole", file.read(0, 2 * P));
    line("C13", "which stays a hole", file.extent());
    must(file.write(P, 5, 7));
    line("C13", "across a page and holes", file.read(P - 3, 20));
    line("C13", "up to the end", file.read(3 * P, P));
    line("C13", "at the end", file.read(3 * P + 10, 5));
    line("C13", "past the end", file.read(9 * P, 5));
    line("C13", "nothing", file.read(0, 0));
    line("C13", "at the last position", file.read(MAX, 1));
    line("C13", "nothing at the last position", file.read(MAX, 0));
    line("C13", "at a negative position", file.read(usize::MAX, 1));
}

fn write() {
    let file = File::new(0);
    line("C14", "three pages from byte 100 on", Count(file.write(100, 3 * P, 3)));
    line("C14", "extent", file.extent());
    line("C14", "past the end", Count(file.write(10 * P + 1, 1, 9)));
    line("C14", "extent", file.extent());
    line("C14", "between", file.read(3 * P, 3 * P));
    line("C14", "the last page", file.read(10 * P, P));
    line("C14", "over it", Count(file.write(101, 5, 4)));
    line("C14", "content", file.read(0, 200));
    line("C14", "nothing", Count(file.write(20 * P, 0, 0)));
    line("C14", "extent", file.extent());
    line("C14", "at the last position", Count(file.write(MAX, 1, 1)));
    line("C14", "at a negative position", Count(file.write(usize::MAX, 1, 1)));
    line("C19", "fsync", Plain(unsafe_fsync(file.0)));
}

fn unsafe_fsync(descriptor: usize) -> Result<usize, faultlab_programs::sys::Errno> {
    // SAFETY: touches no memory.
    unsafe { files::fsync([descriptor]) }
}

fn arguments(arena: &Arena) {
    let file = File::of_bytes(4 * P);
    must(file.write(0, 2 * P, 1));
    arena.clear();
    let read = |address: usize, bytes: usize, offset: usize| {
        // SAFETY: writes to the arena, or nowhere.
        Count(unsafe { files::pread([file.0, address, bytes, offset]) })
    };
    let write = |address: usize, bytes: usize, offset: usize| {
        // SAFETY: reads memory, or says that it cannot.
        Count(unsafe { files::pwrite([file.0, address, bytes, offset]) })
    };
    let at = arena.map(10, 1, RW, PRIVATE);
    let read_only = arena.map(20, 1, RO, PRIVATE);
    let none = arena.map(30, 1, NONE, PRIVATE);
    line("C13", "to nothing", read(arena.page(5), 1, 0));
    line("C13", "to read-only memory", read(read_only, 1, 0));
    line("C13", "to memory without rights", read(none, 1, 0));
    line("C13", "to the kernel's half", read(usize::MAX << 20, 1, 0));
    line("C13", "to a page that ends", read(at + P - 10, 100, 0));
    line("C13", "a hole to a page that ends", read(at + P - 10, 100, 3 * P));
    line("C13", "a hole to nothing", read(arena.page(5), 1, 3 * P));
    line("C15", "from nothing", write(arena.page(5), 1, 3 * P));
    line("C15", "from memory without rights", write(none, 1, 0));
    line("C15", "from the kernel's half", write(usize::MAX << 20, 1, 0));
    line("C15", "from a page that ends", write(at + P - 10, 100, 0));
    line("C15", "too long to be positive", write(at, usize::MAX, 0));
    line("C15", "size", file.seek(0, SEEK_END));
    // SAFETY: as above.
    line("C13", "of nothing", Count(unsafe { files::pread([99, at, 1, 0]) }));
    // SAFETY: as above.
    let read = unsafe { files::read([99, at, 1]) };
    line("C13", "from a number without a file", Count(read));
    line("C13", "position", file.seek(0, SEEK_SET));
    // SAFETY: as above.
    line("C13", "read", Count(unsafe { files::read([file.0, at, 100]) }));
    line("C13", "position", file.seek(0, SEEK_CUR));
    // SAFETY: as above.
    line("C14", "write", Count(unsafe { files::write([file.0, at, 50]) }));
    line("C14", "position", file.seek(0, SEEK_CUR));
}

fn vectors(arena: &Arena) {
    let file = File::of_bytes(0);
    arena.clear();
    let at = arena.map(10, 2, RW, PRIVATE);
    poke(at, 1);
    poke(at + P, 2);
    let writev = |vectors: &[[usize; 2]], count: usize| {
        // SAFETY: reads memory, or says that it cannot.
        Count(unsafe { files::writev([file.0, vectors.as_ptr() as usize, count]) })
    };
    let good = [[at, 10], [arena.page(5), 0], [at + P, 20]];
    line("C14", "writev", writev(&good, 3));
    line("C14", "content", file.read(0, 100));
    line("C14", "writev of nothing", writev(&good, 0));
    line(
        "C14",
        "writev, the second bad",
        writev(&[[at, 10], [arena.page(5), 10]], 2),
    );
    line(
        "C14",
        "writev, the first bad",
        writev(&[[arena.page(5), 10], [at, 10]], 2),
    );
    line("C14", "writev, too long", writev(&[[at, 10], [at, usize::MAX]], 2));
    line("C14", "writev, too many", writev(&good, 1025));
    line("C14", "extent", file.extent());
    must(file.seek(5, SEEK_SET).0);
    let vectors = [[at + 100, 3], [at + 200, 1000]];
    // SAFETY: writes to the arena.
    let answer = unsafe { files::readv([file.0, vectors.as_ptr() as usize, 2]) };
    line("C13", "readv", Count(answer));
    line("C13", "position", file.seek(0, SEEK_CUR));
    line("C13", "content", peek(at + 200 + 2));
}

fn truncate(arena: &Arena) {
    let file = File::new(0);
    must(file.write(0, 3 * P, 1));
    line("C18", "negative", Plain(file.truncate(usize::MAX)));
    line("C18", "of nothing", Plain(File(99).truncate(0)));
    line("C18", "down to 5000", Plain(file.truncate(5000)));
    line("C18", "extent", file.extent());
    line("C18", "up again", Plain(file.truncate(3 * P)));
    line("C18", "extent", file.extent());
    line("C18", "content", file.read(0, 3 * P));
    line("C18", "up to the largest", Plain(file.truncate(MAX)));
    line("C18", "extent", file.extent());
    line("C18", "down to nothing", Plain(file.truncate(0)));
    line("C18", "extent", file.extent());
    must(file.truncate(100));
    arena.clear();
    let at = must(mmap_raw([arena.page(10), P, RW, 0x11, file.0, 0]));
    line("C20", "what is not there yet", peek(at));
    must(file.write(0, 1, 5));
    line("C20", "written, then loaded", peek(at));
    poke(at + 1, 6);
    line("C20", "stored, then read", file.read(0, 100));
    line("B37", "behind the end of the file", peek(at + 100));
    poke(at + 100, 9);
    line("B37", "stored there", peek(at + 100));
    line("B37", "is not in the file", file.read(0, P));
    must(file.truncate(200));
    line("B37", "until that grows", file.read(0, P));
    must(file.truncate(50));
    must(file.truncate(P));
    line("B37", "but not once it had shrunk", file.read(0, P));
}

fn seek() {
    let file = File::of_bytes(100);
    line("lseek", "set", file.seek(7, SEEK_SET));
    line("lseek", "set below 0", file.seek(usize::MAX, SEEK_SET));
    line("lseek", "from here", file.seek(5, SEEK_CUR));
    line("lseek", "back", file.seek(5usize.wrapping_neg(), SEEK_CUR));
    line("lseek", "back below 0", file.seek(50usize.wrapping_neg(), SEEK_CUR));
    line("lseek", "from the end", file.seek(1, SEEK_END));
    line("lseek", "before the end", file.seek(100usize.wrapping_neg(), SEEK_END));
    line("lseek", "to the last", file.seek(MAX, SEEK_SET));
    line("lseek", "beyond it", file.seek(1, SEEK_CUR));
    line("lseek", "unknown", file.seek(0, 5));
    line("lseek", "of nothing", File(99).seek(0, SEEK_SET));
}

fn data(arena: &Arena) {
    let empty = File::of_bytes(0);
    line("C21", "data in nothing", empty.seek(0, SEEK_DATA));
    line("C21", "a hole in nothing", empty.seek(0, SEEK_HOLE));
    let file = File::of_bytes(8 * P + 5);
    line("C21", "data in a hole", file.seek(0, SEEK_DATA));
    must(file.write(2 * P + 10, 1, 1));
    must(file.write(3 * P, 1, 1));
    for offset in [0, 2 * P, 2 * P + 20, 3 * P + 1, 4 * P, 8 * P + 5, 9 * P, usize::MAX] {
        let at = offset.cast_signed();
        line("C21", format_args!("data from {at}"), file.seek(offset, SEEK_DATA));
        line("C21", format_args!("a hole from {at}"), file.seek(offset, SEEK_HOLE));
    }
    must(file.allocate(0, 5 * P, P));
    line("C21", "allocated is a hole", file.seek(4 * P, SEEK_DATA));
    arena.clear();
    let at = must(mmap_raw([arena.page(10), 8 * P, RO, 0x11, file.0, 0]));
    line("C21", "loaded", peek(at + 5 * P));
    line("C21", "is data", file.seek(4 * P, SEEK_DATA));
    must(file.write(8 * P, 5, 1));
    line("C21", "the end is a hole", file.seek(8 * P + 2, SEEK_HOLE));
}
