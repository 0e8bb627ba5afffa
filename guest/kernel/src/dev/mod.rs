//! Devices.
//!
//! | module | what it is |
//! |---|---|
//! | [`virtio`] | the transport |
//! | [`swap_disk`] | the swap disk |
//! | [`lab`] | the lab device |
//! | [`terminal`] | the terminal |
//! | [`serial`] | the serial port |
//! | [`clock`] | what time it is |
//! | [`random`] | random bytes |

pub(crate) mod clock;
pub(crate) mod lab;
pub(crate) mod random;
pub(crate) mod serial;
pub(crate) mod swap_disk;
pub(crate) mod terminal;
pub(crate) mod virtio;
