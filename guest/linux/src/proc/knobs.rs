//! `/proc/sys`: numbers that an administrator reads and sets. Source: Linux, kernel/sysctl.c (`do_proc_dointvec`, `proc_get_long`),
//! ipc/ipc_sysctl.c, mm/page_alloc.c, Documentation/admin-guide/sysctl; proc_sys(5). Rules I5, I6.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use super::text::{Digits, Hex0, Out, put};
use super::what::{Knob, What, Word};
use crate::{Errno, Linux};

/// Longest number that is read, in characters. Source: Linux `TMPBUFLEN`, less its end.
const NUMBER_MAX: usize = 21;
/// What `kernel.pid_max` says: Linux's own limit. Numbers do not come round there, but no machine lives until then. Source: Linux
/// `PID_MAX_LIMIT`.
const PID_MAX: u64 = 4 << 20;
/// What `fs.file-max` says: descriptions are limited by memory alone.
const FILE_MAX: u64 = i64::MAX as u64;
const INT_MAX: i128 = i32::MAX as i128;
const ULONG_MAX: i128 = u64::MAX as i128;

/// Values that can be set.
const fn range(knob: Knob) -> (i128, i128) {
    match knob {
        Knob::ShmMax | Knob::ShmAll | Knob::OvercommitKbytes | Knob::MmapMinAddr => (0, ULONG_MAX),
        Knob::NrHugepages | Knob::NrOvercommitHugepages => (0, ULONG_MAX),
        Knob::PipeUserPagesSoft | Knob::PipeUserPagesHard => (0, ULONG_MAX),
        Knob::PipeMaxSize => (1, ULONG_MAX),
        Knob::ShmMni => (0, 32768),
        Knob::ShmRmidForced => (0, 1),
        Knob::OvercommitMemory => (0, 2),
        Knob::Swappiness => (0, 200),
        Knob::WatermarkScaleFactor => (1, 3000),
        Knob::PageCluster => (0, 31),
        Knob::OvercommitRatio | Knob::HugetlbShmGroup => (i32::MIN as i128, INT_MAX),
        Knob::DropCaches => (1, INT_MAX),
        Knob::CompactMemory => (1, 1),
        _ => (0, INT_MAX),
    }
}

