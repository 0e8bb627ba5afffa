//! Transparent huge pages: forbidden, or insisted on.
//!
//! Advice may be ignored, for lack of memory in one piece, by configuration, or by the kind of memory. So one page is
//! touched, and the host's own account says whether it became a huge one.
//!
//! Source: Linux, Documentation/admin-guide/mm/transhuge.rst; proc_pid_smaps(5).

use std::{fs, io};

use faultlab_abi::layout::PAGE_SIZE;
use rustix::mm::Advice;

use super::area::Area;
use super::backing::{Backed, Unavailable};
use crate::rig::MACHINE_VARIABLE;

const SETTINGS: &str = "/sys/kernel/mm/transparent_hugepage";

/// Fields of smaps that count what is mapped by huge entries.
const HUGE_FIELDS: [&str; 3] = ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"];

/// Changes a setting of the kernel, in a simulated machine only: that is ours, and thrown away afterwards.
pub(super) fn set_in_simulated_machine(setting: &str, value: &str) -> bool {
    std::env::var_os(MACHINE_VARIABLE).is_some() && fs::write(setting, value).is_ok()
}

/// Asks for 4 KiB pages.
pub(super) fn forbid(area: &Area) {
    // A kernel without THP answers EINVAL, and then there is nothing to switch off.
    let _ = area.advise(&(0..area.bytes()), Advice::LinuxNoHugepage);
}

/// Asks for huge pages of `granule` bytes and verifies that touching one page gives one. The setting that decides is named.
pub(super) fn insist(backed: &Backed, granule: u64, setting: &str, good: &str) -> Result<(), Unavailable> {
    let area = &backed.area;
    let setting = format!("{SETTINGS}/{setting}");
    set_in_simulated_machine(&setting, good);
    let choices = fs::read_to_string(&setting).unwrap_or_default();
    let chosen = choices.split(['[', ']']).nth(1).unwrap_or("unknown");
    if area.advise(&(0..area.bytes()), Advice::LinuxHugepage).is_err() {
        let why = "this kernel has no transparent huge pages";
        return Err(Unavailable::here(why, "use one with CONFIG_TRANSPARENT_HUGEPAGE"));
    }
    area.populate(&(0..PAGE_SIZE))?;
    let mapped = huge_bytes(area.as_ptr() as u64)?;
    backed.store.make_cold(area, &(0..granule))?;
    if mapped >= granule {
        return Ok(());
    }
    if matches!(chosen, "never" | "deny") {
        let why = format!("the host gives no transparent huge pages ({setting} is {chosen})");
        return Err(Unavailable::here(why, format!("echo {good} | sudo tee {setting}")));
    }
    let why = format!("the host gave small pages although {setting} is {chosen}");
    Err(Unavailable::here(
        why,
        "free memory, then echo 1 | sudo tee /proc/sys/vm/compact_memory",
    ))
}

/// Bytes mapped by huge entries in the mapping that begins at `start`.
fn huge_bytes(start: u64) -> io::Result<u64> {
    Ok(huge_bytes_in(&fs::read_to_string("/proc/self/smaps")?, start))
}

fn huge_bytes_in(smaps: &str, start: u64) -> u64 {
    let mut inside = false;
    let mut kib = 0;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap_or(0));
            inside = (from..to).contains(&start);
        } else if inside && HUGE_FIELDS.contains(&first) {
            kib += words.next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    kib * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_entries_of_one_mapping_are_summed() {
        let smaps = "1000-3000 rw-p 00000000 00:00 0 \nRss: 8 kB\nAnonHugePages:      2048 kB\n\
                     5000-9000 rw-s 00000000 00:01 7 /memfd:x-y (deleted)\nAnonHugePages: 4 kB\n\
                     ShmemPmdMapped: 8 kB\nFilePmdMapped: 16 kB\nVmFlags: rd wr\n";
        assert_eq!(huge_bytes_in(smaps, 0x5000), 28 << 10);
        assert_eq!(huge_bytes_in(smaps, 0x2fff), 2 << 20);
        assert_eq!(huge_bytes_in(smaps, 0x3000), 0);
    }
}
