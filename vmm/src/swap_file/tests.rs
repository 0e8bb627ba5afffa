use std::fs;

use super::*;

const MIB: u64 = 1 << 20;

/// A directory of this test's own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("faultlab-swap-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.join("swap");
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn open(path: &Path) -> Result<SwapFile, SwapError> {
    SwapFile::named(path, MIB)
}

#[test]
fn a_temporary_area_has_a_header_and_no_name() {
    let dir = Dir::new("temporary");
    let swap = SwapFile::temporary(&dir.0, MIB).unwrap();
    let mut header = [0; 4096];
    swap.file().read_exact_at(&mut header, 0).unwrap();
    assert_eq!(&header[4086..], b"SWAPSPACE2");
    assert_eq!(
        header[1024..1036],
        [1, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0],
        "version 1, last page 255, no bad pages"
    );
    assert_eq!((swap.bytes(), swap.file().metadata().unwrap().len()), (MIB, MIB));
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_new_file_is_made_kept_and_used_again() {
    let dir = Dir::new("new");
    let path = dir.0.join("swap");
    let swap = open(&path).unwrap();
    swap.file().write_all_at(b"kept", 4096).unwrap();
    assert!(matches!(open(&path), Err(SwapError::Busy { .. })), "it is locked");
    drop(swap);
    let again = SwapFile::named(&path, 2 * MIB).unwrap();
    let mut contents = [0; 4];
    again.file().read_exact_at(&mut contents, 4096).unwrap();
    assert_eq!(
        (again.bytes(), &contents),
        (MIB, b"kept"),
        "an existing area keeps its size and contents"
    );
}

#[test]
fn files_without_a_signature_are_refused_unchanged() {
    let dir = Dir::new("foreign");
    for bytes in [&b""[..], b"precious", &[7; 8192]] {
        let path = dir.file(bytes);
        let error = open(&path).unwrap_err();
        assert!(
            error.to_string().contains(&format!("mkswap {}", path.display())),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn headers_that_do_not_fit_are_refused() {
    let dir = Dir::new("headers");
    for (offset, value, reason) in [
        (1024, 2_u32, "version 2"),
        (1028, 256, "257 pages"),
        (1028, u32::MAX, "pages"),
        (1032, 1, "bad pages"),
    ] {
        let path = dir.0.join(format!("swap-{offset}-{value}"));
        let swap = open(&path).unwrap();
        swap.file().write_all_at(&value.to_le_bytes(), offset).unwrap();
        drop(swap);
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, SwapError::Header { .. }) && error.to_string().contains(reason),
            "{error}"
        );
    }
}

#[test]
fn sizes_and_places_that_cannot_be() {
    let dir = Dir::new("sizes");
    for bytes in [
        1,
        4096,
        SWAP_MIN_BYTES - 4096,
        SWAP_MIN_BYTES + 1,
        SWAP_MAX_BYTES + 4096,
    ] {
        let error = SwapFile::open(&SwapConfig::Temporary { bytes }).unwrap_err();
        assert!(error.to_string().contains(&bytes.to_string()), "{error}");
        let path = dir.0.join("never");
        assert!(SwapFile::named(&path, bytes).is_err());
        assert!(!path.exists(), "nothing is left behind");
    }
    assert!(matches!(open(&dir.0), Err(SwapError::Kind { .. })), "a directory");
    assert!(matches!(open(Path::new("/dev/null")), Err(SwapError::Kind { .. })));
    let missing = dir.0.join("missing/swap");
    assert!(matches!(open(&missing), Err(SwapError::Open { .. })));
    assert!(matches!(
        SwapFile::temporary(&missing, MIB),
        Err(SwapError::Temporary { .. })
    ));
    assert!(SwapFile::open(&SwapConfig::None).unwrap().is_none());
}

#[test]
fn a_block_device_that_somebody_has_for_himself_is_busy() {
    let dir = Dir::new("exclusive");
    let path = dir.0.join("disk");
    let file = File::create(&path).unwrap();
    format(&file, MIB).unwrap();
    let losetup = |arguments: &[&str]| {
        let ran = std::process::Command::new("losetup").args(arguments).output();
        ran.ok().filter(|ran| ran.status.success()).map(|ran| ran.stdout)
    };
    // Only root has loop devices, and not everywhere.
    let Some(device) = losetup(&["--find", "--show", path.to_str().unwrap()]) else {
        return;
    };
    let device = PathBuf::from(String::from_utf8(device).unwrap().trim());
    let is_usable = open(&device).map(drop).is_ok();
    // As mount(2) and swapon(2) have it.
    let exclusive = OpenOptions::new().write(true).custom_flags(libc::O_EXCL).open(&device);
    let refused = open(&device);
    drop(exclusive);
    losetup(&["--detach", device.to_str().unwrap()]);
    assert!(is_usable);
    assert!(matches!(refused, Err(SwapError::Busy { .. })), "{refused:?}");
}
