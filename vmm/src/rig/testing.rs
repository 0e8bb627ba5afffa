//! Small ELF files for the tests, and a machine to boot.

use std::path::Path;

use object::elf::{DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRTAB, DynamicTag};

use super::launch::Boot;

/// A boot that counts instructions, as most do.
pub(super) fn boot() -> Boot<'static> {
    Boot {
        kernel: Path::new("/k, with a comma"),
        initramfs: Path::new("/i"),
        console: Path::new("/c"),
        icount: true,
        mitigations: false,
        append: "",
    }
}

/// An x86-64 ELF with exactly these needs, and with section headers' worth of ballast behind what is loaded.
#[derive(Clone, Copy, Default)]
pub(super) struct TestElf<'a> {
    pub(super) interpreter: Option<&'a str>,
    pub(super) needed: &'a [&'a str],
    pub(super) rpath: Option<&'a str>,
    pub(super) runpath: Option<&'a str>,
}

/// Address at which offset 0 of the file is loaded.
const BASE: u64 = 0x40_0000;

impl TestElf<'_> {
    pub(super) fn build(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut intern = |text: &str| {
            let at = strings.len() as u64;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let mut dynamic: Vec<(DynamicTag, u64)> = self.needed.iter().map(|name| (DT_NEEDED, intern(name))).collect();
        dynamic.extend(self.rpath.map(|path| (DT_RPATH, intern(path))));
        dynamic.extend(self.runpath.map(|path| (DT_RUNPATH, intern(path))));
        let interpreter_at = self.interpreter.map(&mut intern);
        // Header, three program headers, the dynamic section, the strings.
        let dynamic_at = 64 + 3 * 56;
        let dynamic_bytes = if dynamic.is_empty() {
            0
        } else {
            (dynamic.len() as u64 + 2) * 16
        };
        let strings_at = dynamic_at + dynamic_bytes;
        let end = strings_at + strings.len() as u64;

        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
        [2_u16, 62].iter().for_each(|half| put(&half.to_le_bytes()));
        put(&1_u32.to_le_bytes());
        [BASE, 64, 0x1234].iter().for_each(|word| put(&word.to_le_bytes()));
        put(&0_u32.to_le_bytes());
        [64_u16, 56, 3, 64, 9, 8]
            .iter()
            .for_each(|half| put(&half.to_le_bytes()));
        let mut segment = |kind: u32, offset: u64, bytes: u64| {
            put(&kind.to_le_bytes());
            put(&5_u32.to_le_bytes());
            [offset, BASE + offset, BASE + offset, bytes, bytes, 8]
                .iter()
                .for_each(|word| put(&word.to_le_bytes()));
        };
        segment(1, 0, end);
        segment(if dynamic.is_empty() { 0 } else { 2 }, dynamic_at, dynamic_bytes);
        let interpreter_bytes = self.interpreter.map_or(0, |text| text.len() as u64 + 1);
        segment(
            interpreter_at.map_or(0, |_| 3),
            strings_at + interpreter_at.unwrap_or(0),
            interpreter_bytes,
        );
        if !dynamic.is_empty() {
            dynamic.extend([(DT_STRTAB, BASE + strings_at), (DT_NULL, 0)]);
        }
        for (tag, value) in dynamic {
            put(&tag.0.to_le_bytes());
            put(&value.to_le_bytes());
        }
        put(&strings);
        put(b"section headers and debug information");
        file
    }
}

/// `data` cut off at every length, and with every byte in turn set to 0xff.
pub(super) fn cut(data: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let shortened = (0..data.len()).map(|length| data[..length].to_vec());
    let changed = (0..data.len()).map(|at| {
        let mut copy = data.to_vec();
        copy[at] = 0xff;
        copy
    });
    shortened.chain(changed)
}
