//! What the tests of this crate share: a host or a loud skip, RAM without a VM, and tiny guests made of bytes.

use std::io::Write;

use faultlab_abi::lab::reg;
use faultlab_abi::layout::{BOOT_PAGE_TABLES, KERNEL_LOAD, LAB_MMIO, PAGE_SIZE, RAM_MIN_BYTES, WINDOW};

use crate::host::Host;
use crate::memory::{Backing, GuestRam};
use crate::swap_file::SwapConfig;
use crate::vm::VmConfig;

/// The host, or `None` after a SKIPPED line on stderr (past the test harness's capture). With `FAULTLAB_REQUIRE_KVM=1`
/// a missing host is a failure instead.
pub(crate) fn require_kvm() -> Option<Host> {
    match Host::open() {
        Ok(host) => Some(host),
        Err(error) => {
            let required = std::env::var_os("FAULTLAB_REQUIRE_KVM").is_some_and(|value| value == "1");
            assert!(!required, "FAULTLAB_REQUIRE_KVM=1, but {error}");
            skipped(&error.to_string());
            None
        }
    }
}

/// Says on stderr, past the test harness's capture, that (a part of) the running test is left out.
pub(crate) fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    // One write, so that lines of parallel tests do not mix.
    let line = format!("SKIPPED {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
}

/// The smallest RAM.
pub(crate) fn ram() -> GuestRam {
    GuestRam::new(RAM_MIN_BYTES, Backing::Anonymous).unwrap()
}

/// A static ELF program of one segment; it never runs, because the tiny kernels start none.
pub(crate) fn program_elf() -> Vec<u8> {
    elf(2, 0x40_0000, 0, &[0x90], "_start")
}

/// A kernel made of `code`, loaded and entered at 1 MiB, with the symbol "entry" over all of it.
pub(crate) fn kernel_elf(code: &[u8]) -> Vec<u8> {
    elf(2, KERNEL_LOAD, KERNEL_LOAD, code, "entry")
}

/// The smallest configuration that runs `code` as the kernel, with no swap.
pub(crate) fn config(code: &[u8]) -> VmConfig {
    VmConfig {
        memory_bytes: RAM_MIN_BYTES,
        swap: SwapConfig::None,
        kernel: kernel_elf(code).into(),
        ..VmConfig::new(program_elf(), vec![b"program".to_vec()])
    }
}

/// An ELF64 file: header, one PT_LOAD at `address`, and a symbol table with one function.
pub(crate) fn elf(kind: u16, address: u64, entry: u64, code: &[u8], symbol: &str) -> Vec<u8> {
    const HEADER: u64 = 64;
    const PROGRAM_HEADER: u64 = 56;
    const SECTION_HEADER: u64 = 64;
    let code_at = HEADER + PROGRAM_HEADER;
    let strings = [b"\0", symbol.as_bytes(), b"\0"].concat();
    let strings_at = code_at + code.len() as u64;
    let symbols_at = (strings_at + strings.len() as u64).next_multiple_of(8);
    let sections_at = symbols_at + 48;
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&kind.to_le_bytes());
    put(&62_u16.to_le_bytes());
    put(&1_u32.to_le_bytes());
    for word in [entry, HEADER, sections_at] {
        put(&word.to_le_bytes());
    }
    put(&0_u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, 1, SECTION_HEADER as u16, 4, 3] {
        put(&half.to_le_bytes());
    }
    // PT_LOAD, readable and executable: offset, virtual and physical address, sizes, alignment.
    put(&1_u32.to_le_bytes());
    put(&5_u32.to_le_bytes());
    for word in [code_at, address, address, code.len() as u64, code.len() as u64, 1] {
        put(&word.to_le_bytes());
    }
    put(code);
    put(&strings);
    file.resize(symbols_at as usize, 0);
    // The null symbol, then a global function in section 1: name, info, other, section, value, size.
    file.resize(symbols_at as usize + 24, 0);
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(&[0x12, 0, 1, 0]);
    file.extend_from_slice(&address.to_le_bytes());
    file.extend_from_slice(&(code.len() as u64).to_le_bytes());
    // Sections: null, code, symbols, strings: type, flags, address, offset, size, link, info, alignment, entry size.
    file.resize(file.len() + SECTION_HEADER as usize, 0);
    let sections = [
        (1_u32, 6_u64, address, code_at, code.len() as u64, 0_u32, 0_u32, 0_u64),
        (2, 0, 0, symbols_at, 48, 3, 1, 24),
        (3, 0, 0, strings_at, strings.len() as u64, 0, 0, 0),
    ];
    for (kind, flags, address, offset, size, link, info, entry_size) in sections {
        file.extend_from_slice(&0_u32.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        for word in [flags, address, offset, size] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&link.to_le_bytes());
        file.extend_from_slice(&info.to_le_bytes());
        for word in [1, entry_size] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file
}

