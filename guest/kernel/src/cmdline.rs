//! The kernel's command line.
//!
//! | option | meaning |
//! |---|---|
//! | `virtio_mmio.device=SIZE@ADDRESS:IRQ` | a virtio-mmio device, as Linux spells it |
//! | `faultlab.device=SIZE@ADDRESS` | the lab device |
//! | `tsc_early_khz=N` | rate of the time-stamp counter |
//! | `faultlab.trace=stages` or `timeline` | stamp the stages of every fault, or those and who faulted where |
//! | `faultlab.trace_bytes=SIZE` | memory for the trace |
//! | `sysctl.vm.overcommit_memory=N` | 0, 1 or 2, as `vm.overcommit_memory` |
//! | `sysctl.vm.overcommit_ratio=N` | as `vm.overcommit_ratio`, per cent |
//! | `faultlab.swap_prio=N,N...` | priorities of the swap disks in order, 0 to 32767, or nothing for the next below all others |
//! | `faultlab.page_cluster=N` | log2 of the most pages that one read of swap brings; 3 without it, 0 for no read-ahead |
//! | `faultlab.fault_around_bytes=SIZE` | bytes around a load that faults which are mapped with it, 4K (none) to 2M; 64K without it |
//! | `faultlab.strace` | every system call is told to the VMM |
//! | `faultlab.out` | the VMM is asked for files to bring back when the first program has ended |
//! | `faultlab.check` | the kernel verifies its own structures when the first program has ended; with `=spoilt`, spoils one before |
//! | `faultlab.tty=N` | the streams that are a terminal, a bit each; none without it |
//! | `faultlab.ids=UID:GID` | the first program's user and group; 0:0 without it |
//!
//! Unknown options are ignored, as Linux does. Source: Linux, Documentation/admin-guide/kernel-parameters.txt;
//! drivers/virtio/virtio_mmio.c.

use faultlab_mm::overcommit::OvercommitMode;

use faultlab_abi::layout::{
    CMDLINE_CHECK, CMDLINE_CHECK_SPOILT, CMDLINE_IDS, CMDLINE_LAB, CMDLINE_OUT, CMDLINE_STRACE, CMDLINE_TSC_KHZ,
    CMDLINE_TTY, CMDLINE_VIRTIO,
};
use faultlab_abi::trace::level;

/// Most virtio-mmio devices that are looked at.
pub const VIRTIO_MAX: usize = 4;

const CMDLINE_OVERCOMMIT: &str = "sysctl.vm.overcommit_memory=";
const CMDLINE_OVERCOMMIT_RATIO: &str = "sysctl.vm.overcommit_ratio=";
const CMDLINE_TRACE: &str = "faultlab.trace=";
const CMDLINE_TRACE_BYTES: &str = "faultlab.trace_bytes=";
const CMDLINE_PAGE_CLUSTER: &str = "faultlab.page_cluster=";
const CMDLINE_FAULT_AROUND: &str = "faultlab.fault_around_bytes=";
const CMDLINE_SWAP_PRIO: &str = "faultlab.swap_prio=";

/// A device's registers: physical address and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address; page-aligned.
    pub base: u64,
    /// Bytes; at least one page.
    pub len: u64,
}

/// What the command line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// virtio-mmio devices in order.
    pub virtio: [Option<Region>; VIRTIO_MAX],
    /// The lab device.
    pub lab: Option<Region>,
    /// Rate of the time-stamp counter in kHz; not 0.
    pub tsc_khz: Option<u64>,
    /// What is traced, one of [`level`].
    pub trace_level: u8,
    /// Bytes for the trace; not 0.
    pub trace_bytes: Option<u64>,
    /// log2 of the most pages that one read of swap brings.
    pub page_cluster: Option<u64>,
    /// Bytes around a load that faults which are mapped with it; 4096 to 2 MiB.
    pub fault_around_bytes: Option<u64>,
    /// Priorities of the swap disks, 0 to 32767.
    pub swap_prio: [Option<u16>; VIRTIO_MAX],
    /// `vm.overcommit_memory`, if given.
    pub overcommit: Option<OvercommitMode>,
    /// `vm.overcommit_ratio` in per cent, if given; at most 2^31 - 1.
    pub overcommit_ratio: Option<u64>,
    /// Whether every system call is told.
    pub strace: bool,
    /// Whether the VMM wants files when the first program has ended.
    pub out: bool,
    /// Whether the kernel verifies its own structures at the end, and whether one is spoilt before.
    pub check: Option<Check>,
    /// Streams that are a terminal, a bit each; bit 0 is among them if any is.
    pub tty: u8,
    /// The first program's user and group; not 2^32 - 1.
    pub ids: Option<(u32, u32)>,
    /// The first option that is known and malformed. The others are taken in nevertheless: the lab device may be among
    /// them, and is the way to complain.
    pub malformed: Option<&'a [u8]>,
}

