//! Programs that nobody here wrote: the distribution's static busybox, its shell and its applets, does in the guest what it does on this host.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faultlab::{Host, Observer, Stream, Vm, VmConfig};
use rustix::time::{ClockId, clock_gettime};

use crate::support::{BUSYBOX, Faultlab, Needs, Ran, Suite, faultlab, wait};

/// Scripts whose output and status are the same here and there; each begins in an empty directory, `$b` being busybox.
const SAME: &[(&str, &str)] = &[
    (
        "shell language",
        r#"x=0; for i in 1 2 3; do x=$((x*2+i)); done; echo $x
f() { local y=$1; shift; echo "$y:$#:$*"; return 3; }; f a b "c d"; echo $?
case foobar in foo*) echo yes;; *) echo no;; esac
cat() { $b cat "$@"; }; cat <<END
here $x $(echo sub $(echo sub))
END
set -- q w e; while [ $# -gt 0 ]; do printf '%s,' "$1"; shift; done; echo
echo "${x#1}${x%1}${none-default}${#x}"; (exit 5); echo $?; ! true; echo $?
trap 'echo bye' EXIT; type echo; cd /no/such 2>/dev/null || echo refused; umask; umask 077; umask"#,
    ),
    (
        "pipelines and redirections",
        r#"$b seq 1 200 | $b sort -rn | $b head -n 3; $b seq 5 | $b tr '\n' , ; echo
echo one > f; echo two >> f; $b cat < f; $b cat f f | $b wc; $b cat nothing 2>&1 | $b sed 's/^[^:]*: //'
{ echo out; echo err >&2; } 2>e >o; $b cat e o; echo $(($(echo 3 | $b cat)+1))
$b yes | $b head -c 100000 | $b md5sum; echo a | { read v; echo "read $v"; }
$b seq 3 | while read i; do echo "<$i>"; done"#,
    ),
    (
        "files",
        r#"$b dd if=/dev/zero of=z bs=4096 count=100 2>/dev/null; $b cp z y; $b cmp z y && echo same
echo x | $b dd of=y bs=1 seek=5000 conv=notrunc 2>/dev/null; $b cmp z y; $b mkdir -p d/e/f; $b ln -s e d/l
$b touch d/e/a; $b ln d/e/a d/b; $b chmod 640 d/e/a; $b stat -c '%n %a %h %s %F' d/e/a d/b d/l z; $b find d | $b sort
$b mv d/e/f d/g; $b rm -r d/e; $b ls d; $b readlink d/l; test -e d/l || echo dangling; $b tar c d z | $b tar t | $b sort
$b gzip z; $b gunzip z.gz; $b cmp z y >/dev/null || echo differ; $b truncate -s 10 z; $b od -c z; $b ls -l z | $b cut -c1-10
$b head -c 5000 /dev/urandom > r; $b base64 r | $b base64 -d | $b cmp - r && echo back"#,
    ),
    (
        "text",
        r#"$b seq 20 | $b awk '{ s += $1 * $1 } END { print s, NR }'; $b seq 20 | $b grep -c 1; echo 'a b  c' | $b cut -d' ' -f2
printf 'b 2\na 1\nb 2\nc 0\n' > t; $b sort t | $b uniq -c; $b sort -k2 -n t; $b sed -n '2,3p;s/b/X/w out' t; $b cat out
$b diff t out; $b tr a-z A-Z < t; $b nl t 2>/dev/null | $b head -n1; $b date -u -d @86400 +%F; $b expr 7 \* 6; $b rev t; $b tac t
echo 1 2 3 | $b xargs -n1 echo n; $b printf '%05d %x %s\n' 42 255 end; $b seq 3 | $b paste -s -d+ | $b bc; $b fold -w 3 t | $b wc -l"#,
    ),
    (
        "processes",
        r#"$b true & wait $!; echo $?; $b sh -c 'kill -9 $$'; echo $?; $b sleep 0.1 & p=$!; kill $p; wait $p; echo $?
(trap 'echo got' USR1; kill -USR1 $($b sh -c 'echo $PPID')); $b timeout 0.2 $b sleep 5; echo $?
$b env -i A=1 $b env; $b sh -c 'exit 300'; echo $?; exec 3>f; echo three >&3; exec 3>&-; $b cat f; $b id -u
for i in 1 2 3 4 5 6 7 8; do (exit $i) & done; wait; echo all; $b nproc >/dev/null && echo cpu"#,
    ),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    for (name, script) in SAME {
        suite.test(format!("busybox::{name}"), Needs::KvmAndBusybox, || same(script));
    }
    let mut test = |name: &str, body: fn()| suite.test(format!("busybox::{name}"), Needs::KvmAndBusybox, body);
    test("what the guest says of itself", itself);
    test("sort of more than fits into memory", sort);
    test("a small static program starts within 300 ms", start);
}

