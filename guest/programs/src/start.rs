//! Where a program begins: the process entry, its arguments and environment, and what a panic does.
//!
//! Source: System V ABI, AMD64 supplement, 3.4.1 "Initial Stack and Register State".

use core::ffi::{CStr, c_char};

/// Exit status for a wrong command line.
pub const USAGE: i32 = 2;
/// Exit status after a panic, Rust's own.
pub const PANICKED: i32 = 101;

/// Arguments and environment as the kernel laid them out above the initial stack pointer.
///
/// # Invariants
/// `base` points at the argument count, followed by that many pointers to NUL-terminated strings, a null pointer, the
/// environment's pointers and a null pointer, all valid for the life of the process.
#[derive(Clone, Copy)]
pub struct Args {
    base: *const usize,
    count: usize,
}

impl Args {
    /// The arguments that begin at the initial stack pointer.
    ///
    /// # Safety
    /// `base` is as the invariant of [`Args`] says.
    #[must_use]
    pub unsafe fn from_stack(base: *const usize) -> Args {
        // SAFETY: the word at `base` is the argument count.
        let count = unsafe { *base };
        Args { base, count }
    }

    /// How many arguments there are, the program's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is not even a program's name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// An argument; 0 is the program's name.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'static [u8]> {
        (index < self.count).then(|| self.string(1 + index)).flatten()
    }

    /// The arguments after the program's name.
    pub fn iter(&self) -> impl Iterator<Item = &'static [u8]> + '_ {
        (1..self.count).filter_map(|index| self.get(index))
    }

    /// The environment, `NAME=value` each.
    pub fn environment(&self) -> impl Iterator<Item = &'static [u8]> + '_ {
        // After the count, the arguments and their null pointer.
        (self.count + 2..).map_while(|word| self.string(word))
    }

    /// The string that word number `word` points to; `None` for a null pointer.
    fn string(&self, word: usize) -> Option<&'static [u8]> {
        // SAFETY: callers stay within the two lists and their null pointers, which the invariant covers.
        let pointer = unsafe { *self.base.add(word) } as *const c_char;
        // SAFETY: a pointer of these lists that is not null points to a NUL-terminated string (invariant).
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_bytes())
    }
}

/// Makes `fn main(args: Args) -> i32` the program: defines `_start`, which calls it and exits with what it returns.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// The process entry.
        ///
        /// # Safety
        /// Called by the kernel only, with the stack as the ABI says.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn _start() -> ! {
            extern "C" fn enter(stack: *const usize) -> ! {
                // SAFETY: `_start` hands over the initial stack pointer, untouched.
                let args = unsafe { $crate::start::Args::from_stack(stack) };
                $crate::sys::exit($main(args))
            }
            // The frame pointer is zero at the outermost frame; a call needs a 16-byte aligned stack.
            ::core::arch::naked_asm!(
                "xor ebp, ebp",
                "mov rdi, rsp",
                "and rsp, -16",
                "call {enter}",
                "ud2",
                enter = sym enter,
            )
        }
    };
}

#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::eprintln!("{info}");
    crate::sys::exit(PANICKED)
}
