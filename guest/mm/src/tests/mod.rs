//! The whole manager on the fake machine, against naive models.

mod access;
mod fault_around;
mod fuzzed;
mod getpage;
mod mapped_files;
mod mappings;
mod merge;
mod mmap;
mod model;
mod overcommit;
mod proc;
mod races;
mod scenarios;
mod shm;
mod shm_limits;
mod swap;
mod xattr;
