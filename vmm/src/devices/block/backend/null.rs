//! A disk that loses what is written, except its header: what then remains of the cost of swapping is all but the disk.
//! A guest that relies on its pages finds zeroes.

use std::io;

use faultlab_abi::layout::PAGE_SIZE;
use vm_memory::{Bytes, GuestAddress};

use super::Backend;
use crate::devices::block::chain::Segment;
use crate::memory::GuestRam;
use crate::swap_file::{SwapFile, header};

/// The disk.
pub(super) struct NullBackend {
    header: Box<[u8; PAGE_SIZE as usize]>,
}

impl NullBackend {
    /// As large as `file`, which is not used.
    pub(super) fn new(file: &SwapFile) -> NullBackend {
        NullBackend {
            header: Box::new(header(file.bytes())),
        }
    }
}

impl Backend for NullBackend {
    fn read(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
        const ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        let mut at = offset;
        for segment in segments {
            let end = at + u64::from(segment.len);
            let mut address = segment.address;
            while at < end {
                let rest = (end - at).min(PAGE_SIZE - at % PAGE_SIZE) as usize;
                let from = if at < PAGE_SIZE { &*self.header } else { &ZEROES };
                let bytes = &from[(at % PAGE_SIZE) as usize..][..rest];
                ram.memory()
                    .write_slice(bytes, GuestAddress(address))
                    .map_err(io::Error::other)?;
                at += rest as u64;
                address += rest as u64;
            }
        }
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[Segment], _: &GuestRam) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn zero(&mut self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}
