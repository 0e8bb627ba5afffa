use std::thread;
use std::time::{Duration, Instant};

use faultlab_abi::lab::PageRange;
use faultlab_abi::layout::{RAM_MIN_BYTES, WINDOW};
use vm_memory::{Bytes, GuestAddress};

use super::super::{GuestRam, MemoryConfig};
use super::*;
use crate::testing::skipped;

/// Guest memory on `backing` with a window of four granules, or `None` where this host cannot: then the error is one line with a remedy.
fn memory(backing: Backing, options: BackingOptions) -> Option<GuestRam> {
    let config = MemoryConfig {
        bytes: RAM_MIN_BYTES,
        window_bytes: 4 * backing.granule_bytes(),
        backing,
        options,
    };
    match GuestRam::with(&config) {
        Ok(ram) => Some(ram),
        Err(error) => {
            assert!(matches!(error, MemoryError::Unavailable { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains(backing.name()) && text.contains("; ") && !text.contains('\n'),
                "{text}"
            );
            skipped(&text);
            None
        }
    }
}

/// Calls `check` for every backing that this host has.
fn each(check: impl Fn(Backing, &GuestRam)) {
    for backing in Backing::ALL {
        if let Some(ram) = memory(backing, BackingOptions::default()) {
            check(backing, &ram);
        }
    }
}

fn pages(start: u64, bytes: u64) -> [PageRange; 1] {
    [PageRange {
        start,
        pages: bytes / PAGE_SIZE,
    }]
}

/// The word at the beginning of a window page.
fn window_word(ram: &GuestRam, offset: u64) -> *mut u64 {
    let slot = ram.window_slot(0).expect("a window");
    assert!(offset + 8 <= slot.memory_size);
    (slot.userspace_addr + offset) as *mut u64
}

fn put(ram: &GuestRam, offset: u64, value: u64) {
    // SAFETY: in the window, which `ram` keeps mapped.
    unsafe { window_word(ram, offset).write_volatile(value) };
}

fn get(ram: &GuestRam, offset: u64) -> u64 {
    // SAFETY: as above.
    unsafe { window_word(ram, offset).read_volatile() }
}

#[test]
fn names_are_unique_and_understood() {
    for backing in Backing::ALL {
        assert_eq!(Backing::named(backing.name()), Some(backing));
    }
    assert_eq!(Backing::named("anonymous"), None);
}

#[test]
fn fresh_memory_is_zero_and_not_backed() {
    each(|backing, ram| {
        assert_eq!(
            ram.present(&pages(WINDOW, ram.window_bytes())).unwrap(),
            0,
            "{backing:?}"
        );
        assert_eq!(ram.present(&pages(0, RAM_MIN_BYTES)).unwrap(), 0, "{backing:?}");
        assert_eq!(get(ram, 8), 0, "{backing:?}");
        assert_eq!(
            ram.memory().read_obj::<u64>(GuestAddress(RAM_MIN_BYTES - 8)).unwrap(),
            0
        );
    });
}

#[test]
fn cold_touched_cold_again() {
    each(|backing, ram| {
        let granule = backing.granule_bytes();
        let all = pages(WINDOW, 4 * granule);
        for round in 1..=3 {
            for index in 0..4 {
                put(ram, index * granule, round * 10 + index);
                let present = (index + 1) * granule / PAGE_SIZE;
                assert_eq!(ram.present(&all).unwrap(), present, "{backing:?}, round {round}");
            }
            // The middle goes, its neighbours stay.
            ram.make_cold(&pages(WINDOW + granule, 2 * granule)).unwrap();
            assert_eq!(ram.present(&all).unwrap(), 2 * granule / PAGE_SIZE, "{backing:?}");
            let kept = |value| if backing.cold_keeps_contents() { value } else { 0 };
            let found = [0, 1, 2, 3].map(|index| get(ram, index * granule));
            let base = round * 10;
            assert_eq!(found, [base, kept(base + 1), kept(base + 2), base + 3], "{backing:?}");
            ram.make_cold(&all).unwrap();
            assert_eq!(ram.present(&all).unwrap(), 0, "{backing:?}, round {round}");
        }
    });
}

/// What a file system reads ahead into one large folio leaves the page cache in pages all the same. More is populated than is read at once.
#[test]
fn populated_pages_go_one_by_one() {
    each(|backing, ram| {
        if backing.granule_bytes() != PAGE_SIZE {
            return;
        }
        let (first, count) = (1 << 20, 1024);
        let all = pages(first, count * PAGE_SIZE);
        ram.make_cold(&all).unwrap();
        ram.populate(&all).unwrap();
        for gone in 1..=count / 2 {
            let odd = first + (2 * gone - 1) * PAGE_SIZE;
            ram.make_cold(&pages(odd, PAGE_SIZE))
                .unwrap_or_else(|error| panic!("{backing:?}, page {}: {error}", 2 * gone - 1));
            assert_eq!(ram.present(&all).unwrap(), count - gone, "{backing:?}");
        }
    });
}

#[test]
fn populated_pages_are_backed_and_keep_their_contents() {
    each(|backing, ram| {
        let granule = backing.granule_bytes();
        put(ram, granule, 7);
        ram.populate(&pages(WINDOW, 2 * granule)).unwrap();
        assert_eq!(
            ram.present(&pages(WINDOW, 4 * granule)).unwrap(),
            2 * granule / PAGE_SIZE,
            "{backing:?}"
        );
        assert_eq!(get(ram, granule), 7, "{backing:?}");
        // RAM of scattered pages, too.
        ram.memory().write_obj(9_u64, GuestAddress(3 * PAGE_SIZE)).unwrap();
        ram.populate(&[pages(PAGE_SIZE, PAGE_SIZE)[0], pages(3 * PAGE_SIZE, PAGE_SIZE)[0]])
            .unwrap();
        assert_eq!(ram.memory().read_obj::<u64>(GuestAddress(3 * PAGE_SIZE)).unwrap(), 9);
    });
}

#[test]
fn wild_and_uneven_ranges_change_nothing() {
    each(|backing, ram| {
        let granule = backing.granule_bytes();
        put(ram, 0, 5);
        let good = pages(WINDOW, granule)[0];
        let end = WINDOW + ram.window_bytes();
        let mut bad = vec![
            (WINDOW + 1, 1),
            (WINDOW, 0),
            (WINDOW - PAGE_SIZE, 1),
            (WINDOW - PAGE_SIZE, 2),
            (end, 1),
            (end - PAGE_SIZE, 2),
            (WINDOW, u64::MAX / PAGE_SIZE),
            (RAM_MIN_BYTES, 1),
            (RAM_MIN_BYTES - PAGE_SIZE, 2),
            (!0 << 12, 1),
            (0, u64::MAX),
        ];
        for &(start, pages) in &bad {
            let range = PageRange { start, pages };
            assert!(ram.populate(&[good, range]).is_err(), "{backing:?}: {range:x?}");
            assert!(ram.present(&[good, range]).is_err(), "{backing:?}: {range:x?}");
        }
        if granule > PAGE_SIZE {
            bad.extend([(WINDOW, 1), (WINDOW + PAGE_SIZE, granule / PAGE_SIZE), (0, 1)]);
        }
        for (start, pages) in bad {
            let range = PageRange { start, pages };
            assert!(ram.make_cold(&[good, range]).is_err(), "{backing:?}: {range:x?}");
        }
        assert_eq!(
            (get(ram, 0), ram.present(&[good]).unwrap()),
            (5, granule / PAGE_SIZE),
            "{backing:?}"
        );
    });
}

#[test]
fn a_window_is_whole_granules() {
    for (backing, window_bytes) in [
        (Backing::Anonymous, 1),
        (Backing::Anonymous, (16 << 30) + PAGE_SIZE),
        (Backing::AnonymousThp, PAGE_SIZE),
        (Backing::Hugetlb1g, 2 << 20),
    ] {
        let error = GuestRam::with(&MemoryConfig {
            bytes: RAM_MIN_BYTES,
            window_bytes,
            backing,
            options: BackingOptions::default(),
        });
        assert!(
            matches!(error, Err(MemoryError::WindowSize { .. })),
            "{backing:?}, {window_bytes}"
        );
    }
}

#[test]
fn a_named_file_is_emptied_and_holds_ram_then_the_window() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory");
    std::fs::write(&path, [0xff; 3 * PAGE_SIZE as usize]).unwrap();
    let options = BackingOptions {
        file: Some(path.clone()),
        ..BackingOptions::default()
    };
    let ram = memory(Backing::File, options).expect("a file is had everywhere");
    assert_eq!(get(&ram, 0), 0);
    assert_eq!(
        ram.memory().read_obj::<u64>(GuestAddress(0)).unwrap(),
        0,
        "stale contents"
    );
    put(&ram, 8, 3);
    ram.memory().write_obj(4_u64, GuestAddress(16)).unwrap();
    drop(ram);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, RAM_MIN_BYTES + 4 * PAGE_SIZE);
    assert_eq!((bytes[RAM_MIN_BYTES as usize + 8], bytes[16]), (3, 4));
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for path in [
        "/dev/null".into(),
        directory.path().to_owned(),
        directory.path().join("no/such"),
    ] {
        let options = BackingOptions {
            file: Some(path.clone()),
            ..BackingOptions::default()
        };
        let config = MemoryConfig {
            bytes: RAM_MIN_BYTES,
            window_bytes: 0,
            backing: Backing::File,
            options,
        };
        let error = GuestRam::with(&config).unwrap_err().to_string();
        assert!(
            error.contains(path.to_str().unwrap()) && error.contains("; "),
            "{error}"
        );
    }
}

