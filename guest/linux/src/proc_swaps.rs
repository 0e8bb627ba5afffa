//! The text of `/proc/swaps`.
//!
//! Source: Linux, mm/swapfile.c (`swap_show`); proc_swaps(5). Rule F25.

use faultlab_mm::swap::{AreaStat, MAX_SWAPFILES};
use faultlab_mm::{Memory, Platform};

const HEADING: &[u8] = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
/// Columns of the first field.
const NAME_COLUMNS: usize = 40;
const KIB_PER_PAGE: u64 = 4;

/// Gives the text to `out`, piece by piece: a heading, and a line for each swap area in the order of their numbers. Area `n` is on disk
/// `/dev/vda`, `/dev/vdb` and on.
pub fn show<P: Platform>(memory: &Memory<P>, out: &mut dyn FnMut(&[u8])) {
    out(HEADING);
    for (area, letter) in (0..MAX_SWAPFILES).zip(b'a'..) {
        if let Some(stat) = memory.swap_area(area) {
            line(&[b"/dev/vd", &[letter][..]], stat, out);
        }
    }
}

/// A line for an area on a disk whose name is made of these parts.
fn line(name: &[&[u8]], stat: AreaStat, out: &mut dyn FnMut(&[u8])) {
    let mut columns = 0;
    for part in name {
        out(part);
        columns += part.len();
    }
    for _ in 0..NAME_COLUMNS.saturating_sub(columns).max(1) {
        out(b" ");
    }
    out(b"partition\t");
    for kib in [stat.pages, stat.inuse].map(|pages| pages * KIB_PER_PAGE) {
        number(kib, out);
        out(if kib < 10_000_000 { b"\t\t" } else { b"\t" });
    }
    if stat.prio < 0 {
        out(b"-");
    }
    number(stat.prio.unsigned_abs().into(), out);
    out(b"\n");
}

/// In decimal. (`core::fmt` is compiled with SSE, which ring 0 may not have.)
fn number(mut value: u64, out: &mut dyn FnMut(&[u8])) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use faultlab_mm::swap::AreaConfig;
    use faultlab_mm::testing::machine;

    use super::*;

    /// As `swap_show` prints it.
    fn linux(name: &str, size: u64, used: u64, prio: i32) -> String {
        let pad = if name.len() < 40 { 40 - name.len() } else { 1 };
        let tab = |kib| if kib < 10_000_000 { "\t" } else { "" };
        let (after_size, after_used) = (tab(size), tab(used));
        format!(
            "{name}{:>pad$}partition\t{size}\t{after_size}{used}\t{after_used}{prio}\n",
            " "
        )
    }

    #[test]
    fn lines_are_those_of_linux() {
        let long = "/dev/disk/by-id/a-name-of-forty-two-characters";
        for name in ["/dev/vda", long, &long[..39], &long[..40]] {
            for (pages, inuse, prio) in [(16383, 0, -2), (2_500_000, 2_499_999, 32767), (1 << 40, 2_500_000, 0)] {
                let mut text = Vec::new();
                let stat = AreaStat { pages, inuse, prio };
                line(&[name.as_bytes()], stat, &mut |piece| text.extend_from_slice(piece));
                assert_eq!(
                    String::from_utf8(text).unwrap(),
                    linux(name, pages * 4, inuse * 4, prio)
                );
            }
        }
    }

    #[test]
    fn areas_come_and_go() {
        let memory = machine(256, 0);
        let text = || {
            let mut text = Vec::new();
            show(&memory, &mut |piece| text.extend_from_slice(piece));
            String::from_utf8(text).unwrap()
        };
        let heading = String::from_utf8(HEADING.to_vec()).unwrap();
        assert_eq!(text(), heading);
        let area = |prio| AreaConfig {
            slots: 101,
            prio,
            bad: &[7],
        };
        memory.swapon(1, area(Some(5))).unwrap();
        memory.swapon(0, area(None)).unwrap();
        let lines = [linux("/dev/vda", 396, 0, -2), linux("/dev/vdb", 396, 0, 5)];
        assert_eq!(text(), format!("{heading}{}{}", lines[0], lines[1]));
        memory.swapoff(0).unwrap();
        assert_eq!(text(), format!("{heading}{}", lines[1]));
    }
}
