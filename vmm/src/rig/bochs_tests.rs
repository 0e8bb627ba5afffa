//! What Bochs and GRUB are told, and what is understood of what Bochs says.

use super::super::testing::boot;
use super::*;

/// As Bochs 2.7 of Debian 12 begins.
const HELP: &str = "\
========================================================================
                        Bochs x86 Emulator 2.7
              Built from SVN snapshot on August  1, 2021
========================================================================
00000000000i[      ] LTDL_LIBRARY_PATH not set. using compile time default '/usr/lib/x86_64-linux-gnu/bochs/plugins'
Usage: bochs [flags] [bochsrc options]
";

#[test]
fn the_machine_is_described() {
    let installation = Installation {
        version: String::new(),
        debugger: true,
        bios: "/bios",
        vga_bios: "/vga",
    };
    let text = bochsrc(
        2048,
        &installation,
        Path::new("/cd"),
        Path::new("/c"),
        Path::new("/f"),
        Path::new("/s"),
    );
    let expected = "\
megs: 2048
cpu: model=corei7_skylake_x, count=1, ips=100000000, reset_on_triple_fault=0
clock: sync=none, time0=946684800
romimage: file=/bios
vgaromimage: file=/vga
ata0-master: type=cdrom, path=/cd, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=/c
com2: enabled=1, mode=file, dev=/f
com3: enabled=1, mode=term, dev=/s
display_library: term
plugin_ctrl: speaker=0
log: -
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
";
    assert_eq!(text, expected);
}

#[test]
fn grub_boots_what_is_on_the_cd() {
    let expected = "\
linux /vmlinuz console=ttyS0 panic=-1 reboot=t quiet loglevel=1 nokaslr norandmaps tsc_early_khz=100000 mitigations=off
initrd /initramfs
boot
";
    assert_eq!(grub_cfg(boot()), expected);
    let careful = Boot {
        mitigations: true,
        ..boot()
    };
    assert!(!grub_cfg(careful).contains("mitigations"));
}

#[test]
fn further_words_mean_nothing_to_grub() {
    let words = Boot {
        append: " hugepages=64  a;reboot",
        ..boot()
    };
    let script = grub_cfg(words);
    assert!(
        script.contains(" mitigations=off 'hugepages=64' 'a;reboot'\ninitrd "),
        "{script}"
    );
}

#[test]
fn its_help_tells_version_and_plugins() {
    assert_eq!(version(HELP), "Bochs x86 Emulator 2.7");
    assert_eq!(
        plugins(HELP).as_deref(),
        Some(Path::new("/usr/lib/x86_64-linux-gnu/bochs/plugins"))
    );
    assert_eq!((version(""), plugins("")), ("Bochs".to_owned(), None));
}

#[test]
fn a_command_is_looked_for_in_every_directory_of_path() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bochs"), "").unwrap();
    let path = env::join_paths([Path::new("/nonexistent"), directory.path()]).unwrap();
    assert!(is_in(&path, "bochs") && !is_in(&path, "xorriso") && !is_in("".as_ref(), "bochs"));
}

#[test]
fn what_is_missing_is_named_with_the_remedy() {
    let error = find(("left-handed BIOS", &["/nonexistent"])).unwrap_err().to_string();
    assert!(error.starts_with("no left-handed BIOS on this machine: "), "{error}");
    assert!(
        !error.contains('\n') && error.ends_with(&remedy(Wanted::Bochs)),
        "{error}"
    );
}
