//! What comes in: the guest asks, and is told when it asked too early.
//!
//! Nothing is read that the guest did not ask for, and nothing waits on the vCPU's thread: whether there is something is asked first. If not, a thread
//! waits for it, and then ends the guest's idle wait; with a terminal it interrupts, because what was typed may be a signal. The thread is started by the
//! first request that comes too early.
//!
//! In the background of its terminal, this process reads nothing that no program of the guest asked for: it would be stopped.
//!
//! Source: poll(2); ioctl_tty(2); credentials(7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use faultlab_abi::lab::NOTHING_YET;
use faultlab_abi::layout::PAGE_SIZE;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Signal, getpgrp, kill_current_process_group};
use rustix::termios::tcgetpgrp;
use vm_memory::{Bytes, GuestAddress};

use super::records::{in_one_page, store};
use super::timer::Bell;
use super::{Handled, Refusal};
use crate::devices::Session;

/// Where input comes from.
#[derive(Default)]
pub(super) struct Input {
    /// `None`: there is none.
    source: Option<Arc<OwnedFd>>,
    is_terminal: bool,
    bell: Bell,
    watcher: Option<Watcher>,
}

impl Input {
    /// From a descriptor, if there is one.
    pub(super) fn new(source: Option<Arc<OwnedFd>>, is_terminal: bool, bell: Bell) -> Input {
        Input {
            source,
            is_terminal,
            bell,
            watcher: None,
        }
    }

    /// Whether it is a terminal, which can be written to, too.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The command: address, bytes, where the answer goes, whether a program wants it.
    pub(super) fn take(
        &mut self,
        [address, bytes, answer, is_wanted, ..]: [u64; 6],
        session: &mut Session<'_>,
    ) -> Handled {
        if bytes > PAGE_SIZE || !in_one_page(address, bytes) {
            return Err(Refusal::Invalid);
        }
        if !session.ram.contains(address, bytes) {
            return Err(Refusal::Fault);
        }
        if self.is_terminal && is_wanted == 1 {
            session.observer.terminal_wanted();
        }
        let count = match self.source.clone() {
            // What is typed is for others. Who only looks for signals is not stopped for it; who reads is, as any program.
            Some(source) if self.is_terminal && !is_foreground(&source) && !stop_in_background(is_wanted == 1) => {
                NOTHING_YET
            }
            None => u64::from(bytes == 0),
            Some(source) if !is_ready(&source) => {
                self.watch(&source).map_err(|_| Refusal::Io)?;
                NOTHING_YET
            }
            Some(_) if bytes == 0 => 1,
            Some(source) => self.read(&source, address, bytes, session)?,
        };
        store(session.ram, answer, count)?;
        Ok(None)
    }

    fn read(&mut self, source: &Arc<OwnedFd>, address: u64, bytes: u64, session: &Session<'_>) -> Result<u64, Refusal> {
        let mut buffer = vec![0; bytes as usize];
        match rustix::io::read(source, &mut buffer) {
            Ok(count) => {
                let written = session
                    .ram
                    .memory()
                    .write_slice(&buffer[..count], GuestAddress(address));
                written.map_err(|_| Refusal::Fault)?;
                Ok(count as u64)
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {
                self.watch(source).map_err(|_| Refusal::Io)?;
                Ok(NOTHING_YET)
            }
            // The terminal is gone.
            Err(rustix::io::Errno::IO) if self.is_terminal => Ok(0),
            Err(_) => Err(Refusal::Io),
        }
    }

    /// The command: where the size of the window goes; 0 without a terminal.
    pub(super) fn window_size(&self, answer: u64, session: &Session<'_>) -> Handled {
        let source = self.source.as_ref().filter(|_| self.is_terminal);
        let size = source.and_then(|source| rustix::termios::tcgetwinsize(source).ok());
        let packed = size.map_or(0, |size| {
            let words = [size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel];
            words.iter().rev().fold(0, |all, word| all << 16 | u64::from(*word))
        });
        store(session.ram, answer, packed)?;
        Ok(None)
    }

    fn watch(&mut self, source: &Arc<OwnedFd>) -> io::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => none.insert(Watcher::start(Arc::clone(source), self.is_terminal, self.bell.clone())?),
        };
        watcher.watch();
        Ok(())
    }
}

/// Whether this process may read the terminal and change its modes. One that is not its controlling terminal it may.
fn is_foreground(terminal: &OwnedFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}

/// Stops this process and all of its job, if it reads in the background, until the user goes on with it; whether it does.
fn stop_in_background(reads: bool) -> bool {
    // Fails only without the right to.
    reads && kill_current_process_group(Signal::TTIN).is_ok()
}

/// Whether a read would not wait.
fn is_ready(source: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(source, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&now)), Ok(1..))
}

/// A thread that rings when there is input. It ends when this is dropped.
struct Watcher {
    requests: Option<SyncSender<()>>,
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(source: Arc<OwnedFd>, is_terminal: bool, bell: Bell) -> io::Result<Watcher> {
        let (requests, asked) = sync_channel(1);
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let theirs = Arc::clone(&end);
        let builder = thread::Builder::new().name("input".into()).stack_size(64 << 10);
        let thread = builder.spawn(move || watch(&asked, &source, &theirs, || bell.ring(is_terminal)))?;
        Ok(Watcher {
            requests: Some(requests),
            end,
            thread: Some(thread),
        })
    }

    /// Rings once when there is something.
    fn watch(&self) {
        if let Some(requests) = &self.requests {
            // One that is waiting already is as good.
            let _ = requests.try_send(());
        }
    }
}

/// The thread.
fn watch(asked: &Receiver<()>, source: &OwnedFd, end: &OwnedFd, ring: impl Fn()) {
    while asked.recv().is_ok() {
        let mut fds = [PollFd::new(source, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        let polled = poll(&mut fds, None);
        if polled.is_err() && polled != Err(rustix::io::Errno::INTR) || !fds[1].revents().is_empty() {
            break;
        }
        ring();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.requests.take());
        // An event descriptor takes this.
        let _ = rustix::io::write(self.end.as_fd(), &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, the run's result is still good.
            let _ = thread.join();
        }
    }
}
