//! `execve` as its caller sees it.

use core::ffi::CStr;

use faultlab_programs::arena::{Answer, Plain, line, must};
use faultlab_programs::sys::memory::{MAP_ANONYMOUS, MAP_PRIVATE, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::signals::{self, Action, AltStack, Context, Info, set};
use faultlab_programs::sys::{self, address_space, files, memory, sysv_shm};
use linux_raw_sys::general::{F_SETFD, FD_CLOEXEC, SIG_BLOCK, SIG_SETMASK, SIGUSR1, SIGUSR2};

/// This program.
pub(crate) const SELF: &CStr = c"/proc/self/exe";
const P: usize = PAGE_BYTES;

/// `execve`; comes back only with an error.
pub(crate) fn execve(path: usize, argv: &[usize], envp: &[usize]) -> Answer {
    // SAFETY: the arrays end with null pointers, or are bad on purpose; nothing of this program is needed if it succeeds.
    unsafe { process::execve([path, argv.as_ptr() as usize, envp.as_ptr() as usize]) }
}

fn string(string: &CStr) -> usize {
    string.as_ptr() as usize
}

/// Runs this program in a child with these arguments and strings of the environment; its wait status.
fn executed(argv: &[usize], envp: &[usize], before: impl FnOnce()) -> i32 {
    match process::fork() {
        Ok(Fork::Child) => {
            before();
            _ = execve(string(SELF), argv, envp);
            sys::exit(99)
        }
        Ok(Fork::Parent(child)) => process::wait(child).unwrap_or(-1),
        Err(_) => -1,
    }
}

pub(crate) fn show() {
    refused();
    arguments();
    inherited();
    attachments();
    descriptors();
}

fn refused() {
    let argv = [string(c"rules-exec"), string(c"never"), 0];
    let none = [0];
    for (case, path) in [
        ("no such file", string(c"/proc/self/no-such-file")),
        ("no path", string(c"")),
        ("a bad path", 8),
    ] {
        line("execve", case, Plain(execve(path, &argv, &none)));
    }
    let bad = [string(c"rules-exec"), 8, 0];
    line("execve", "a bad argument", Plain(execve(string(SELF), &bad, &none)));
    line("execve", "a bad environment", Plain(execve(string(SELF), &argv, &bad)));
    // SAFETY: no array is there to be read.
    let answer = unsafe { process::execve([string(SELF), 8, 0]) };
    line("execve", "bad arguments", Plain(answer));
    let long =
        must(memory::map(256 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1).map(|at| at as usize));
    // SAFETY: fresh memory; its last byte stays 0.
    unsafe { core::ptr::write_bytes(long as *mut u8, b'a', 32 * P) };
    let argv = [string(c"rules-exec"), long, 0];
    line(
        "execve",
        "an argument of 128 KiB",
        Plain(execve(string(SELF), &argv, &none)),
    );
    line("execve", "a path of 128 KiB", Plain(execve(long, &argv, &none)));
    let path = long + 32 * P - 4096;
    line("execve", "a path of 4096 bytes", Plain(execve(path, &argv, &none)));
    line("execve", "and it goes on", "yes");
}

fn arguments() {
    let argv = [
        string(c"name"),
        string(c"arguments"),
        string(c""),
        string(c"two words"),
        0,
    ];
    let envp = [string(c"A=1"), string(c"EMPTY="), 0];
    line("execve", "arguments", executed(&argv, &envp, || {}));
    line("execve", "no environment", executed(&argv, &[0], || {}));
    line(
        "execve",
        "no arguments",
        executed(&[0], &[string(c"INSIDE=arguments"), 0], || {}),
    );
    let nothing = match process::fork() {
        Ok(Fork::Child) => {
            let envp = [string(c"INSIDE=arguments"), 0];
            // SAFETY: as in `execve`; a null pointer stands for no strings.
            _ = unsafe { process::execve([string(SELF), 0, envp.as_ptr() as usize]) };
            sys::exit(99)
        }
        Ok(Fork::Parent(child)) => process::wait(child).unwrap_or(-1),
        Err(_) => return,
    };
    line("execve", "no array of arguments", nothing);
}

extern "C" fn handler(_: i32, _: &Info, _: &mut Context) {}

fn inherited() {
    let stack = must(memory::map(4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1).map(|at| at as usize));
    let argv = [string(c"name"), string(c"signals"), 0];
    let status = executed(&argv, &[0], || {
        // SAFETY: the handler does nothing.
        must(unsafe { signals::action(SIGUSR1, &Action::handler(handler, 0)) }.map(|_| 0));
        // SAFETY: no handler.
        must(unsafe { signals::action(SIGUSR2, &Action::IGNORE) }.map(|_| 0));
        must(signals::mask(SIG_BLOCK, set(SIGUSR1) | set(40)).map(|_| 0));
        must(signals::raise(SIGUSR1).map(|()| 0));
        let altstack = AltStack {
            sp: stack,
            size: 4 * P,
            ..AltStack::default()
        };
        // SAFETY: the memory is for that.
        must(unsafe { signals::sigaltstack([&raw const altstack as usize, 0]) });
        const ARCH_SET_GS: usize = 0x1001;
        // SAFETY: nothing here uses GS.
        must(unsafe { process::arch_prctl([ARCH_SET_GS, 0x1234_5000]) });
        // SAFETY: the control word is set again by whoever comes.
        unsafe {
            core::arch::asm!("push 0x0f7f", "fldcw [rsp]", "mov dword ptr [rsp], 0xffa0", "ldmxcsr [rsp]", "pop rax", out("rax") _);
        };
    });
    line("execve", "signals", status);
    must(signals::mask(SIG_SETMASK, 0).map(|_| 0));
    let own = process::id();
    // The number is compared inside, by the parent's.
    line(
        "execve",
        "numbers",
        executed(&[string(c"name"), string(c"parent"), 0], &[0], || {}) == (own & 0x7f) << 8,
    );
}

/// Rule A61.
fn attachments() {
    let id = must(sysv_shm::create(3 * P).map(|id| id as usize)) as i32;
    let at = must(sysv_shm::attach(id, core::ptr::null_mut()).map(|at| at as usize));
    let nattch = || sysv_shm::stat(id).map_or(0, |stat| stat.nattch);
    line("A61", "before", nattch());
    let mut digits = [0u8; 12];
    let number = decimal(id as usize, &mut digits);
    let argv = [string(c"name"), string(c"attached"), number, 0];
    line(
        "A61",
        "the child",
        executed(&argv, &[0], || line("A61", "in the child", nattch())),
    );
    line("A61", "afterwards", nattch());
    let child = match process::fork() {
        Ok(Fork::Child) => {
            _ = execve(string(SELF), &[string(c"name"), string(c"nothing"), 0], &[0]);
            sys::exit(99)
        }
        Ok(Fork::Parent(child)) => child,
        Err(_) => return,
    };
    _ = process::wait(child);
    let last = sysv_shm::stat(id).map_or(0, |stat| stat.lpid);
    line("A61", "the last process is the one that executed", last == child);
    must(sysv_shm::remove(id).map(|()| 0));
    // SAFETY: attached above.
    must(unsafe { sysv_shm::detach(at as *mut u8) }.map(|()| 0));
    let id = must(sysv_shm::create(P).map(|id| id as usize)) as i32;
    must(sysv_shm::attach(id, core::ptr::null_mut()).map(|at| at as usize));
    let child = executed(&[string(c"name"), string(c"nothing"), 0], &[0], || {
        must(sysv_shm::remove(id).map(|()| 0));
    });
    line("A61", "removed by a child that executes", child);
    line("A61", "attached by the parent still", nattch_of(id));
}

fn nattch_of(id: i32) -> u64 {
    sysv_shm::stat(id).map_or(0, |stat| stat.nattch)
}

/// A number as a C string.
fn decimal(mut number: usize, digits: &mut [u8; 12]) -> usize {
    let mut at = digits.len() - 1;
    digits[at] = 0;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return digits[at..].as_ptr() as usize;
        }
    }
}

fn descriptors() {
    // SAFETY: reads the name only.
    let create = || must(unsafe { files::memfd_create([c"rules".as_ptr() as usize, 0]) });
    let (kept, closed) = (create(), create());
    // SAFETY: touches no memory.
    must(unsafe { files::fcntl([closed, F_SETFD as usize, FD_CLOEXEC as usize]) });
    // SAFETY: reads one byte.
    must(unsafe { address_space::write([kept, c"x".as_ptr() as usize, 1]) });
    let (mut first, mut second) = ([0u8; 12], [0u8; 12]);
    let argv = [
        string(c"name"),
        string(c"descriptors"),
        decimal(kept, &mut first),
        decimal(closed, &mut second),
        0,
    ];
    line("execve", "descriptors", executed(&argv, &[0], || {}));
    for descriptor in [kept, closed] {
        // SAFETY: touches no memory.
        line("execve", "the parent's", Plain(unsafe { files::close([descriptor]) }));
    }
}
