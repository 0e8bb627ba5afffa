//! KVM's binary statistics of a VM and its vCPU.
//!
//! The descriptors are read once; a snapshot afterwards is one `pread` a file into a buffer that stays, cheap enough
//! for every mark of a measurement. Histograms are left out: only counters and levels of one value are kept.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 4.133 `KVM_GET_STATS_FD`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kvm_ioctls::{VcpuFd, VmFd};
use vmm_sys_util::ioctl::{_IOC_NONE, ioctl, ioctl_expr};

use crate::error::KvmError;

/// `_IO(KVMIO, 0xce)`. kvm-ioctls has no wrapper for it.
fn kvm_get_stats_fd() -> std::os::raw::c_ulong {
    ioctl_expr(_IOC_NONE, kvm_bindings::KVMIO, 0xce, 0)
}

/// A snapshot of KVM's counters by name, or a difference of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvmCounters {
    names: Arc<[String]>,
    values: Vec<u64>,
}

impl KvmCounters {
    /// Name and value of every counter: the vCPU's first, then the VM's.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().map(String::as_str).zip(self.values.iter().copied())
    }

    /// The counter of this name, if this host's KVM has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }

    /// What moved since `before`, a snapshot of the same VM; levels that fell wrap.
    #[must_use]
    pub fn since(&self, before: &KvmCounters) -> KvmCounters {
        let values = self
            .iter()
            .map(|(name, value)| value.wrapping_sub(before.get(name).unwrap_or(0)))
            .collect();
        KvmCounters {
            names: Arc::clone(&self.names),
            values,
        }
    }

    /// A snapshot with these values, for tests of what is computed from snapshots.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, u64)]) -> KvmCounters {
        KvmCounters {
            names: pairs.iter().map(|(name, _)| (*name).to_owned()).collect(),
            values: pairs.iter().map(|(_, value)| *value).collect(),
        }
    }
}

/// The open statistics of one VM and its vCPU.
#[derive(Debug)]
pub struct KvmStats {
    files: [StatsFile; 2],
    names: Arc<[String]>,
}

impl KvmStats {
    /// Opens the statistics of `vcpu` and `vm`.
    ///
    /// # Errors
    /// The ioctl fails (Linux before 5.14), or a file does not have the documented form.
    pub fn open(vm: &VmFd, vcpu: &VcpuFd) -> Result<KvmStats, KvmError> {
        let of_vcpu = StatsFile::open(vcpu).map_err(KvmError::of_io("KVM_GET_STATS_FD of the vCPU"))?;
        let of_vm = StatsFile::open(vm).map_err(KvmError::of_io("KVM_GET_STATS_FD of the VM"))?;
        let names = of_vcpu
            .counters
            .iter()
            .chain(&of_vm.counters)
            .map(|counter| counter.name.clone())
            .collect();
        Ok(KvmStats {
            files: [of_vcpu, of_vm],
            names,
        })
    }

    /// All counters now.
    ///
    /// # Errors
    /// Reading a statistics file fails.
    pub fn read(&mut self) -> io::Result<KvmCounters> {
        let mut values = Vec::with_capacity(self.names.len());
        for file in &mut self.files {
            file.read(&mut values)?;
        }
        Ok(KvmCounters {
            names: Arc::clone(&self.names),
            values,
        })
    }
}

/// One statistics file with its parsed descriptors.
#[derive(Debug)]
struct StatsFile {
    file: File,
    /// Offset of the data block in the file.
    data_offset: u64,
    /// The data block up to the last counter of interest.
    data: Vec<u8>,
    counters: Vec<Counter>,
}

/// One counter of a single value.
#[derive(Debug, PartialEq, Eq)]
struct Counter {
    name: String,
    /// Offset of its `u64` in the data block.
    offset: usize,
}

impl StatsFile {
    fn open(fd: &impl AsRawFd) -> io::Result<StatsFile> {
        // SAFETY: the ioctl takes no argument and returns a new descriptor or -1.
        let raw = unsafe { ioctl(fd, kvm_get_stats_fd()) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: KVM just returned this descriptor, so nobody else owns it.
        Self::parse(unsafe { File::from_raw_fd(raw) })
    }

    /// `struct kvm_stats_header`, the identifier, then `struct kvm_stats_desc`s, each with its name.
    fn parse(file: File) -> io::Result<StatsFile> {
        let mut header = [0; 24];
        file.read_exact_at(&mut header, 0)?;
        let [_, name_size, num_desc, _, desc_offset, data_offset] =
            std::array::from_fn(|field| u32_at(&header, 4 * field));
        let desc_size = 16 + name_size as usize;
        // Both come from the kernel, whose tables have some dozens of entries with names of 48 bytes.
        if num_desc > 4096 || desc_size > 4096 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "statistics header out of range",
            ));
        }
        let mut descriptors = vec![0; desc_size * num_desc as usize];
        file.read_exact_at(&mut descriptors, u64::from(desc_offset))?;
        let counters: Vec<Counter> = descriptors.chunks_exact(desc_size).filter_map(Counter::parse).collect();
        let end = counters.iter().map(|counter| counter.offset + 8).max().unwrap_or(0);
        Ok(StatsFile {
            file,
            data_offset: u64::from(data_offset),
            data: vec![0; end],
            counters,
        })
    }

    fn read(&mut self, values: &mut Vec<u64>) -> io::Result<()> {
        self.file.read_exact_at(&mut self.data, self.data_offset)?;
        let data = &self.data;
        values.extend(self.counters.iter().map(|counter| {
            let bytes = data[counter.offset..].first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        }));
        Ok(())
    }
}

impl Counter {
    /// `None` for a histogram. Fields: flags, exponent (s16), size (u16), offset, bucket size, name.
    fn parse(descriptor: &[u8]) -> Option<Counter> {
        let size = u16::from_le_bytes([descriptor[6], descriptor[7]]);
        let offset = u32_at(descriptor, 8) as usize;
        // The data block of today's kernels has some hundred bytes; the bound keeps the buffer small.
        if size != 1 || offset > 1 << 20 {
            return None;
        }
        let name = descriptor[16..].split(|&byte| byte == 0).next().unwrap_or_default();
        Some(Counter {
            name: String::from_utf8_lossy(name).into_owned(),
            offset,
        })
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(size: u16, offset: u32, name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 16 + 48];
        bytes[6..8].copy_from_slice(&size.to_le_bytes());
        bytes[8..12].copy_from_slice(&offset.to_le_bytes());
        bytes[16..16 + name.len()].copy_from_slice(name);
        bytes
    }

    #[test]
    fn counters_are_kept_and_histograms_are_not() {
        assert_eq!(
            Counter::parse(&descriptor(1, 24, b"pf_taken")),
            Some(Counter {
                name: "pf_taken".into(),
                offset: 24
            })
        );
        assert_eq!(Counter::parse(&descriptor(32, 24, b"halt_wait_hist")), None);
    }

    #[test]
    fn a_difference_is_by_name() {
        let before = KvmCounters::from_pairs(&[("exits", 5), ("pf_taken", 7)]);
        let after = KvmCounters::from_pairs(&[("exits", 9), ("pf_taken", 7), ("new", 1)]);
        let moved = after.since(&before);
        assert_eq!(
            (moved.get("exits"), moved.get("pf_taken"), moved.get("new")),
            (Some(4), Some(0), Some(1))
        );
        assert_eq!(moved.get("absent"), None);
    }
}
