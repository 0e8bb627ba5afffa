//! `--strace`: what the guest kernel tells of system calls becomes lines as strace(1) writes them with `-f`.
//!
//! | module | what is in it |
//! |---|---|
//! | `calls` | which arguments a call has |
//! | `names` | names of flags and other numbers |
//! | `show` | an argument as text |
//! | `memory` | the process's memory, through its page tables |
//! | this one | lines: calls that another process's line cuts in two, signals, ends |
//!
//! What goes into a call is read when it begins. What is not in memory then (a string in a page of the program that nobody has touched) is read when the
//! call is over, and so is what comes out of it; what is not there even then is shown as an address. Nothing is brought in for being shown.
//!
//! The guest is not trusted: strings are quoted, lengths bounded, tables that lead nowhere end the walk.

mod calls;
mod memory;
mod names;
mod show;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Write;

use faultlab_abi::lab::{CallRecord, call_event};
use syscalls::{Errno, Sysno};

pub use self::memory::{Memory, Space};

use self::calls::{Call, Returns};

/// Processes whose calls are remembered; a guest that invents more is not followed.
const PENDING_MAX: usize = 4096;
/// From this result on, as a negative number, it is an error.
const ERRNO_MAX: u64 = 4095;

/// A call that has begun.
#[derive(Debug)]
struct Pending {
    number: u64,
    args: [u64; 6],
    /// What is known of each argument.
    shown: Vec<Option<String>>,
    /// How many of them a line has shown already, if the call was cut.
    cut: Option<usize>,
}

/// The lines of a guest.
#[derive(Debug, Default)]
pub struct Strace {
    pending: HashMap<u32, Pending>,
    /// Whose call began last and is in no line yet.
    open: Option<u32>,
}

impl Strace {
    /// What one record adds: whole lines without their ends.
    pub fn record(&mut self, record: &CallRecord, memory: &dyn Memory) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(other) = self.open.filter(|&pid| pid != record.pid) {
            lines.extend(self.cut(other));
        }
        match record.event {
            call_event::ENTER => self.enter(record, memory),
            call_event::LEAVE => {
                let result = result(record);
                lines.extend(self.leave(record, memory, &result));
            }
            call_event::SIGNAL => {
                const RESTARTED: &str = "? ERESTARTSYS (To be restarted if SA_RESTART is set)";
                lines.extend(self.leave(record, memory, RESTARTED));
                lines.push(format!(
                    "{} --- {} ---",
                    record.pid,
                    show::signal(record.number, &record.args)
                ));
            }
            call_event::END => {
                lines.extend(self.leave(record, memory, "?"));
                lines.push(format!("{} +++ {} +++", record.pid, show::end(record.result as u32)));
            }
            _ => {}
        }
        lines
    }

    fn enter(&mut self, record: &CallRecord, memory: &dyn Memory) {
        let again = |pending: &Pending| pending.number == record.number && pending.args == record.args;
        if self.pending.get(&record.pid).is_some_and(again) {
            // It waited, and is made again.
            return;
        }
        if self.pending.len() >= PENDING_MAX && !self.pending.contains_key(&record.pid) {
            return;
        }
        let call = Call::of(record.number);
        let shown = call.args.iter().enumerate();
        let shown = shown
            .map(|(index, kind)| show::entering(*kind, index, &record.args, memory))
            .collect();
        let pending = Pending {
            number: record.number,
            args: record.args,
            shown,
            cut: None,
        };
        self.pending.insert(record.pid, pending);
        self.open = Some(record.pid);
    }

    /// A line of another process comes in between.
    fn cut(&mut self, pid: u32) -> Option<String> {
        self.open = None;
        let pending = self.pending.get_mut(&pid)?;
        let known: Vec<&str> = pending.shown.iter().map_while(Option::as_deref).collect();
        pending.cut = Some(known.len());
        let comma = if known.is_empty() || known.len() == pending.shown.len() {
            ""
        } else {
            ", "
        };
        Some(format!(
            "{pid} {}({}{comma} <unfinished ...>",
            name(pending.number),
            known.join(", ")
        ))
    }

    /// The call that a process was in, if any, is over.
    fn leave(&mut self, record: &CallRecord, memory: &dyn Memory, result: &str) -> Option<String> {
        let pid = record.pid;
        if self.open == Some(pid) {
            self.open = None;
        }
        let pending = self.pending.remove(&pid)?;
        let (number, args) = (pending.number, pending.args);
        let result_value = (record.event == call_event::LEAVE).then_some(record.result);
        let call = Call::of(number);
        let known = pending.shown.into_iter().enumerate();
        let shown: Vec<String> = known
            .map(|(index, known)| {
                known.unwrap_or_else(|| show::leaving(call.args[index], index, &args, result_value, memory))
            })
            .collect();
        let mut line = match pending.cut {
            None => format!("{pid} {}({})", name(number), shown.join(", ")),
            Some(cut) => format!("{pid} <... {} resumed>{})", name(number), shown[cut..].join(", ")),
        };
        let column = 40usize.saturating_sub(line.len());
        // A string never fails.
        let _ = write!(line, "{:column$} = {result}", "");
        Some(line)
    }
}

/// A call's name.
fn name(number: u64) -> String {
    match usize::try_from(number).ok().and_then(Sysno::new) {
        Some(call) => call.name().to_owned(),
        None => format!("syscall_{number:#x}"),
    }
}

/// An error, in the words of the C library.
fn error(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match Errno::new(number).name() {
        Some(name) => format!("-1 {name} ({text})"),
        None => format!("-1 (errno {number})"),
    }
}

/// What a call returned.
fn result(record: &CallRecord) -> String {
    let value = record.result;
    let negative = value.wrapping_neg();
    if (1..=ERRNO_MAX).contains(&negative) {
        return error(negative as i32);
    }
    // The call is the one that is over; its number comes with the record.
    match Call::of(record.number).returns {
        Returns::Number => value.cast_signed().to_string(),
        Returns::Address => format!("{value:#x}"),
        Returns::Octal => format!("{value:#03o}").replacen("0o", "0", 1),
        Returns::Nothing => "?".to_owned(),
    }
}
