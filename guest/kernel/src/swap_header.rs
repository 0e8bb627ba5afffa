//! The first page of a swap disk, as `mkswap` writes it.
//!
//! Source: Linux, include/linux/swap.h (`union swap_header`), mm/swapfile.c (`read_swap_header`); mkswap(8). Rule F24.

use crate::le;

/// The last bytes of the page.
const SIGNATURE: &[u8] = b"SWAPSPACE2";
const VERSION_AT: usize = 1024;
const LAST_PAGE_AT: usize = 1028;
const NR_BADPAGES_AT: usize = 1032;
const UUID_AT: usize = 1036;
const LABEL_AT: usize = 1052;
const BADPAGES_AT: usize = 1536;
/// Bad pages that have room before the signature. Source: Linux `MAX_SWAP_BADPAGES`.
pub const BADPAGES_MAX: usize = (4096 - SIGNATURE.len() - BADPAGES_AT) / 4;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pages of the area, the header's included.
    pub pages: u32,
    /// All zeroes without one.
    pub uuid: [u8; 16],
    /// Filled with zeroes.
    pub label: [u8; 16],
    bad: [u32; BADPAGES_MAX],
    nr_bad: usize,
}

impl Header {
    /// Reads the header of a disk of `disk_pages`. One that a machine of the other byte order wrote is understood, too.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(page: &[u8; 4096], disk_pages: u64) -> Result<Self, &'static str> {
        if !page.ends_with(SIGNATURE) {
            return Err("the disk has no swap signature; prepare it with mkswap");
        }
        let little = |at| le(page, at).map_or(0, u32::from_le_bytes);
        let swapped = little(VERSION_AT) == 1_u32.swap_bytes();
        let word = |at| if swapped { little(at).swap_bytes() } else { little(at) };
        if word(VERSION_AT) != 1 {
            return Err("the disk's swap header is of another version");
        }
        let last_page = word(LAST_PAGE_AT);
        let pages = match last_page.checked_add(1) {
            Some(1) => return Err("the disk's swap area is empty"),
            Some(pages) if u64::from(pages) <= disk_pages => pages,
            _ => return Err("the disk is shorter than its swap header says"),
        };
        let nr_bad = word(NR_BADPAGES_AT) as usize;
        if nr_bad > BADPAGES_MAX {
            return Err("the disk's swap header lists more bad pages than it has room for");
        }
        let mut bad = [0; BADPAGES_MAX];
        for (index, bad) in bad.iter_mut().enumerate().take(nr_bad) {
            *bad = word(BADPAGES_AT + 4 * index);
            if *bad == 0 || *bad > last_page {
                return Err("the disk's swap header lists bad pages that the area does not have");
            }
        }
        Ok(Self {
            pages,
            uuid: le(page, UUID_AT).unwrap_or_default(),
            label: le(page, LABEL_AT).unwrap_or_default(),
            bad,
            nr_bad,
        })
    }

    /// Pages that are not to be used.
    #[must_use]
    pub fn bad_pages(&self) -> &[u32] {
        self.bad.get(..self.nr_bad).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u32, last_page: u32, bad: &[u32]) -> [u8; 4096] {
        let mut header = [0; 4096];
        let words = [
            (VERSION_AT, version),
            (LAST_PAGE_AT, last_page),
            (NR_BADPAGES_AT, bad.len() as u32),
        ];
        let listed = bad
            .iter()
            .enumerate()
            .map(|(index, bad)| (BADPAGES_AT + 4 * index, *bad));
        for (at, word) in words.into_iter().chain(listed) {
            header[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        header[4086..].copy_from_slice(SIGNATURE);
        header
    }

    /// Rule F24: usable pages are counted by `last_page`; the disk may be larger.
    #[test]
    fn a_header_counts_itself() {
        for (last_page, disk) in [(16383, 16384), (9, 16384), (1, 2)] {
            let parsed = Header::parse(&header(1, last_page, &[]), disk).unwrap();
            assert_eq!((parsed.pages, parsed.bad_pages()), (last_page + 1, &[][..]));
        }
    }

    /// Rule F24: bad pages, of either byte order.
    #[test]
    fn bad_pages_are_listed() {
        let little = header(1, 99, &[1, 50, 99]);
        let mut big = little;
        for at in [VERSION_AT, LAST_PAGE_AT, NR_BADPAGES_AT]
            .into_iter()
            .chain((BADPAGES_AT..).step_by(4).take(3))
        {
            big[at..at + 4].reverse();
        }
        for header in [little, big] {
            let parsed = Header::parse(&header, 100).unwrap();
            assert_eq!((parsed.pages, parsed.bad_pages()), (100, &[1, 50, 99][..]));
        }
        let most: Vec<u32> = (1..=BADPAGES_MAX as u32).collect();
        assert_eq!(
            Header::parse(&header(1, 9999, &most), 10_000).unwrap().bad_pages(),
            most
        );
    }

    /// Rule F24: what `mkswap -U clear -L` and `-U UUID` write beside.
    #[test]
    fn label_and_uuid() {
        let mut page = header(1, 9, &[]);
        page[UUID_AT..UUID_AT + 16].copy_from_slice(&[7; 16]);
        page[LABEL_AT..LABEL_AT + 4].copy_from_slice(b"swap");
        let parsed = Header::parse(&page, 10).unwrap();
        assert_eq!(parsed.uuid, [7; 16]);
        assert_eq!(&parsed.label, b"swap\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    /// Rule F24.
    #[test]
    fn bad_headers_are_refused() {
        let refused = |page: &[u8; 4096], words: &str| {
            let parsed = Header::parse(page, 100);
            assert!(parsed.as_ref().is_err_and(|why| why.contains(words)), "{parsed:?}");
        };
        refused(&[0; 4096], "signature");
        refused(&header(2, 9, &[]), "version");
        refused(&header(0, 9, &[]), "version");
        refused(&header(1, 0, &[]), "empty");
        refused(&header(1, 100, &[]), "shorter");
        refused(&header(1, u32::MAX, &[]), "shorter");
        refused(&header(1, 9, &[0]), "bad pages");
        refused(&header(1, 9, &[10]), "bad pages");
        let mut many = header(1, 9, &[]);
        many[NR_BADPAGES_AT..NR_BADPAGES_AT + 4].copy_from_slice(&(BADPAGES_MAX as u32 + 1).to_le_bytes());
        refused(&many, "room");
    }

    /// Rule F24: what Linux 6.18 makes of headers on a disk (a loop device) of 16 pages: pages that it swaps to, or `EINVAL`.
    #[test]
    fn as_linux_does() {
        const FIFTEEN: [u32; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let cases: [(u32, u32, &[u32], Option<u32>); 14] = [
            (1, 15, &[], Some(15)),
            (1, 8, &[], Some(8)),
            (1, 1, &[], Some(1)),
            (0, 15, &[], None),
            (2, 15, &[], None),
            (1, 0, &[], None),
            (1, 16, &[], None),
            (1, u32::MAX, &[], None),
            (1, 15, &[5], Some(14)),
            (1, 15, &[15], Some(14)),
            (1, 15, &[16], None),
            (1, 15, &[0], None),
            (1, 15, &[u32::MAX], None),
            (1, 15, &FIFTEEN[..14], Some(1)),
        ];
        for (version, last_page, bad, linux) in cases {
            let parsed = Header::parse(&header(version, last_page, bad), 16);
            let usable = parsed.map(|parsed| parsed.pages - 1 - parsed.bad_pages().len() as u32);
            assert_eq!(
                usable.ok(),
                linux,
                "version {version}, last page {last_page}, bad {bad:?}"
            );
        }
        // An area of bad pages alone is refused where it is to be used, as an empty one.
        assert!(Header::parse(&header(1, 15, &FIFTEEN), 16).is_ok());
        for signature in [b"SWAP-SPACE", b"S1SUSPEND\0"] {
            let mut other = header(1, 15, &[]);
            other[4086..].copy_from_slice(signature);
            assert!(Header::parse(&other, 16).is_err());
        }
    }
}
