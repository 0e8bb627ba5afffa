//! An argument as text, as strace(1) has it.

use std::fmt::Write;

use super::calls::Arg;
use super::memory::Memory;
use super::names;

/// Bytes of a buffer that are shown. Source: strace(1), `-s`.
const STRING_BYTES: usize = 32;
/// Bytes of a path that are shown.
const PATH_BYTES: usize = 4096;
/// Elements of an array that are shown.
const ELEMENTS: u64 = 32;

const AT_FDCWD: i32 = -100;

/// An argument of a call that begins; `None` if it is known later only.
pub(super) fn entering(kind: Arg, index: usize, args: &[u64; 6], memory: &dyn Memory) -> Option<String> {
    let value = args[index];
    let pointer = |text: Option<String>| if value == 0 { Some("NULL".to_owned()) } else { text };
    Some(match kind {
        Arg::Int => (value as i32).to_string(),
        Arg::Long => value.cast_signed().to_string(),
        Arg::Size => value.to_string(),
        Arg::Hex => address(value),
        Arg::Mode => mode(value),
        Arg::ModeIfMade => {
            let makes = args[index - 1] as i32 & (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) != 0;
            if makes { mode(value) } else { "0".to_owned() }
        }
        Arg::At => match value as i32 {
            AT_FDCWD => "AT_FDCWD".to_owned(),
            descriptor => descriptor.to_string(),
        },
        Arg::Signal => signal_name(value),
        Arg::One(of) => names::one(of, value & 0xffff_ffff).map_or_else(|| format!("{value:#x}"), str::to_owned),
        Arg::Flags(of) => names::flags(of, value & 0xffff_ffff, "0"),
        Arg::Open => open_flags(value),
        Arg::Futex => futex(value),
        Arg::Clone => clone_flags(value),
        Arg::Id => (value as i32).to_string(),
        Arg::Path => return pointer(path(value, memory)),
        Arg::Strings => return pointer(strings(value, memory)),
        Arg::Environment => return pointer(environment(value, memory)),
        Arg::In(length) => return pointer(bytes(value, args[length], memory)),
        Arg::VectorsIn => return pointer(vectors(value, args[index + 1], memory)),
        Arg::Timespec => return pointer(pair(value, memory, ["tv_sec", "tv_nsec"])),
        Arg::Set => return pointer(word(value, memory).map(set)),
        Arg::Action => return pointer(action(value, memory)),
        Arg::Limit => return pointer(limit(value, memory)),
        Arg::PollFds => return pointer(poll_fds(value, args[index + 1], memory)),
        Arg::LongIn => return pointer(word(value, memory).map(|word| format!("[{word}]"))),
        Arg::Out
        | Arg::PathOut
        | Arg::TimespecOut
        | Arg::TimevalOut
        | Arg::SetOut
        | Arg::ActionOut
        | Arg::PairOut
        | Arg::StatusOut
        | Arg::StatOut
        | Arg::LimitOut
        | Arg::IntOut => return pointer(None),
    })
}

/// An argument of a call that is over, with its result if it has one, which was not known when it began.
pub(super) fn leaving(kind: Arg, index: usize, args: &[u64; 6], result: Option<u64>, memory: &dyn Memory) -> String {
    let value = args[index];
    let succeeded = result.filter(|&result| result.cast_signed() >= 0 || result.cast_signed() < -4095);
    let came_out = || {
        let result = succeeded?;
        match kind {
            Arg::Out => bytes(value, result, memory),
            Arg::PathOut => path(value, memory),
            Arg::TimespecOut => pair(value, memory, ["tv_sec", "tv_nsec"]),
            Arg::TimevalOut => pair(value, memory, ["tv_sec", "tv_usec"]),
            Arg::SetOut => word(value, memory).map(set),
            Arg::ActionOut => action(value, memory),
            Arg::PairOut => word(value, memory).map(|word| format!("[{}, {}]", word as i32, (word >> 32) as i32)),
            Arg::StatusOut if result != 0 => {
                word32(value, memory).map(|status| format!("[{{{}}}]", status_text(status)))
            }
            Arg::StatOut => stat(value, memory),
            Arg::LimitOut => limit(value, memory),
            Arg::IntOut => word32(value, memory).map(|word| format!("[{}]", word.cast_signed())),
            _ => None,
        }
    };
    let went_in = || entering(kind, index, args, memory);
    came_out().or_else(went_in).unwrap_or_else(|| address(value))
}