/// What is verified at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// What there is.
    AsItIs,
    /// What there is, after something was spoilt.
    Spoilt,
}

impl<'a> Options<'a> {
    /// Reads a command line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let mut options = Self::default();
        for word in line.split(|byte| byte.is_ascii_whitespace()) {
            if options.take(word).is_none() {
                options.malformed = options.malformed.or(Some(word));
            }
        }
        options
    }

    /// Takes one option in; `None` if it is malformed.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        if let Some(value) = word.strip_prefix(CMDLINE_VIRTIO.as_bytes()) {
            let region = region(value)?;
            if let Some(free) = self.virtio.iter_mut().find(|device| device.is_none()) {
                *free = Some(region);
            }
        } else if let Some(value) = word.strip_prefix(CMDLINE_LAB.as_bytes()) {
            // The registers and the scratch page.
            self.lab = Some(region(value).filter(|region| region.len >= 8192)?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_TSC_KHZ.as_bytes()) {
            self.tsc_khz = Some(number(value).filter(|khz| *khz != 0)?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_OVERCOMMIT.as_bytes()) {
            self.overcommit = Some(match value {
                b"0" => OvercommitMode::Guess,
                b"1" => OvercommitMode::Always,
                b"2" => OvercommitMode::Never,
                _ => return None,
            });
        } else if let Some(value) = word.strip_prefix(CMDLINE_OVERCOMMIT_RATIO.as_bytes()) {
            self.overcommit_ratio = Some(number(value).filter(|ratio| *ratio <= i32::MAX as u64)?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_TRACE.as_bytes()) {
            self.trace_level = match value {
                b"stages" => level::STAGES,
                b"timeline" => level::TIMELINE,
                _ => return None,
            };
        } else if let Some(value) = word.strip_prefix(CMDLINE_TRACE_BYTES.as_bytes()) {
            self.trace_bytes = Some(size(value).filter(|bytes| *bytes != 0)?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_PAGE_CLUSTER.as_bytes()) {
            self.page_cluster = Some(number(value)?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_FAULT_AROUND.as_bytes()) {
            self.fault_around_bytes = Some(size(value).filter(|bytes| (4096..=2 << 20).contains(bytes))?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_SWAP_PRIO.as_bytes()) {
            self.swap_prio = swap_prio(value)?;
        } else if let Some(value) = word.strip_prefix(CMDLINE_IDS.as_bytes()) {
            self.ids = Some(ids(value)?);
        } else if let Some(value) = word.strip_prefix(CMDLINE_TTY.as_bytes()) {
            self.tty = number(value).filter(|streams| *streams < 8 && streams & 1 != 0)? as u8;
        } else if word == CMDLINE_STRACE.as_bytes() {
            self.strace = true;
        } else if word == CMDLINE_OUT.as_bytes() {
            self.out = true;
        } else if word == CMDLINE_CHECK.as_bytes() {
            self.check = Some(Check::AsItIs);
        } else if word == CMDLINE_CHECK_SPOILT.as_bytes() {
            self.check = Some(Check::Spoilt);
        }
        Some(())
    }
}

/// `N,N...`, where an N may be missing.
fn swap_prio(text: &[u8]) -> Option<[Option<u16>; VIRTIO_MAX]> {
    let mut prios = [None; VIRTIO_MAX];
    for (index, field) in text.split(|byte| *byte == b',').enumerate() {
        let prio = prios.get_mut(index)?;
        if !field.is_empty() {
            *prio = Some(u16::try_from(number(field)?).ok().filter(|prio| *prio <= 0x7fff)?);
        }
    }
    Some(prios)
}

/// `UID:GID`.
fn ids(text: &[u8]) -> Option<(u32, u32)> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let id = |text| u32::try_from(number(text)?).ok().filter(|id| *id != u32::MAX);
    Some((id(&text[..colon])?, id(&text[colon + 1..])?))
}

/// `SIZE@ADDRESS[:...]`.
fn region(text: &[u8]) -> Option<Region> {
    let at = text.iter().position(|byte| *byte == b'@')?;
    let (len, rest) = (text.get(..at)?, text.get(at + 1..)?);
    let base = rest.split(|byte| *byte == b':').next()?;
    let region = Region {
        base: number(base)?,
        len: size(len)?,
    };
    (region.base & 4095 == 0 && region.len >= 4096 && region.base.checked_add(region.len)? <= 1 << 40).then_some(region)
}

/// A number with one of the suffixes K, M, G.
fn size(text: &[u8]) -> Option<u64> {
    let (last, digits) = text.split_last()?;
    let shift = match last.to_ascii_uppercase() {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        _ => return number(text),
    };
    number(digits)?.checked_mul(1 << shift)
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &[u8]) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix(b"0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options() {
        let line = b"console=ttyS0 virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=0x1000@3489665024:6 \
            faultlab.device=8K@0xd0010000 tsc_early_khz=2596148 sysctl.vm.overcommit_memory=2 sysctl.vm.overcommit_ratio=80 faultlab.trace=stages \
            faultlab.fault_around_bytes=4K faultlab.swap_prio=,5,,32767 faultlab.ids=1000:0 faultlab.strace faultlab.out faultlab.tty=5";
        let options = Options::parse(line);
        assert_eq!(options.malformed, None);
        assert_eq!((options.ids, options.strace, options.tty), (Some((1000, 0)), true, 5));
        assert!(options.out);
        assert_eq!(
            options.virtio[0],
            Some(Region {
                base: 0xd000_0000,
                len: 4096
            })
        );
        assert_eq!(
            options.virtio[1],
            Some(Region {
                base: 0xd000_1000,
                len: 4096
            })
        );
        assert_eq!(options.virtio[2], None);
        assert_eq!(
            options.lab,
            Some(Region {
                base: 0xd001_0000,
                len: 8192
            })
        );
        assert_eq!(options.tsc_khz, Some(2_596_148));
        assert_eq!(options.swap_prio, [None, Some(5), None, Some(32767)]);
        assert_eq!(options.trace_level, level::STAGES);
        assert_eq!(options.fault_around_bytes, Some(4096));
        assert_eq!(
            (options.overcommit, options.overcommit_ratio),
            (Some(OvercommitMode::Never), Some(80))
        );
    }

    #[test]
    fn nothing_is_fine() {
        assert_eq!(Options::parse(b""), Options::default());
        assert_eq!(Options::parse(b"  quiet\n"), Options::default());
    }

    #[test]
    fn malformed_options_are_named() {
        for word in [
            &b"virtio_mmio.device=4K"[..],
            b"virtio_mmio.device=4K@",
            b"virtio_mmio.device=4K@0x",
            b"virtio_mmio.device=4K@0xd0000001:5",
            b"virtio_mmio.device=1K@0xd0000000:5",
            b"virtio_mmio.device=4K@0xfffffffffffff000:5",
            b"virtio_mmio.device=99999999999999999999G@0:5",
            b"faultlab.device=4K@0xd0010000",
            b"tsc_early_khz=0",
            b"tsc_early_khz=fast",
            b"tsc_early_khz=",
            b"sysctl.vm.overcommit_memory=3",
            b"sysctl.vm.overcommit_ratio=half",
            b"faultlab.trace=no",
            b"faultlab.trace_bytes=0",
            b"faultlab.fault_around_bytes=4095",
            b"faultlab.fault_around_bytes=4M",
            b"faultlab.swap_prio=32768",
            b"faultlab.swap_prio=-1",
            b"faultlab.swap_prio=1,2,3,4,5",
        ] {
            let line = [word, b" tsc_early_khz=0 faultlab.device=8K@0x1000"].concat();
            let options = Options::parse(&line);
            assert_eq!(options.malformed, Some(word));
            assert!(options.lab.is_some(), "the rest counts");
        }
    }
}
