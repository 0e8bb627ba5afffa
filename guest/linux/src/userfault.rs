//! Descriptors of `userfaultfd`: made, read, asked, closed. What they are about is [`faultlab_mm::userfaultfd`].
//!
//! Whoever touched a page that a program is to put there sleeps on the context's first queue; whoever waits for a message, on its second.
//!
//! Source: Linux, fs/userfaultfd.c; userfaultfd(2), ioctl_userfaultfd(2). Rules H1 to H6.

use faultlab_mm::Platform;
use faultlab_mm::userfaultfd::{Filled, Message, Userfault, UserfaultId, Waiting, request};
use faultlab_mm::vma::MmId;

use crate::fdtable::TableId;
use crate::file::{File, Kind, o};
use crate::poll::{Ready, event};
use crate::wait::{Keys, Queue};
use crate::{Errno, Linux};

/// `UFFD_USER_MODE_ONLY`. Source: userfaultfd(2).
const USER_MODE_ONLY: u64 = 1;

/// What an `ioctl` of a context asks: the words of its structure, as far as they go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `UFFDIO_API`: version, features.
    Api,
    /// `UFFDIO_REGISTER`: start, length, mode.
    Register,
    /// `UFFDIO_UNREGISTER`: start, length.
    Unregister,
    /// `UFFDIO_WAKE`: start, length.
    Wake,
    /// `UFFDIO_COPY`: destination, source, length, mode.
    Copy,
    /// `UFFDIO_ZEROPAGE`: start, length, mode.
    Zeropage,
    /// `UFFDIO_CONTINUE`: start, length, mode.
    Continue,
}

/// Words of the longest structure that go in.
pub const WORDS_MAX: usize = 4;

impl Request {
    /// Of the number in an `ioctl`, which holds the structure's size. Source: linux/userfaultfd.h.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        match number {
            0xc018_aa3f => Some(Self::Api),
            0xc020_aa00 => Some(Self::Register),
            0x8010_aa01 => Some(Self::Unregister),
            0x8010_aa02 => Some(Self::Wake),
            0xc028_aa03 => Some(Self::Copy),
            0xc020_aa04 => Some(Self::Zeropage),
            0xc020_aa07 => Some(Self::Continue),
            _ => None,
        }
    }

    /// Words that go in.
    #[must_use]
    pub fn words(self) -> usize {
        match self {
            Self::Api | Self::Unregister | Self::Wake => 2,
            Self::Register | Self::Zeropage | Self::Continue => 3,
            Self::Copy => WORDS_MAX,
        }
    }
}

/// What a request came to: words to be stored in the structure, from this one on, and the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Word of the structure that the first is stored at.
    pub at: usize,
    /// What is stored.
    pub words: [u64; 3],
    /// How many of them.
    pub count: usize,
    /// What the call returns then.
    pub result: Result<(), Errno>,
}

impl Answer {
    /// Nothing is stored.
    const NOTHING: Self = Self {
        at: 0,
        words: [0; 3],
        count: 0,
        result: Ok(()),
    };

    fn word(at: usize, word: u64, result: Result<(), Errno>) -> Self {
        Self {
            at,
            words: [word, 0, 0],
            count: 1,
            result,
        }
    }

    fn filled(at: usize, filled: Filled) -> Self {
        Self::word(at, filled.field().cast_unsigned(), filled.result().map_err(Errno::from))
    }
}

/// Who touched a page that is to be put there.
fn faulted(id: UserfaultId) -> Queue {
    Queue::of(id.0, 0)
}

/// Who waits for a message.
fn reading(id: UserfaultId) -> Queue {
    Queue::of(id.0, 1)
}

