//! What `exec` brings into the guest: files, directories, variables, ids, a working directory; and which program it runs then.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::support::{BUSYBOX, Faultlab, Needs, Suite, faultlab, wait};

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    let mut test = |name: &str, body: fn()| suite.test(format!("bring::{name}"), Needs::KvmAndBusybox, body);
    test("a directory arrives whole", a_directory);
    test("scripts find their interpreters as on Linux", scripts);
    test("variables, ids and a directory to begin in", surroundings);
    test("what cannot be brought is told in one line", refusals);
    test("a directory goes there and comes back", and_back);
    test("files come back from a guest short of memory", back_from_swap);
    test("what ended otherwise brings back what there is", back_after_all);
    test("what cannot come back is told in one line", not_back);
}

/// `exec` with the distribution's busybox in the guest.
fn with_busybox() -> Faultlab {
    faultlab("exec -q").args(["--file", &format!("{BUSYBOX}:{BUSYBOX}")])
}

/// What busybox's shell here says to a script, and that it must end with `status`.
fn shell_here(script: &str, status: i32) -> String {
    let mut shell = Command::new(BUSYBOX);
    shell.args(["sh", "-c", script]).env_clear().stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = wait(shell.spawn().expect("busybox runs"), Instant::now()).expect(status);
    ran.stdout()
}

/// A directory of this host, and the option that brings it to the same place in the guest.
fn both_sides() -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_str().expect("a path of ASCII").to_owned();
    (directory, format!("--dir={path}:{path}"))
}

fn write(path: &Path, text: impl AsRef<[u8]>, rights: u32) {
    fs::write(path, text).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(rights)).expect("its owner may");
}

/// Type, rights, owner, size and content of everything: the same there as here.
fn a_directory() {
    let (directory, option) = both_sides();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("deep/er")).expect("directories");
    fs::set_permissions(at("deep"), fs::Permissions::from_mode(0o1710)).expect("its owner may");
    write(&at("empty"), "", 0o600);
    write(&at("deep/small"), "x\n", 0o4755);
    // More than a page, and no whole number of them; more than the VMM copies at a time.
    write(
        &at("deep/er/large"),
        (0..300_001_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>(),
        0o444,
    );
    write(&at("name with\nnewline"), [0, 255, 10, 0], 0o644);
    symlink("deep/small", at("link")).expect("a link");
    symlink("/nowhere", at("dangling")).expect("a link");
    // Only root may give files away; the others see their own ids.
    let _ = chown(at("empty"), Some(1234), Some(4321));
    let script = format!(
        "cd {}; {BUSYBOX} find . -type f -exec {BUSYBOX} md5sum {{}} + | {BUSYBOX} sort; \
         {BUSYBOX} find . ! -type d -exec {BUSYBOX} stat -c '%n %f %u %g %s %N' {{}} +; {BUSYBOX} find . -type d -exec {BUSYBOX} stat -c '%n %f %u %g' {{}} +",
        directory.path().display()
    );
    // Without pipes: that is another test's.
    let script = script.replace(" | /bin/busybox sort", "");
    let lines = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let guest = with_busybox()
        .args([&option, "--", BUSYBOX, "sh", "-c", &script])
        .run()
        .expect(0);
    let here = lines(shell_here(&script, 0));
    assert!(here.len() > 12, "{here:?}");
    assert_eq!(lines(guest.stdout()), here);
}

