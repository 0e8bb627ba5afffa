//! The initrd: a cpio archive in the "newc" format.
//!
//! Names may be padded with NULs (`c_namesize` counts them), which is how the VMM page-aligns a program's data so that
//! its frames can become page-cache pages where they are.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5).

use core::ops::Range;

const HEADER_BYTES: usize = 110;
/// "new ASCII" and the same with checksums.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const TRAILER: &[u8] = b"TRAILER!!!";

/// Offsets of the fields that matter, each eight hexadecimal digits.
const MODE_AT: usize = 14;
const UID_AT: usize = 22;
const GID_AT: usize = 30;
const FILESIZE_AT: usize = 54;
const NAMESIZE_AT: usize = 94;

/// An archive that ends in the middle of an entry, or has no header where one should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset of the entry.
    pub at: usize,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its name lies, without a leading `/` or `./`, nor the NULs.
    pub name: Range<usize>,
    /// Type and rights, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Where its content lies.
    pub data: Range<usize>,
    next: usize,
}

/// The files of an archive, in their order. After a malformed one there are no more.
pub fn entries(archive: &[u8]) -> impl Iterator<Item = Result<Entry, Malformed>> {
    let mut at = 0;
    // Zero padding after the trailer, or an archive without one, is accepted as its end.
    core::iter::from_fn(move || {
        if at >= archive.len() {
            return None;
        }
        let Some(entry) = entry(archive, at) else {
            let malformed = Malformed { at };
            at = archive.len();
            return Some(Err(malformed));
        };
        if archive.get(entry.name.clone()) == Some(TRAILER) {
            at = archive.len();
            return None;
        }
        at = entry.next;
        Some(Ok(entry))
    })
}

/// Where the content of the file `name` lies in `archive`, if it is there. A leading `/` or `./` of names does not
/// count.
///
/// # Errors
/// When the archive is malformed at or before that file.
pub fn find(archive: &[u8], name: &[u8]) -> Result<Option<Range<usize>>, Malformed> {
    for entry in entries(archive) {
        let entry = entry?;
        if archive.get(entry.name) == Some(&name[relative(name)..]) {
            return Ok(Some(entry.data));
        }
    }
    Ok(None)
}

fn entry(archive: &[u8], at: usize) -> Option<Entry> {
    let header = archive.get(at..at.checked_add(HEADER_BYTES)?)?;
    if !MAGICS.contains(&header.get(..6)?) {
        return None;
    }
    let name_start = at + HEADER_BYTES;
    let name_end = name_start.checked_add(hex(header, NAMESIZE_AT)?)?;
    let name = archive.get(name_start..name_end)?;
    let name_len = name.iter().position(|byte| *byte == 0)?;
    let data_start = name_end.checked_next_multiple_of(4)?;
    let data_end = data_start.checked_add(hex(header, FILESIZE_AT)?)?;
    archive.get(data_start..data_end)?;
    Some(Entry {
        name: name_start + relative(&name[..name_len])..name_start + name_len,
        mode: hex(header, MODE_AT)? as u32,
        uid: hex(header, UID_AT)? as u32,
        gid: hex(header, GID_AT)? as u32,
        data: data_start..data_end,
        next: data_end.checked_next_multiple_of(4)?,
    })
}

fn hex(header: &[u8], at: usize) -> Option<usize> {
    header.get(at..at + 8)?.iter().try_fold(0usize, |value, byte| {
        Some(value << 4 | char::from(*byte).to_digit(16)? as usize)
    })
}

/// Bytes of a leading `/` or `./`.
fn relative(name: &[u8]) -> usize {
    match name {
        [b'.', b'/', ..] => 2,
        [b'/', ..] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(archive: &mut Vec<u8>, name: &[u8], padding: usize, data: &[u8]) {
        let namesize = name.len() + padding;
        archive.extend(format!("070701{:048x}{:08x}{:032x}{namesize:08x}{:08x}", 0, data.len(), 0, 0).bytes());
        archive.extend(name);
        archive.extend(vec![0; padding]);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }

    fn archive() -> Vec<u8> {
        let mut archive = Vec::new();
        push(&mut archive, b"bin/hello", 1, b"abc");
        push(&mut archive, b"./init", 4096, b"defgh");
        push(&mut archive, b"TRAILER!!!", 1, b"");
        push(&mut archive, b"late", 1, b"x");
        archive
    }

    #[test]
    fn files_are_found() {
        let archive = archive();
        let content = |name| find(&archive, name).expect("well-formed").map(|range| &archive[range]);
        assert_eq!(content(b"bin/hello"), Some(&b"abc"[..]));
        assert_eq!(content(b"/bin/hello"), Some(&b"abc"[..]));
        assert_eq!(content(b"init"), Some(&b"defgh"[..]));
        assert_eq!(content(b"hello"), None);
        assert_eq!(content(b"late"), None, "after the trailer");
        assert_eq!(content(b".init"), None);
    }

    #[test]
    fn entries_are_listed_to_the_trailer() {
        let archive = archive();
        let names: Vec<_> = entries(&archive)
            .map(|entry| &archive[entry.expect("well-formed").name])
            .collect();
        assert_eq!(names, [&b"bin/hello"[..], b"init"]);
        let mut long = Vec::new();
        long.extend(format!("070701{:08x}{:08x}{:08x}{:08x}", 1, 0o100_750, 7, 8).bytes());
        long.extend(
            format!("{:032x}{:032x}{:08x}{:08x}", 0, 0, 2, 0)
                .replace(' ', "")
                .bytes(),
        );
        long.resize(HEADER_BYTES, b'0');
        long[NAMESIZE_AT..NAMESIZE_AT + 8].copy_from_slice(b"00000002");
        long.extend(b"x\0");
        let entry = entries(&long).next().expect("one").expect("well-formed");
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o100_750, 7, 8));
    }

    #[test]
    fn truncation_is_an_error_wherever_it_hits() {
        let archive = archive();
        let second = find(&archive, b"init").expect("well-formed").expect("there").end;
        for len in 1..second {
            assert!(!matches!(find(&archive[..len], b"init"), Ok(Some(_))), "cut at {len}");
        }
        assert_eq!(find(b"", b"init"), Ok(None));
        assert_eq!(find(&[0; 200], b"init"), Err(Malformed { at: 0 }));
    }

    #[test]
    fn huge_sizes_do_not_overflow() {
        for at in [FILESIZE_AT, NAMESIZE_AT] {
            let mut archive = archive();
            archive[at..at + 8].copy_from_slice(b"ffffffff");
            assert_eq!(find(&archive, b"init"), Err(Malformed { at: 0 }));
        }
    }
}
