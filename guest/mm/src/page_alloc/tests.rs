//! The slow path's steps as lists, and allocations on a fake machine.

mod memory;
mod order;