fn scripts() {
    let (directory, option) = both_sides();
    let at = |name: &str| directory.path().join(name);
    let path = |name: &str| at(name).display().to_string();
    write(&at("s"), format!("#! {BUSYBOX} sh\necho \"$0\" \"$@\"\n"), 0o755);
    write(&at("nested"), format!("#!{}  two words \t\n", path("s")), 0o755);
    symlink("s", at("link")).expect("a link");
    write(&at("no-interpreter"), "#!/no/such/program\n", 0o755);
    write(&at("no-name"), "#! \necho shell\n", 0o755);
    write(&at("not-executable"), format!("#!{BUSYBOX} sh\n"), 0o644);
    let mut interpreter = path("s");
    for depth in 0..6 {
        write(
            &at(&format!("deep{depth}")),
            format!("#!{interpreter} {depth}\n"),
            0o755,
        );
        interpreter = path(&format!("deep{depth}"));
    }
    let names = [
        "s",
        "nested",
        "link",
        "no-interpreter",
        "no-name",
        "not-executable",
        "deep2",
        "deep3",
        "deep4",
    ];
    let calls: Vec<_> = names
        .iter()
        .map(|name| format!("{} a 'b c'; echo {name} $?", path(name)))
        .collect();
    let script = calls.join("; ");
    let guest = with_busybox()
        .args([&option, "--", BUSYBOX, "sh", "-c", &script])
        .run()
        .expect(0);
    let here = shell_here(&script, 0);
    assert!(here.contains("two words"), "{here}");
    assert_eq!(guest.stdout(), here);
    // As the first program.
    let first = with_busybox()
        .args([&option, "--", &path("nested"), "x"])
        .run()
        .expect(0);
    assert_eq!(
        first.stdout(),
        format!("{} two words {} x\n", path("s"), path("nested"))
    );
    let from_here = with_busybox().args(["--", &path("s"), "x"]).run().expect(0);
    assert_eq!(from_here.stdout(), format!("{} x\n", path("s")));
    with_busybox()
        .args([&option, "--", &path("no-interpreter")])
        .run()
        .expect_refusal(127, &["no-interpreter"]);
    with_busybox()
        .args([&option, "--", &path("not-executable")])
        .run()
        .expect_refusal(126, &["not-executable"]);
}

