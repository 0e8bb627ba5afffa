//! The first page of a swap disk, as `mkswap` writes it.
//!
//! Source: Linux, include/linux/swap.h (`union swap_header`); mkswap(8).

use crate::le;

/// The last bytes of the page.
const SIGNATURE: &[u8] = b"SWAPSPACE2";
const VERSION_AT: usize = 1024;
const LAST_PAGE_AT: usize = 1028;
const BAD_PAGES_AT: usize = 1032;

/// Pages of the swap area on a disk of `disk_pages`, the header's included.
///
/// # Errors
/// What is wrong with the header, in words.
pub fn pages(header: &[u8; 4096], disk_pages: u64) -> Result<u32, &'static str> {
    let word = |at| le(header, at).map_or(0, u32::from_le_bytes);
    if !header.ends_with(SIGNATURE) {
        return Err("the disk has no swap signature; prepare it with mkswap");
    }
    if word(VERSION_AT) != 1 || word(BAD_PAGES_AT) != 0 {
        return Err("the disk's swap header is of another version or lists bad pages");
    }
    match word(LAST_PAGE_AT).checked_add(1) {
        Some(pages) if u64::from(pages) <= disk_pages => Ok(pages),
        _ => Err("the disk is shorter than its swap header says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u32, last_page: u32, bad_pages: u32) -> [u8; 4096] {
        let mut header = [0; 4096];
        for (at, word) in [
            (VERSION_AT, version),
            (LAST_PAGE_AT, last_page),
            (BAD_PAGES_AT, bad_pages),
        ] {
            header[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        header[4086..].copy_from_slice(SIGNATURE);
        header
    }

    #[test]
    fn a_header_counts_itself() {
        assert_eq!(pages(&header(1, 16383, 0), 16384), Ok(16384));
        assert_eq!(pages(&header(1, 9, 0), 16384), Ok(10));
    }

    #[test]
    fn bad_headers_are_refused() {
        assert!(pages(&[0; 4096], 100).is_err_and(|why| why.contains("signature")));
        assert!(pages(&header(2, 9, 0), 100).is_err_and(|why| why.contains("version")));
        assert!(pages(&header(1, 9, 1), 100).is_err_and(|why| why.contains("bad pages")));
        assert!(pages(&header(1, 100, 0), 100).is_err_and(|why| why.contains("shorter")));
        assert!(pages(&header(1, u32::MAX, 0), u64::MAX).is_err_and(|why| why.contains("shorter")));
    }
}
