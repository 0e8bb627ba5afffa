//! What an ELF file says about itself that matters to take it to another machine: what it needs to run, and which of
//! its bytes are ever loaded.
//!
//! Source: System V ABI, chapter 5 (program header, dynamic section); ld.so(8).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use object::LittleEndian;
use object::elf::{
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRTAB, EM_X86_64, FileHeader64, PT_LOAD, ProgramHeader64,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

type Header = FileHeader64<LittleEndian>;

/// What a dynamically linked program or library needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The loader (`PT_INTERP`).
    pub(super) interpreter: Option<PathBuf>,
    /// Libraries, in the order in which they are searched (`DT_NEEDED`).
    pub(super) libraries: Vec<OsString>,
    /// Directories of `DT_RPATH`, as written (`$ORIGIN` not replaced).
    pub(super) rpath: Vec<OsString>,
    /// Directories of `DT_RUNPATH`, as written.
    pub(super) runpath: Vec<OsString>,
}

/// Reads the needs of `data`, a whole file; `None` if it is no well-formed x86-64 ELF.
pub(super) fn needs(data: &[u8]) -> Option<Needs> {
    let header = header(data)?;
    let segments = header.program_headers(LittleEndian, data).ok()?;
    let mut needs = Needs::default();
    for segment in segments {
        if let Some(path) = segment.interpreter(LittleEndian, data).ok()? {
            needs.interpreter = Some(OsStr::from_bytes(path).into());
        }
        let Some(dynamic) = segment.dynamic(LittleEndian, data).ok()? else {
            continue;
        };
        let entries: Vec<_> = dynamic
            .iter()
            .map(|entry| (entry.tag(LittleEndian), entry.val(LittleEndian)))
            .take_while(|(tag, _)| *tag != DT_NULL)
            .collect();
        let Some((_, strings_at)) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB) else {
            continue;
        };
        // The table is given by its address, the file by offsets.
        let strings = segments.iter().find_map(|load| loaded_from(load, data, *strings_at))?;
        for (tag, offset) in entries {
            let text = || string(strings, offset);
            match tag {
                DT_NEEDED => needs.libraries.push(OsString::from_vec(text()?.to_vec())),
                DT_RPATH => needs.rpath = directories(text()?),
                DT_RUNPATH => needs.runpath = directories(text()?),
                _ => {}
            }
        }
    }
    Some(needs)
}

/// `data` without what follows the last loaded byte (section headers, symbols and debug information), so that the
/// copy is a fraction of the size and runs the same. Anything but a well-formed x86-64 ELF is returned as it is.
pub(super) fn loadable(mut data: Vec<u8>) -> Vec<u8> {
    let Some(end) = loadable_bytes(&data) else { return data };
    data.truncate(end);
    // The section header table is gone: e_shoff, and e_shnum with e_shstrndx, say so.
    data[0x28..0x30].fill(0);
    data[0x3c..0x40].fill(0);
    data
}

fn header(data: &[u8]) -> Option<&Header> {
    let header = Header::parse(data).ok()?;
    (header.is_little_endian() && header.e_machine(LittleEndian) == EM_X86_64).then_some(header)
}

/// Where the last byte ends that a program header names.
fn loadable_bytes(data: &[u8]) -> Option<usize> {
    let header = header(data)?;
    let segments = header.program_headers(LittleEndian, data).ok()?;
    let table_end = header
        .e_phoff(LittleEndian)
        .saturating_add(size_of_val(segments) as u64);
    let segment_ends = segments.iter().map(|segment| {
        let (offset, bytes) = segment.file_range(LittleEndian);
        offset.saturating_add(bytes)
    });
    let end = usize::try_from(segment_ends.fold(table_end, u64::max)).ok()?;
    (end >= size_of::<Header>() && end <= data.len()).then_some(end)
}

/// The file's bytes from `address` to the end of the segment, if `segment` loads it.
fn loaded_from<'d>(segment: &ProgramHeader64<LittleEndian>, data: &'d [u8], address: u64) -> Option<&'d [u8]> {
    if segment.p_type(LittleEndian) != PT_LOAD {
        return None;
    }
    let skip = address.checked_sub(segment.p_vaddr(LittleEndian))?;
    segment
        .data(LittleEndian, data)
        .ok()?
        .get(usize::try_from(skip).ok()?..)
}

/// The NUL-terminated string at `offset`.
fn string(strings: &[u8], offset: u64) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    rest.split(|byte| *byte == 0).next()
}

/// The parts of a list separated by colons.
fn directories(list: &[u8]) -> Vec<OsString> {
    let parts = list.split(|byte| *byte == b':').filter(|part| !part.is_empty());
    parts.map(|part| OsString::from_vec(part.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestElf, cut};
    use super::*;

    #[test]
    fn needs_are_read_from_the_dynamic_section() {
        let elf = TestElf {
            interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
            needed: &["libb.so.1", "liba.so"],
            rpath: Some("/old"),
            runpath: Some("$ORIGIN/../lib::/opt/lib"),
        };
        let needs = needs(&elf.build()).unwrap();
        assert_eq!(needs.interpreter, Some("/lib64/ld-linux-x86-64.so.2".into()));
        assert_eq!(needs.libraries, ["libb.so.1", "liba.so"]);
        assert_eq!(
            (needs.rpath, needs.runpath),
            (vec!["/old".into()], vec!["$ORIGIN/../lib".into(), "/opt/lib".into()])
        );
    }

    #[test]
    fn a_static_program_needs_nothing() {
        assert_eq!(needs(&TestElf::default().build()), Some(Needs::default()));
    }

    #[test]
    fn anything_else_has_no_needs_and_is_left_alone() {
        let mut foreign = TestElf::default().build();
        foreign[18] = 183; // EM_AARCH64
        for data in [b"#!/bin/sh\n".to_vec(), vec![], foreign] {
            assert_eq!(needs(&data), None);
            assert_eq!(loadable(data.clone()), data);
        }
    }

    #[test]
    fn damaged_files_are_refused_without_a_panic() {
        let elf = TestElf {
            interpreter: Some("/i"),
            needed: &["liba.so"],
            ..TestElf::default()
        };
        for data in cut(&elf.build()) {
            let _ = needs(&data);
            let _ = loadable(data);
        }
    }

    #[test]
    fn this_test_runs_without_its_debug_information() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let loadable = loadable(whole.clone());
        assert!(loadable.len() < whole.len());
        assert_eq!(needs(&loadable), needs(&whole));
        let sections = header(&loadable)
            .unwrap()
            .section_headers(LittleEndian, loadable.as_slice());
        assert!(sections.unwrap().is_empty(), "tools are not sent beyond the end");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy");
        std::fs::write(&path, loadable).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let listed = std::process::Command::new(&path).arg("--list").output().unwrap();
        assert!(listed.status.success() && !listed.stdout.is_empty(), "{listed:?}");
    }
}