fn surroundings() {
    let script = "pwd; echo \"$GIVEN,$PASSED,$KEPT\"; /bin/busybox head -n1 /etc/passwd; exit 7";
    let ran = with_busybox()
        .env("PASSED", "from here")
        .env("KEPT", "from here")
        .args([
            "--env=GIVEN=a=b",
            "--env=PASSED",
            "--cwd=/data/deep",
            "--uid=1000:7",
            "--",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .run()
        .expect(7);
    assert_eq!(
        ran.stdout(),
        "/data/deep\na=b,from here,\nroot:x:0:0:root:/root:/bin/sh\n"
    );
    // The bundled program shows what it was called.
    let ran = faultlab("exec --cwd /data -- hello").run().expect(0);
    assert_eq!(ran.stdout(), "argv[0] = hello\n");
    // Nobody may write where only root may.
    let ran = with_busybox()
        .args([
            "--uid=1000",
            "--",
            "busybox",
            "sh",
            "-c",
            "echo x > /bin/new; echo y > /tmp/new && exit 5",
        ])
        .run()
        .expect(5);
    assert!(ran.stderr().contains("Permission denied"), "{}", ran.stderr());
}

fn refusals() {
    let refused = |arguments: &[&str], words: &[&str]| {
        faultlab("exec")
            .args(arguments)
            .args(["--", "hello"])
            .run()
            .expect_refusal(2, words);
    };
    refused(&["--file", "/no/such:/x"], &["--file", "/no/such"]);
    refused(&["--file", "/tmp:/x"], &["/tmp", "--dir"]);
    refused(&["--dir", "/bin/busybox:/x"], &["/bin/busybox", "--file"]);
    refused(&["--file", "/bin/busybox"], &["/bin/busybox", "colon"]);
    refused(&["--file", "/bin/busybox:x"], &["/bin/busybox:x", "absolute"]);
    refused(
        &["--file", "/bin/busybox:/x", "--file", "/bin/busybox:/./x"],
        &["/x", "twice"],
    );
    refused(&["--env", "NOBODY_SETS_THIS"], &["NOBODY_SETS_THIS", "NAME=VALUE"]);
    refused(&["--cwd", "x"], &["x", "absolute"]);
    refused(&["--uid", "root"], &["root", "number"]);
    // No room for it.
    let big = tempfile::NamedTempFile::new().expect("a file");
    big.as_file().set_len(9 << 20).expect("a hole");
    let pair = format!("{}:/x", big.path().display());
    faultlab("exec --memory 8M --file")
        .args([&pair, "--", "hello"])
        .run()
        .expect_refusal(125, &["--memory"]);
}

/// A directory that went in and was copied there comes back the same, holes and links included, to two places.
fn and_back() {
    let (directory, option) = both_sides();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("deep/er/empty")).expect("directories");
    write(&at("deep/small"), "x\n", 0o4755);
    write(
        &at("deep/er/large"),
        (0..300_001_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>(),
        0o444,
    );
    write(&at("name with\nnewline"), [0, 255, 10, 0], 0o600);
    symlink("/nowhere", at("dangling")).expect("a link");
    fs::set_permissions(at("deep/er"), fs::Permissions::from_mode(0o700)).expect("its owner may");
    let results = tempfile::tempdir().expect("a temporary directory");
    let result = |name: &str| results.path().join(name);
    fs::create_dir(result("there")).expect("a directory");
    write(&result("file"), "old", 0o600);
    let path = directory.path().display();
    // What runs on does not keep files from coming back, and what is mounted in a directory is another.
    let script = format!(
        "cp -a {path} /copy; cd /copy; ln deep/small second; mkfifo pipe; mkdir mnt; mount -t tmpfs none mnt; echo hidden > mnt/hidden; \
         printf end | dd of=sparse bs=1 seek=1000000 2>/dev/null; mount -t tmpfs none /mnt; echo other > /mnt/f; ln -s /mnt/f /link; sleep 1000 & exit 3"
    );
    let script = script.replace("; mount", "; mkdir -p /mnt; mount");
    let outs = [("/copy", "there"), ("/link", "file"), ("/copy/deep", "new")];
    let outs = outs.map(|(guest, host)| format!("--out={guest}:{}", result(host).display()));
    let ran = faultlab("exec")
        .args(["--file", &format!("{BUSYBOX}:{BUSYBOX}"), &option])
        .args(&outs)
        .args(["--", "busybox", "sh", "-c", &applets(&script)])
        .run()
        .expect(3);
    assert!(ran.stderr().contains("\"pipe\" is no file"), "{}", ran.stderr());
    let listing = |at: &Path| {
        let script = format!(
            "cd {}; {BUSYBOX} find . ! -name second ! -name sparse ! -name mnt -exec {BUSYBOX} stat -c '%n %f %N' {{}} + | {BUSYBOX} sed s/89ed/81ed/; \
             {BUSYBOX} find . -type f ! -name second ! -name sparse -exec {BUSYBOX} md5sum {{}} +",
            at.display()
        );
        let text = shell_here(&script, 0);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        // The directories' own rights and those of what was empty before are in the lines of `.` and of what is below.
        lines.retain(|line| !line.starts_with(". "));
        lines
    };
    let (here, back) = (listing(directory.path()), listing(&result("there")));
    assert!(here.len() > 10, "{here:?}");
    assert_eq!(back, here);
    assert_eq!(fs::read(result("file")).expect("it is there"), b"other\n");
    assert_eq!(fs::read(result("new/small")).expect("it is there"), b"x\n");
    let inode = |name: &str| fs::metadata(result(name)).expect("it is there").ino();
    assert_eq!(inode("there/second"), inode("there/deep/small"));
    let sparse = fs::metadata(result("there/sparse")).expect("it is there");
    assert_eq!(sparse.len(), 1_000_003);
    assert!(sparse.blocks() <= 16, "{} blocks of a hole", sparse.blocks());
    assert_eq!(fs::read_dir(result("there/mnt")).expect("it is there").count(), 0);
    assert_eq!(
        fs::read_dir(results.path()).expect("it is there").count(),
        3,
        "nothing else is left"
    );
}

/// Every command of a script called as busybox's.
fn applets(script: &str) -> String {
    let names = ["cp", "ln", "mkfifo", "mkdir", "mount", "dd", "sleep", "seq", "md5sum"];
    names.iter().fold(script.to_owned(), |script, name| {
        script
            .replace(&format!("; {name} "), &format!("; {BUSYBOX} {name} "))
            .replace(&format!("| {name} "), &format!("| {BUSYBOX} {name} "))
            .strip_prefix(&format!("{name} "))
            .map(|rest| format!("{BUSYBOX} {name} {rest}"))
            .unwrap_or_else(|| script.clone())
    })
}

/// A file that does not fit memory comes back from swap, whole.
fn back_from_swap() {
    let results = tempfile::tempdir().expect("a temporary directory");
    let result = results.path().join("f");
    let ran = with_busybox()
        .args(["--memory=8M", "--swap=32M", &format!("--out=/m/f:{}", result.display())])
        .args(["--", "busybox", "sh", "-c"])
        .args([applets(
            "mkdir /m; mount -t tmpfs -o size=32M none /m; seq 1000000 1600000 > /m/f; md5sum < /m/f",
        )])
        .run()
        .expect(0);
    let here = shell_here(&format!("{BUSYBOX} seq 1000000 1600000 | {BUSYBOX} md5sum"), 0);
    assert_eq!(ran.stdout(), here);
    let back = shell_here(&format!("{BUSYBOX} md5sum < {}", result.display()), 0);
    assert_eq!(back, here);
}

/// Killed programs bring back what they wrote; those that `--timeout` ends bring nothing.
fn back_after_all() {
    let results = tempfile::tempdir().expect("a temporary directory");
    let result = results.path().join("f");
    let out = format!("--out=/f:{}", result.display());
    let killed = |script: &str, timeout: &str, status: i32| {
        with_busybox()
            .args([timeout, &out, "--", "busybox", "sh", "-c", script])
            .run()
            .expect(status)
    };
    killed("echo x > /f; kill -9 $$", "--timeout=100", 128 + 9);
    assert_eq!(fs::read(&result).expect("it is there"), b"x\n");
    let ran = killed("echo y > /f; while :; do :; done", "--timeout=1", 124);
    assert!(
        ran.stderr().contains("cannot bring back /f: the guest ended before"),
        "{}",
        ran.stderr()
    );
    assert_eq!(fs::read(&result).expect("it is there"), b"x\n", "it is as it was");
    assert_eq!(
        fs::read_dir(results.path()).expect("it is there").count(),
        1,
        "nothing else is left"
    );
}

fn not_back() {
    let results = tempfile::tempdir().expect("a temporary directory");
    let result = results.path().join("f").display().to_string();
    let missing = |guest: &str, script: &str, status: i32, words: &[&str]| {
        let ran = with_busybox()
            .args([&format!("--out={guest}:{result}"), "--", "busybox", "sh", "-c", script])
            .run()
            .expect(status);
        let stderr = ran.stderr();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
        assert_eq!(
            fs::read_dir(results.path()).expect("it is there").count(),
            0,
            "nothing is left"
        );
    };
    missing("/no/such", "exit 0", 123, &["/no/such", "no such file", &result]);
    missing("/no/such", "exit 7", 7, &["/no/such", "no such file"]);
    missing("/bin/busybox/x", "exit 0", 123, &["Not a directory"]);
    missing("/proc/vmstat", "exit 0", 123, &["no file or directory"]);
    missing("/dev/zero", "exit 0", 123, &["no file or directory"]);
    missing(
        "/huge",
        "/bin/busybox truncate -s 9223372036854775807 /huge",
        123,
        &["/huge", "on this host"],
    );
    let refused = |out: &str, status: i32, words: &[&str]| {
        faultlab("exec")
            .args(["--out", out, "--", "hello"])
            .run()
            .expect_refusal(status, words);
    };
    refused("x:/y", 2, &["x:/y", "absolute"]);
    refused("/x", 2, &["/x", "colon"]);
    refused("/x:/tmp", 2, &["/tmp", "not empty"]);
    refused("/x:/dev/null", 2, &["/dev/null", "no file"]);
    refused("/x:/no/such/y", 125, &["/no/such/y", "can be written"]);
}
