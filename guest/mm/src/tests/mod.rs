//! The whole manager on the fake machine, against naive models.

mod mmap;
mod model;
mod scenarios;
mod shm;
mod swap;