impl<P: Platform> Linux<'_, P> {
    /// `userfaultfd`: a descriptor of a context for `mm`. Rule H1.
    ///
    /// # Errors
    /// `EPERM` for the unprivileged who want the kernel's accesses answered, too; `EINVAL` for unknown flags, `EMFILE`, `ENOMEM`.
    pub fn userfaultfd(&self, table: TableId, mm: MmId, flags: u64, privileged: bool) -> Result<u64, Errno> {
        let user_mode_only = flags & USER_MODE_ONLY != 0;
        if !user_mode_only && !privileged {
            return Err(Errno::EPERM);
        }
        if flags as u32 & !((USER_MODE_ONLY | o::CLOEXEC | o::NONBLOCK) as u32) != 0 {
            return Err(Errno::EINVAL);
        }
        let number = self.reserve(table)?;
        let file = self.alloc_file()?;
        match self.memory.userfaultfd(mm, user_mode_only) {
            Ok(id) => {
                self.set_file(file, Kind::Userfault(id), None, o::RDONLY | flags & o::NONBLOCK);
                self.file(file).set_userfault(Some(id));
                self.fill(table, number, file, flags & o::CLOEXEC != 0);
                Ok(number)
            }
            Err(error) => {
                self.free_empty_file(file);
                Err(error.into())
            }
        }
    }

    /// The last descriptor closed.
    pub(crate) fn release_userfault(&self, id: UserfaultId) {
        self.memory.userfaultfd_release(id, |_| {});
        self.wake(faulted(id));
        self.wake(reading(id));
    }

    /// The next message for a `read` of `len` bytes; `None` to wait on the keys of [`Linux::userfault_poll`].
    ///
    /// # Errors
    /// `EINVAL` before the handshake and for less room than a message needs, `EAGAIN`.
    pub fn userfault_read(&self, file: File<'_>, id: UserfaultId, len: u64) -> Result<Option<Message>, Errno> {
        if !self.memory.userfaultfd_is_initialized(id) || len < Message::BYTES as u64 {
            return Err(Errno::EINVAL);
        }
        match self.memory.userfaultfd_read(id) {
            None if file.f_flags() & o::NONBLOCK != 0 => Err(Errno::EAGAIN),
            message => Ok(message),
        }
    }

    /// Whether there is a message. A context that was not introduced, or that calls wait for, cannot be polled. Rule H6.
    #[must_use]
    pub fn userfault_poll(&self, file: File<'_>, id: UserfaultId) -> Ready {
        let ready = self.memory.userfaultfd_is_initialized(id) && file.f_flags() & o::NONBLOCK != 0;
        let mask = match self.memory.userfaultfd_has_message(id) {
            _ if !ready => event::ERR,
            true => event::IN,
            false => 0,
        };
        Ready::of(mask, reading(id), 0)
    }

    /// What whoever waits for a message waits on.
    #[must_use]
    pub fn userfault_keys(&self, id: UserfaultId) -> Keys {
        Keys::of(reading(id))
    }

    /// Lets thread `tid` wait for the answer to a fault: what to sleep on. `None` when it is to make its access again at once.
    ///
    /// # Errors
    /// `EFAULT` when nobody is asked, and the access fails.
    pub fn wait_userfault(&self, fault: Userfault, tid: u32, in_kernel: bool) -> Result<Option<Keys>, Errno> {
        match self.memory.wait_userfault(fault, tid, in_kernel) {
            Waiting::In(id) => {
                self.wake(reading(id));
                Ok(Some(Keys::of(faulted(id))))
            }
            Waiting::Over => Ok(None),
            Waiting::Refused => Err(Errno::EFAULT),
        }
    }

    /// An `ioctl`, with the words of its structure that go in; `mm` is the caller's. `None` for a number that is none.
    ///
    /// # Errors
    /// `EINVAL`, and as the request says; then nothing is stored.
    pub fn userfault_ioctl(
        &self,
        id: UserfaultId,
        request: Option<Request>,
        words: [u64; WORDS_MAX],
        mm: MmId,
    ) -> Result<Answer, Errno> {
        let memory = self.memory;
        if request != Some(Request::Api) && !memory.userfaultfd_is_initialized(id) {
            return Err(Errno::EINVAL);
        }
        let wake = |_| self.wake(faulted(id));
        let [a, b, c, d] = words;
        Ok(match request.ok_or(Errno::EINVAL)? {
            Request::Api => match memory.userfaultfd_api(id, a, b) {
                Ok(features) => Answer {
                    words: [a, features, request::OF_CONTEXT],
                    count: 3,
                    ..Answer::NOTHING
                },
                Err(error) => Answer {
                    count: 3,
                    result: Err(error.into()),
                    ..Answer::NOTHING
                },
            },
            Request::Register => Answer::word(3, memory.userfaultfd_register(id, a, b, c)?, Ok(())),
            Request::Unregister => {
                memory.userfaultfd_unregister(id, a, b, wake)?;
                Answer::NOTHING
            }
            Request::Wake => {
                memory.userfaultfd_wake(id, a, b, wake)?;
                Answer::NOTHING
            }
            Request::Copy => Answer::filled(4, memory.userfaultfd_copy(id, a, (mm, b), c, d, wake)?),
            Request::Zeropage => Answer::filled(3, memory.userfaultfd_zeropage(id, a, b, c, wake)?),
            Request::Continue => Answer::filled(3, memory.userfaultfd_continue(id, a, b, c, wake)?),
        })
    }
}
