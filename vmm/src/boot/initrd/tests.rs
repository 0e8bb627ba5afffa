use super::*;
use crate::testing::ram;

const START: u64 = 0x40_0000;

/// A reader of newc archives, written from the format's description alone: name, mode, data, offset of the data.
fn unpack(archive: &[u8]) -> Vec<(String, u32, Vec<u8>, usize)> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let header = &archive[at..at + 110];
        assert_eq!(&header[..6], b"070701", "magic at {at}");
        let field = |n: usize| {
            let digits = std::str::from_utf8(&header[6 + 8 * n..14 + 8 * n]).unwrap();
            usize::from_str_radix(digits, 16).unwrap()
        };
        let (mode, size, name_size) = (field(1) as u32, field(6), field(11));
        assert!((1..=4096).contains(&name_size));
        let name = &archive[at + 110..at + 110 + name_size];
        assert_eq!(name[name_size - 1], 0, "a name ends with a NUL");
        let name = String::from_utf8(name.split(|&byte| byte == 0).next().unwrap().to_vec()).unwrap();
        let data_at = (at + 110 + name_size).next_multiple_of(4);
        let data = archive[data_at..data_at + size].to_vec();
        at = (data_at + size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            assert_eq!(at, archive.len(), "bytes after the trailer");
            return entries;
        }
        entries.push((name, mode, data, data_at));
    }
}

fn pack(program: &[u8], argv: &[Vec<u8>], envp: &[Vec<u8>]) -> Vec<u8> {
    let initrd = Initrd::new(program, argv, envp).unwrap();
    let ram = ram();
    initrd.write(&ram, START).unwrap();
    let mut archive = vec![0; initrd.bytes() as usize];
    ram.memory().read_slice(&mut archive, GuestAddress(START)).unwrap();
    archive
}

#[test]
fn files_start_on_pages_whatever_comes_before() {
    let program: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
    // The second string's length moves everything after it over every offset in a page and past the name limit.
    for extra in (0..4200).step_by(13) {
        let argv = [b"bin/prog".to_vec(), vec![b'a'; extra]];
        let envp = [b"HOME=/".to_vec()];
        let files: Vec<_> = unpack(&pack(&program, &argv, &envp))
            .into_iter()
            .filter(|file| file.1 != MODE_DIRECTORY)
            .collect();
        assert_eq!(files.len(), 3);
        assert!(
            files.iter().all(|file| file.3 % 4096 == 0),
            "extra {extra}: {:?}",
            files.iter().map(|f| f.3).collect::<Vec<_>>()
        );
        assert_eq!(
            (files[0].0.as_str(), &files[0].2),
            (INITRD_ARGV, &[b"bin/prog\0", &argv[1][..], b"\0"].concat())
        );
        assert_eq!((files[1].0.as_str(), &files[1].2[..]), (INITRD_ENVP, &b"HOME=/\0"[..]));
        assert_eq!(
            (files[2].0.as_str(), files[2].1, &files[2].2),
            ("bin/prog", 0o100_755, &program)
        );
    }
}

#[test]
fn long_names_are_moved_instead_of_padded_too_far() {
    for len in [1, 100, 900, PROGRAM_NAME_MAX_BYTES] {
        for extra in (0..4096).step_by(97) {
            let argv = [vec![b'p'; len], vec![b'a'; extra]];
            let entries = unpack(&pack(b"x", &argv, &[]));
            let program = entries.last().unwrap();
            assert_eq!((program.0.len(), program.3 % 4096), (len, 0), "extra {extra}");
        }
    }
}

#[test]
fn names_and_strings_that_cannot_be() {
    let refuse = |argv: &[Vec<u8>], envp: &[Vec<u8>]| Initrd::new(b"x", argv, envp).unwrap_err();
    assert!(matches!(refuse(&[], &[]), BootError::ProgramName { bytes: 0 }));
    assert!(matches!(refuse(&[vec![]], &[]), BootError::ProgramName { bytes: 0 }));
    assert!(matches!(
        refuse(&[b".faultlab/argv".to_vec()], &[]),
        BootError::ProgramName { .. }
    ));
    assert!(matches!(
        refuse(&[b"TRAILER!!!".to_vec()], &[]),
        BootError::ProgramName { .. }
    ));
    assert!(matches!(
        refuse(&[vec![b'x'; 1025]], &[]),
        BootError::ProgramName { bytes: 1025 }
    ));
    assert!(matches!(refuse(&[b"a\0b".to_vec()], &[]), BootError::Nul { index: 0 }));
    assert!(matches!(
        refuse(&[b"a".to_vec()], &[b"ok=1".to_vec(), b"b\0".to_vec()]),
        BootError::Nul { index: 1 }
    ));
}