fn address(value: u64) -> String {
    if value == 0 {
        "NULL".to_owned()
    } else {
        format!("{value:#x}")
    }
}

fn mode(value: u64) -> String {
    format!("0{:03o}", value & 0xffff)
}

fn word(address: u64, memory: &dyn Memory) -> Option<u64> {
    let mut word = [0; 8];
    (memory.read(address, &mut word) == 8).then(|| u64::from_le_bytes(word))
}

fn word32(address: u64, memory: &dyn Memory) -> Option<u32> {
    let mut word = [0; 4];
    (memory.read(address, &mut word) == 4).then(|| u32::from_le_bytes(word))
}

/// A name of a signal, or its number.
pub(super) fn signal_name(value: u64) -> String {
    match names::one(names::SIGNAL, value) {
        Some(name) => name.to_owned(),
        None if (34..=64).contains(&value) => format!("SIGRT_{}", value - 32),
        None if value == 32 || value == 33 => format!("SIGRT_{}", value - 32),
        None => (value as i32).to_string(),
    }
}

fn open_flags(value: u64) -> String {
    const ACCMODE: u64 = 3;
    let access = names::one(names::OPEN_MODE, value & ACCMODE).unwrap_or("O_ACCMODE");
    match value & 0xffff_ffff & !ACCMODE {
        0 => access.to_owned(),
        rest => format!("{access}|{}", names::flags(names::OPEN, rest, "")),
    }
}

fn futex(value: u64) -> String {
    const COMMAND: u64 = 127;
    let command =
        names::one(names::FUTEX, value & COMMAND).map_or_else(|| format!("{:#x}", value & COMMAND), str::to_owned);
    match value & 0xffff_ffff & !COMMAND {
        0 => command,
        // As strace abbreviates it.
        128 => format!("{command}_PRIVATE"),
        rest => format!("{command}|{}", names::flags(names::FUTEX_FLAGS, rest, "")),
    }
}

fn clone_flags(value: u64) -> String {
    const SIGNAL: u64 = 0xff;
    let flags = names::flags(names::CLONE, value & !SIGNAL, "");
    let signal = match value & SIGNAL {
        0 => String::new(),
        signal => signal_name(signal),
    };
    match (flags.is_empty(), signal.is_empty()) {
        (true, true) => "0".to_owned(),
        (true, false) => signal,
        (false, true) => flags,
        (false, false) => format!("{flags}|{signal}"),
    }
}

/// Bytes in quotes, as a C program would have them.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\r' => text.push_str("\\r"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            0x20..0x7f => text.push(char::from(byte)),
            // Three digits where another could follow.
            _ => {
                let digit_follows = bytes.get(index + 1).is_some_and(u8::is_ascii_digit);
                // A string never fails.
                let _ = match digit_follows {
                    true => write!(text, "\\{byte:03o}"),
                    false => write!(text, "\\{byte:o}"),
                };
            }
        }
    }
    text + "\""
}

fn bytes(address: u64, count: u64, memory: &dyn Memory) -> Option<String> {
    let shown = count.min(STRING_BYTES as u64) as usize;
    let mut buffer = [0; STRING_BYTES];
    if memory.read(address, &mut buffer[..shown]) < shown {
        return None;
    }
    let more = if count > shown as u64 { "..." } else { "" };
    Some(quoted(&buffer[..shown]) + more)
}

/// The bytes of a string, and whether it ended.
fn string(address: u64, most: usize, memory: &dyn Memory) -> Option<(Vec<u8>, bool)> {
    let mut text = vec![0; most];
    let read = memory.read(address, &mut text);
    text.truncate(read);
    match text.iter().position(|&byte| byte == 0) {
        Some(end) => {
            text.truncate(end);
            Some((text, true))
        }
        None => (read == most).then_some((text, false)),
    }
}

