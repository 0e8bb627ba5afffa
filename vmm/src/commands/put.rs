//! Writing what somebody may not read for a while: a full pipe holds up neither a signal nor a limit of time.
//!
//! Source: poll(2); pipe(7), `PIPE_BUF`.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, write};

/// What fits into a pipe that poll(2) calls ready, in bytes.
const PART_BYTES: usize = 4096;

/// Time between two looks at whether all is over, should nothing interrupt the wait.
const SLICE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Writes all of `bytes`, however often `to` cannot take them, non-blocking descriptors included; when it cannot and `is_over`, the rest is dropped.
///
/// # Errors
/// The operating system's.
pub(crate) fn put(to: BorrowedFd<'_>, mut bytes: &[u8], is_over: impl Fn() -> bool) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
        let written = match poll(&mut fds, Some(&SLICE)) {
            Ok(0) => Err(Errno::AGAIN),
            Ok(_) => write(to, &bytes[..bytes.len().min(PART_BYTES)]),
            Err(error) => Err(error),
        };
        match written {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN | Errno::INTR) if is_over() => break,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::thread;

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_holds_nothing_up() {
        for flags in [OFlags::empty(), OFlags::NONBLOCK] {
            let (_reader, writer) = io::pipe().unwrap();
            fcntl_setfl(&writer, flags).unwrap();
            let looks = Cell::new(0);
            let is_over = || {
                looks.set(looks.get() + 1);
                looks.get() == 2
            };
            put(writer.as_fd(), &vec![7; 1 << 20], is_over).unwrap();
            assert_eq!(looks.get(), 2);
        }
    }

    #[test]
    fn everything_goes_through_a_pipe_that_does_not_block() {
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let reading = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        put(writer.as_fd(), &sent, || false).unwrap();
        drop(writer);
        assert!(reading.join().unwrap().unwrap() == sent);
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let error = put(writer.as_fd(), b"x", || false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