fn uffd(backing: Backing, threads: usize, delay: Duration, fill: Fill) -> Option<GuestRam> {
    let uffd = UffdOptions { threads, delay, fill };
    memory(backing, BackingOptions { file: None, uffd })
}

#[test]
fn many_threads_serve_faults_of_many_threads() {
    for (backing, fill) in [
        (Backing::UffdMissing, Fill::Copy),
        (Backing::UffdMissing, Fill::ZeroPage),
        (Backing::UffdMinor, Fill::Copy),
    ] {
        let Some(ram) = uffd(backing, 4, Duration::ZERO, fill) else {
            return;
        };
        let memory = ram.memory();
        for _ in 0..3 {
            thread::scope(|scope| {
                // Each page is touched by two threads at once.
                for toucher in 0..4_u64 {
                    scope.spawn(move || {
                        for page in 0..256 {
                            let at = (page * PAGE_SIZE) + 8 * toucher;
                            memory.write_obj(page + toucher, GuestAddress(at)).unwrap();
                        }
                    });
                }
            });
            for page in 0..256 {
                let word = memory.read_obj::<u64>(GuestAddress(page * PAGE_SIZE + 24)).unwrap();
                assert_eq!(word, page + 3, "{backing:?} {fill:?}");
            }
            let all = pages(0, 256 * PAGE_SIZE);
            assert_eq!(ram.present(&all).unwrap(), 256);
            ram.make_cold(&all).unwrap();
            assert_eq!(ram.present(&all).unwrap(), 0);
        }
    }
}

#[test]
fn a_delay_is_kept_once_a_page() {
    let delay = Duration::from_millis(3);
    for backing in [Backing::UffdMissing, Backing::UffdMinor] {
        let Some(ram) = uffd(backing, 1, delay, Fill::Copy) else {
            return;
        };
        let (begin, before) = (Instant::now(), ram.served());
        (0..4).for_each(|page| put(&ram, page * PAGE_SIZE, 1));
        assert!(begin.elapsed() >= 4 * delay, "{backing:?}: {:?}", begin.elapsed());
        assert_eq!(ram.served() - before, 4, "{backing:?}");
        (0..4).for_each(|page| put(&ram, page * PAGE_SIZE, 1));
        assert_eq!(ram.served() - before, 4, "{backing:?}: present pages have no delay");
    }
}
