//! `FUTEX_WAKE_OP`: what is done to the second word, and what is asked about its old value.
//!
//! Source: Linux, kernel/futex/waitwake.c (`futex_atomic_op_inuser`); futex(2).

use crate::Errno;

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp {
    op: u32,
    operand: i32,
    cmp: u32,
    compared: i32,
}

impl WakeOp {
    /// As a program tells it.
    #[must_use]
    pub fn decode(word: u32) -> Self {
        const SHIFT: u32 = 8;
        // Twelve bits with a sign.
        let signed = |bits: u32| (bits << 20).cast_signed() >> 20;
        let (op, operand) = (word >> 28, signed(word >> 12));
        Self {
            op: op & !SHIFT,
            // As on Linux, shifts that there are not are cut down to those that there are.
            operand: if op & SHIFT != 0 {
                (1u32 << (operand & 31)).cast_signed()
            } else {
                operand
            },
            cmp: word >> 24 & 15,
            compared: signed(word),
        }
    }

    /// What an old value becomes.
    ///
    /// # Errors
    /// `ENOSYS` for an operation that there is not.
    pub fn apply(self, old: u32) -> Result<u32, Errno> {
        let operand = self.operand.cast_unsigned();
        Ok(match self.op {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return Err(Errno::ENOSYS),
        })
    }

    /// Whether those that wait for the second word are woken.
    ///
    /// # Errors
    /// `ENOSYS` for a comparison that there is not.
    pub fn holds(self, old: u32) -> Result<bool, Errno> {
        let (old, to) = (old.cast_signed(), self.compared);
        Ok(match self.cmp {
            0 => old == to,
            1 => old != to,
            2 => old < to,
            3 => old <= to,
            4 => old > to,
            5 => old >= to,
            _ => return Err(Errno::ENOSYS),
        })
    }
}