fn path(address: u64, memory: &dyn Memory) -> Option<String> {
    let (text, ended) = string(address, PATH_BYTES, memory).or_else(|| string(address, STRING_BYTES, memory))?;
    Some(quoted(&text) + if ended { "" } else { "..." })
}

fn strings(array: u64, memory: &dyn Memory) -> Option<String> {
    let mut shown = Vec::new();
    for index in 0..=ELEMENTS {
        let at = word(array.wrapping_add(8 * index), memory)?;
        if at == 0 {
            break;
        }
        if index == ELEMENTS {
            shown.push("...".to_owned());
            break;
        }
        shown.push(path(at, memory).unwrap_or_else(|| address(at)));
    }
    Some(format!("[{}]", shown.join(", ")))
}

fn environment(array: u64, memory: &dyn Memory) -> Option<String> {
    let mut count = 0;
    while count < 10_000 && word(array.wrapping_add(8 * count), memory)? != 0 {
        count += 1;
    }
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{array:#x} /* {count} var{plural} */"))
}

fn vectors(array: u64, count: u64, memory: &dyn Memory) -> Option<String> {
    let mut shown = Vec::new();
    for index in 0..count.min(ELEMENTS) {
        let at = array.wrapping_add(16 * index);
        let (base, len) = (word(at, memory)?, word(at.wrapping_add(8), memory)?);
        let base = bytes(base, len, memory).unwrap_or_else(|| address(base));
        shown.push(format!("{{iov_base={base}, iov_len={len}}}"));
    }
    if count > ELEMENTS {
        shown.push("...".to_owned());
    }
    Some(format!("[{}]", shown.join(", ")))
}

fn pair(at: u64, memory: &dyn Memory, [first, second]: [&str; 2]) -> Option<String> {
    let (a, b) = (
        word(at, memory)?.cast_signed(),
        word(at.wrapping_add(8), memory)?.cast_signed(),
    );
    Some(format!("{{{first}={a}, {second}={b}}}"))
}

/// Signals of a set; of more than half of them, those that are missing.
fn set(mask: u64) -> String {
    let (mark, shown) = if mask.count_ones() > 32 {
        ("~", !mask)
    } else {
        ("", mask)
    };
    let names: Vec<String> = (0..64)
        .filter(|bit| shown >> bit & 1 != 0)
        .map(|bit| signal_name(bit + 1).trim_start_matches("SIG").to_owned())
        .collect();
    format!("{mark}[{}]", names.join(" "))
}

fn action(at: u64, memory: &dyn Memory) -> Option<String> {
    let mut words = [0; 4];
    for (index, to) in words.iter_mut().enumerate() {
        *to = word(at.wrapping_add(8 * index as u64), memory)?;
    }
    let [handler, flags, restorer, mask] = words;
    let handler = match handler {
        0 => "SIG_DFL".to_owned(),
        1 => "SIG_IGN".to_owned(),
        handler => format!("{handler:#x}"),
    };
    let mut text = format!(
        "{{sa_handler={handler}, sa_mask={}, sa_flags={}",
        set(mask),
        names::flags(names::SA, flags, "0")
    );
    if flags & 0x0400_0000 != 0 {
        // A string never fails.
        let _ = write!(text, ", sa_restorer={restorer:#x}");
    }
    Some(text + "}")
}

fn limit(at: u64, memory: &dyn Memory) -> Option<String> {
    let value = |value: u64| match value {
        u64::MAX => "RLIM64_INFINITY".to_owned(),
        value if value > 1024 && value.is_multiple_of(1024) => format!("{}*1024", value / 1024),
        value => value.to_string(),
    };
    let (soft, hard) = (word(at, memory)?, word(at.wrapping_add(8), memory)?);
    Some(format!("{{rlim_cur={}, rlim_max={}}}", value(soft), value(hard)))
}

fn poll_fds(array: u64, count: u64, memory: &dyn Memory) -> Option<String> {
    let mut shown = Vec::new();
    for index in 0..count.min(ELEMENTS) {
        let word = word(array.wrapping_add(8 * index), memory)?;
        let events = names::flags(names::POLL, word >> 32 & 0xffff, "0");
        shown.push(format!("{{fd={}, events={events}}}", word as i32));
    }
    if count > ELEMENTS {
        shown.push("...".to_owned());
    }
    Some(format!("[{}]", shown.join(", ")))
}

/// Type, rights and size, as strace abbreviates it.
fn stat(at: u64, memory: &dyn Memory) -> Option<String> {
    const MODE_AT: u64 = 24;
    const RDEV_AT: u64 = 40;
    const SIZE_AT: u64 = 48;
    let mode = word32(at.wrapping_add(MODE_AT), memory)?;
    let (kind, device) = match mode & libc::S_IFMT {
        libc::S_IFREG => ("S_IFREG", false),
        libc::S_IFDIR => ("S_IFDIR", false),
        libc::S_IFLNK => ("S_IFLNK", false),
        libc::S_IFIFO => ("S_IFIFO", false),
        libc::S_IFCHR => ("S_IFCHR", true),
        libc::S_IFBLK => ("S_IFBLK", true),
        libc::S_IFSOCK => ("S_IFSOCK", false),
        _ => ("0", false),
    };
    let rest = match device {
        true => {
            let device = word(at.wrapping_add(RDEV_AT), memory)?;
            format!(
                "st_rdev=makedev({:#x}, {:#x})",
                libc::major(device),
                libc::minor(device)
            )
        }
        false => format!("st_size={}", word(at.wrapping_add(SIZE_AT), memory)?.cast_signed()),
    };
    Some(format!("{{st_mode={kind}|0{:03o}, {rest}, ...}}", mode & 0o7777))
}

/// A signal that is taken: `args` as in [`faultlab_abi::lab::CallRecord`].
pub(super) fn signal(number: u64, args: &[u64; 6]) -> String {
    let (name, code) = (signal_name(number), args[0] as u32 as i32);
    let code_name = match code {
        0 => "SI_USER".to_owned(),
        0x80 => "SI_KERNEL".to_owned(),
        -6 => "SI_TKILL".to_owned(),
        1..=6 if number == libc::SIGCHLD as u64 => {
            const CHILD: [&str; 6] = ["EXITED", "KILLED", "DUMPED", "TRAPPED", "STOPPED", "CONTINUED"];
            format!("CLD_{}", CHILD[code as usize - 1])
        }
        -1 => "SI_QUEUE".to_owned(),
        code => code.to_string(),
    };
    let fault = code > 0
        && code != 0x80
        && matches!(
            number as i32,
            libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP
        );
    let rest = match (fault, code) {
        (true, _) => format!(", si_addr={}", address(args[1])),
        (false, 0x80) => String::new(),
        (false, _) => format!(", si_pid={}, si_uid={}", args[1] as i32, (args[1] >> 32) as i32),
    };
    format!("{name} {{si_signo={name}, si_code={code_name}{rest}}}")
}

/// How a process ended, from its wait status.
pub(super) fn end(status: u32) -> String {
    const CORE: u32 = 0x80;
    match status & 0x7f {
        0 => format!("exited with {}", status >> 8 & 0xff),
        signal if status & CORE != 0 => format!("killed by {} (core dumped)", signal_name(u64::from(signal))),
        signal => format!("killed by {}", signal_name(u64::from(signal))),
    }
}

fn status_text(status: u32) -> String {
    match (status & 0x7f, status >> 8 & 0xff) {
        (0, code) => format!("WIFEXITED(s) && WEXITSTATUS(s) == {code}"),
        (0x7f, signal) if status != 0xffff => {
            format!("WIFSTOPPED(s) && WSTOPSIG(s) == {}", signal_name(u64::from(signal)))
        }
        (0x7f, _) => "WIFCONTINUED(s)".to_owned(),
        (signal, _) => format!("WIFSIGNALED(s) && WTERMSIG(s) == {}", signal_name(u64::from(signal))),
    }
}