fn with_busybox(options: &str) -> Faultlab {
    faultlab(&format!("exec -q {options}")).args(["--file", &format!("{BUSYBOX}:{BUSYBOX}")])
}

fn in_guest(options: &str, script: &str) -> Ran {
    let cwd = ["--cwd", "/tmp", "--env", "b=/bin/busybox"];
    with_busybox(options)
        .args(cwd)
        .args(["--", BUSYBOX, "sh", "-c", script])
        .run()
}

fn same(script: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut shell = Command::new(BUSYBOX);
    shell
        .args(["sh", "-c", script])
        .env_clear()
        .env("b", BUSYBOX)
        .current_dir(directory.path());
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let here = wait(shell.spawn().expect("busybox runs"), Instant::now());
    let guest = in_guest("", script);
    let shown = |ran: &Ran| format!("status {}\n{}", ran.status, ran.stdout());
    assert_eq!(
        shown(&guest),
        shown(&here),
        "the guest's and the host's; standard error there:\n{}",
        guest.stderr()
    );
}

/// What cannot be the same here: it must have the form that tools parse, and the right numbers.
fn itself() {
    let script = "echo x > /dev/shm/seen; $b ls -l /dev/shm; $b mkdir m; $b mount -t tmpfs -o size=1M none m; $b df m; $b dd if=/dev/zero of=m/f bs=64k count=20; \
        $b df m; $b umount m && $b ls m; $b cat /proc/self/maps; $b cat /proc/meminfo; $b ps; $b uname -s; $b cat /proc/mounts";
    let ran = in_guest("--memory 32M --swap 16M", script).expect(0);
    let (shown, told) = (ran.stdout(), ran.stderr());
    let line = |words: &[&str]| {
        let found = shown.lines().find(|line| words.iter().all(|word| line.contains(word)));
        found
            .unwrap_or_else(|| panic!("no line with {words:?} in:\n{shown}{told}"))
            .to_owned()
    };
    assert!(line(&["seen"]).starts_with("-rw-r--r--"));
    assert!(told.contains("No space left on device"), "{told}");
    // 1024 KiB: none used, then all.
    let sizes: Vec<Vec<&str>> = shown
        .lines()
        .filter(|line| line.starts_with("none "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(sizes[0][1..5], ["1024", "0", "1024", "0%"], "{shown}");
    assert_eq!(sizes[1][1..5], ["1024", "1024", "0", "100%"], "{shown}");
    for words in [
        &["r-xp", "/bin/busybox"][..],
        &["[heap]"],
        &["[stack]"],
        &["sh", "-c"],
        &["Linux"],
        &["tmpfs", "/dev/shm"],
    ] {
        line(words);
    }
    let kib = |name: &str| -> u64 {
        let line = line(&[name]);
        line.split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("{line}"))
    };
    assert!((16 << 10..32 << 10).contains(&kib("MemTotal:")), "{shown}");
    assert!((15 << 10..=16 << 10).contains(&kib("SwapTotal:")), "{shown}");
}

/// The file alone is larger than the guest's memory.
fn sort() {
    let script = "$b mount -t tmpfs -o size=64M none /mnt; cd /mnt; $b seq 9000 | $b awk '{ printf \"%08d %990d\\n\", $1, $1 }' > f; \
        $b stat -c %s f; $b sort -r f > g; $b head -n 2 g | $b cut -c1-8; $b tail -n 1 g | $b cut -c1-8; $b wc -l g";
    let ran = in_guest(
        "--memory 8M --swap 256M --swap-backend memory --timeout 120 --check",
        &format!("$b mkdir /mnt; {script}"),
    )
    .expect(0);
    println!("sort of 9 MB in 8 MiB: {:?}", ran.elapsed);
    assert_eq!(
        ran.stdout(),
        "9000000\n00009000\n00008999\n00000001\n9000 g\n",
        "{}",
        ran.stderr()
    );
}

/// When the first output came, in the processor time of the thread that runs the guest.
#[derive(Default)]
struct FirstOutput(Option<Duration>);

impl Observer for FirstOutput {
    fn output(&mut self, _stream: Stream, _bytes: &[u8]) {
        self.0.get_or_insert_with(thread_time);
    }
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// From the building of the guest to the first output. Processor time: what the machine does besides is not the guest's fault.
fn start() {
    const LIMIT: Duration = Duration::from_millis(300);
    let host = Host::open().expect("the test needs KVM");
    let times: Vec<Duration> = (0..3)
        .map(|_| {
            let program = faultlab_images::program("hello").expect("a bundled program");
            let (since, mut output) = (thread_time(), FirstOutput::default());
            let vm = Vm::new(VmConfig::new(program, vec![b"hello".to_vec()]), &host).expect("a guest can be built");
            vm.run(&mut output).expect("KVM works");
            output.0.expect("it writes") - since
        })
        .collect();
    println!("a small static program starts within {times:?}");
    assert!(times.iter().min().is_some_and(|best| *best <= LIMIT), "{times:?}");
}
