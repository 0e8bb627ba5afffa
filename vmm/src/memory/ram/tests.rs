use vm_memory::Bytes;

use super::*;

#[test]
fn sizes_out_of_range_are_refused() {
    for bytes in [
        0,
        RAM_MIN_BYTES - PAGE_SIZE,
        RAM_MAX_BYTES + PAGE_SIZE,
        RAM_MIN_BYTES + 1,
        u64::MAX,
    ] {
        let error = GuestRam::new(bytes, Backing::Anonymous).unwrap_err();
        assert!(error.to_string().contains(&bytes.to_string()), "{error}");
    }
    assert_eq!(
        GuestRam::new(RAM_MAX_BYTES, Backing::Anonymous).unwrap().bytes(),
        RAM_MAX_BYTES
    );
}

#[test]
fn cold_pages_read_as_zero_and_their_neighbours_stay() {
    let ram = GuestRam::new(RAM_MIN_BYTES, Backing::Anonymous).unwrap();
    for page in 0..4 {
        ram.memory()
            .write_obj(page + 1, GuestAddress(page * PAGE_SIZE))
            .unwrap();
    }
    ram.make_cold(&[PageRange {
        start: PAGE_SIZE,
        pages: 2,
    }])
    .unwrap();
    let read = |page: u64| ram.memory().read_obj::<u64>(GuestAddress(page * PAGE_SIZE)).unwrap();
    assert_eq!([read(0), read(1), read(2), read(3)], [1, 0, 0, 4]);
}

#[test]
fn wild_ranges_drop_nothing() {
    let ram = GuestRam::new(RAM_MIN_BYTES, Backing::Anonymous).unwrap();
    ram.memory().write_obj(7_u64, GuestAddress(0)).unwrap();
    let good = PageRange { start: 0, pages: 1 };
    for bad in [
        PageRange { start: 1, pages: 1 },
        PageRange { start: 0, pages: 0 },
        PageRange {
            start: 0,
            pages: RAM_MIN_BYTES / PAGE_SIZE + 1,
        },
        PageRange {
            start: RAM_MIN_BYTES,
            pages: 1,
        },
        PageRange {
            start: PAGE_SIZE,
            pages: u64::MAX,
        },
        PageRange {
            start: !(PAGE_SIZE - 1),
            pages: 1,
        },
    ] {
        assert!(
            matches!(
                ram.make_cold(&[good, bad]),
                Err(MemoryError::Range { .. } | MemoryError::Outside { .. })
            ),
            "{bad:?}"
        );
    }
    assert_eq!(
        ram.memory().read_obj::<u64>(GuestAddress(0)).unwrap(),
        7,
        "a good range before a bad one"
    );
}