/// A tiny kernel: code at [`KERNEL_LOAD`], entered in 64-bit mode, and data on the pages after it.
#[derive(Default)]
pub(crate) struct TinyGuest {
    code: Vec<u8>,
    data: Vec<u8>,
    devices_mapped: bool,
}

impl TinyGuest {
    const CODE_BYTES: usize = 4096;

    /// Appends instructions.
    pub(crate) fn code(mut self, bytes: &[u8]) -> TinyGuest {
        self.code.extend_from_slice(bytes);
        self
    }

    /// Places `words` on a page of their own. Returns their guest-physical address.
    pub(crate) fn page_of(&mut self, words: &[u64]) -> u64 {
        let at = self.data.len().next_multiple_of(4096);
        self.data.resize(at, 0);
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        KERNEL_LOAD + (Self::CODE_BYTES + at) as u64
    }

    /// `mov rax, address; mov rcx, value; mov [rax], rcx`.
    pub(crate) fn store(self, address: u64, value: u64) -> TinyGuest {
        let (address, value) = (address.to_le_bytes(), value.to_le_bytes());
        self.code(&[0x48, 0xb8])
            .code(&address)
            .code(&[0x48, 0xb9])
            .code(&value)
            .code(&[0x48, 0x89, 0x08])
    }

    /// Rings the lab device's doorbell with this command: 23 bytes of code once the devices are mapped.
    pub(crate) fn command(mut self, kind: u32, args: &[u64]) -> TinyGuest {
        if !self.devices_mapped {
            self = self.map_devices();
        }
        let mut words = vec![u64::from(kind)];
        words.extend_from_slice(args);
        words.resize(7, 0);
        let address = self.page_of(&words);
        self.store(LAB_MMIO + reg::DOORBELL, address)
    }

    /// Touches a page: `mov rax, address; mov [rax], rax`.
    pub(crate) fn touch(self, address: u64) -> TinyGuest {
        self.code(&[0x48, 0xb8])
            .code(&address.to_le_bytes())
            .code(&[0x48, 0x89, 0x00])
    }

    /// Maps the fourth, the fifth and the ninth GiB one to one in 2 MiB pages: devices, lab window and more are in reach.
    pub(crate) fn map_devices(mut self) -> TinyGuest {
        for gib in [3_u64, 4, WINDOW >> 30] {
            // Present, writable, large. CR3 need not be loaded again: nothing there was mapped before.
            let entries: Vec<u64> = (0..512).map(|page| ((gib << 30) + (page << 21)) | 0x83).collect();
            let directory = self.page_of(&entries);
            self = self.store(BOOT_PAGE_TABLES + PAGE_SIZE + 8 * gib, directory | 3);
        }
        self.devices_mapped = true;
        self
    }

    /// Jumps to itself for ever.
    pub(crate) fn spin(self) -> TinyGuest {
        self.code(&[0xeb, 0xfe])
    }

    /// The image, to be given to [`config`].
    pub(crate) fn image(mut self) -> Vec<u8> {
        assert!(self.code.len() <= Self::CODE_BYTES, "the code overlaps the data");
        self.code.resize(Self::CODE_BYTES, 0x90);
        [self.code, self.data].concat()
    }
}
