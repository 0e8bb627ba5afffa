//! Memory: what lies where in RAM, what the memory manager needs of the machine, and the memory of programs.
//!
//! | module | what it is |
//! |---|---|
//! | [`ram`] | direct map, fixmap, what lies where in RAM |
//! | [`platform`] | what the memory manager needs |
//! | [`uaccess`] | the memory of programs |

pub(crate) mod platform;
pub(crate) mod ram;
pub(crate) mod uaccess;