impl<P: Platform> Linux<'_, P> {
    /// Whether an object is of `/proc/sys`, or of sysfs.
    #[inline]
    pub(crate) fn is_knob(&self, id: InodeId) -> bool {
        self.is_proc(id)
            && matches!(
                self.shows(id).what(),
                What::Knob(_) | What::Word(_) | What::Attribute(_)
            )
    }

    fn knob(&self, knob: Knob) -> i128 {
        let memory = self.memory;
        let shm = memory.shm_limits();
        i128::from(match knob {
            Knob::ShmNextId => return i128::from(memory.shm_next_id()),
            Knob::ShmMax => shm.max_bytes,
            Knob::ShmAll => shm.all_pages,
            Knob::ShmMni => u64::from(shm.mni),
            Knob::ShmRmidForced => u64::from(memory.shm_rmid_forced()),
            Knob::PidMax => PID_MAX,
            Knob::OvercommitMemory => u64::from(memory.overcommit_memory()),
            Knob::OvercommitRatio => return i128::from(memory.overcommit_ratio().cast_signed()),
            Knob::OvercommitKbytes => memory.overcommit_kbytes(),
            Knob::MaxMapCount => memory.max_map_count(),
            Knob::Swappiness => memory.swappiness(),
            Knob::MinFreeKbytes => memory.min_free_kbytes(),
            Knob::WatermarkScaleFactor => memory.watermark_scale_factor(),
            Knob::PageCluster => u64::from(memory.page_cluster()),
            Knob::NrHugepages => memory.nr_hugepages(),
            Knob::NrOvercommitHugepages => memory.hugetlb_counters().overcommit,
            Knob::HugetlbShmGroup => return i128::from(memory.hugetlb_shm_group().cast_signed()),
            Knob::DropCaches | Knob::CompactMemory => 0,
            Knob::MmapMinAddr => memory.mmap_min_addr(),
            Knob::FileMax => FILE_MAX,
            Knob::NrOpen => crate::limits::NR_OPEN,
            Knob::PipeMaxSize => self.pipe_limits.max_bytes.get(),
            Knob::LeaseBreakTime => self.lease_break_s.get(),
            Knob::LeasesEnable => self.leases_enabled.get(),
            Knob::DirNotifyEnable => self.dir_notify_enable.get(),
            Knob::PipeUserPagesSoft => self.pipe_limits.soft.get(),
            Knob::PipeUserPagesHard => self.pipe_limits.hard.get(),
            Knob::Constant(value) => value,
        })
    }

    fn set_knob(&self, knob: Knob, value: i128) -> Result<(), Errno> {
        let (least, most) = range(knob);
        if value < least || value > most {
            return Err(Errno::EINVAL);
        }
        let memory = self.memory;
        // Of a negative number, the bits.
        let (value, mut shm) = (value as u64, memory.shm_limits());
        match knob {
            Knob::ShmMax => shm.max_bytes = value,
            Knob::ShmAll => shm.all_pages = value,
            Knob::ShmMni => shm.mni = value as u32,
            Knob::ShmNextId => return Ok(memory.set_shm_next_id(value as i32)?),
            Knob::ShmRmidForced => memory.set_shm_rmid_forced(value != 0),
            Knob::OvercommitMemory => return Ok(memory.set_overcommit_memory(value)?),
            Knob::OvercommitRatio => memory.set_overcommit_ratio(value),
            Knob::OvercommitKbytes => memory.set_overcommit_kbytes(value),
            Knob::MaxMapCount => memory.set_max_map_count(value),
            Knob::Swappiness => return Ok(memory.set_swappiness(value)?),
            Knob::MinFreeKbytes => memory.set_min_free_kbytes(value),
            Knob::WatermarkScaleFactor => return Ok(memory.set_watermark_scale_factor(value)?),
            Knob::PageCluster => memory.set_page_cluster(value as u32),
            Knob::NrHugepages => memory.set_nr_hugepages(value),
            Knob::NrOvercommitHugepages => memory.set_nr_overcommit_hugepages(value),
            Knob::HugetlbShmGroup => memory.set_hugetlb_shm_group(value as u32),
            Knob::MmapMinAddr => memory.set_mmap_min_addr(value),
            Knob::CompactMemory => memory.compact_memory(),
            // No page cache here has its content elsewhere: there is nothing that could be dropped.
            Knob::DropCaches => {}
            Knob::PipeMaxSize => {
                self.pipe_limits.max_bytes.set(crate::pipe::round_pipe_size(value)?);
            }
            Knob::LeaseBreakTime => self.lease_break_s.set(value),
            Knob::LeasesEnable => self.leases_enabled.set(value),
            Knob::DirNotifyEnable => self.dir_notify_enable.set(value),
            Knob::PipeUserPagesSoft => self.pipe_limits.soft.set(value),
            Knob::PipeUserPagesHard => self.pipe_limits.hard.set(value),
            Knob::PidMax | Knob::FileMax | Knob::NrOpen | Knob::Constant(_) => {
                return Err(Errno::EPERM);
            }
        }
        Ok(memory.set_shm_limits(shm)?)
    }

    /// The number and a line's end, once: a read that does not begin at the beginning finds nothing, as on Linux.
    pub(super) fn read_knob(&self, knob: Knob, pos: u64, to: (MmId, u64), len: u64) -> Result<u64, Errno> {
        if pos != 0 || len == 0 {
            return Ok(0);
        }
        let value = self.knob(knob);
        let mut line = [0; 32];
        let digits = Digits::new(value.unsigned_abs() as u64, 10);
        let sign = usize::from(value < 0);
        let end = sign + digits.as_bytes().len();
        line[0] = b'-';
        line[sign..end].copy_from_slice(digits.as_bytes());
        line[end] = b'\n';
        let len = (end + 1).min(len as usize);
        self.memory.copy_to_user(to.0, to.1, &line[..len])?;
        Ok(len as u64)
    }

    /// Sets a number to the one that `bytes`, the front of `len`, begin with; how many were taken. What is written elsewhere than at the
    /// beginning is ignored (`kernel.sysctl_writes_strict` is 1).
    pub(super) fn write_knob(&self, knob: Knob, pos: u64, bytes: &[u8], len: u64) -> Result<u64, Errno> {
        if pos != 0 {
            return Ok(len);
        }
        let start = bytes.iter().take_while(|byte| is_space(**byte)).count();
        let (value, used) = parse(&bytes[start..]).ok_or(Errno::EINVAL)?;
        self.set_knob(knob, value)?;
        let end = start + used;
        let spaces = bytes[end..].iter().take_while(|byte| is_space(**byte)).count();
        Ok((end + spaces) as u64)
    }

    pub(super) fn show_word(&self, word: Word, out: &mut Out<'_>) {
        match word {
            Word::Fixed(text) => put!(out; text, "\n"),
            Word::Uuid => uuid([self.system.random(), self.system.random()], out),
            Word::BootId => {
                let seed = self.system.boot_s().wrapping_mul(0x9e37_79b9_7f4a_7c15);
                uuid([seed, seed.rotate_left(29) ^ 0x94d0_49bb_1331_11eb], out);
            }
            Word::FileNr => put!(out; self.files.objects(), "\t0\t", FILE_MAX, "\n"),
        }
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A number, decimal, octal or hexadecimal, that white space or the end follows; how many bytes it has. Source: Linux `proc_get_long`.
fn parse(bytes: &[u8]) -> Option<(i128, usize)> {
    let negative = bytes.first() == Some(&b'-') && bytes.len() > 1;
    let sign = usize::from(negative);
    let text = &bytes[sign..];
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    let (radix, prefix) = match text {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, 2),
        [b'0', ..] => (8, 0),
        _ => (10, 0),
    };
    let digits = &text[prefix..];
    let count = digits
        .iter()
        .take_while(|&&byte| char::from(byte).is_digit(radix))
        .count();
    let value = digits[..count].iter().try_fold(0u64, |value, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })?;
    let used = sign + prefix + count;
    let ends = bytes.get(used).is_none_or(|byte| b" \t\n\0".contains(byte));
    if used >= NUMBER_MAX || !ends {
        return None;
    }
    let value = i128::from(value);
    Some((if negative { -value } else { value }, used))
}

/// A random one. Source: RFC 4122, 4.4.
fn uuid([high, low]: [u64; 2], out: &mut Out<'_>) {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(3 << 62) | 2 << 62;
    put!(out; Hex0(high >> 32, 8), "-", Hex0(high >> 16 & 0xffff, 4), "-", Hex0(high & 0xffff, 4), "-",
        Hex0(low >> 48, 4), "-", Hex0(low & 0xffff_ffff_ffff, 12), "\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_linux_reads_them() {
        for (text, expected) in [
            ("5", Some((5, 1))),
            ("5\n", Some((5, 1))),
            ("-7 ", Some((-7, 2))),
            ("0x1f", Some((31, 4))),
            ("017\t", Some((15, 3))),
            ("5x", None),
            ("", None),
            ("-", None),
            ("x", None),
            ("18446744073709551615", Some((i128::from(u64::MAX), 20))),
            ("18446744073709551616", None),
            ("000000000000000000001", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
