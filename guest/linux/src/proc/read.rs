//! Reading and writing what proc shows. Source: Linux, fs/seq_file.c (`seq_read_iter`), fs/proc/inode.c.
//!
//! Differs from Linux: the text is made whole, and not again after a seek to anywhere but its beginning.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::text::Out;
use super::{Shown, Shows, What};
use crate::file::File;
use crate::read_write::{At, Buffer, verify_area};
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// `read` and `pread`: how many bytes there were.
    ///
    /// # Errors
    /// `EBADF` when not opened for reading, `EFAULT`, `EINVAL` for positions out of range, `ENOMEM`, `ESRCH` for a process that is gone.
    #[inline(never)]
    pub fn proc_read(&self, file: File<'_>, inode: InodeId, at: At, buffer: Buffer) -> Result<u64, Errno> {
        if !file.readable() {
            return Err(Errno::EBADF);
        }
        let (pos, len) = verify_area(file, at, buffer)?;
        let to = (buffer.mm, buffer.addr);
        let shows = self.shows(inode);
        let done = match shows.what() {
            What::Knob(knob) => self.read_knob(knob, pos, to, len)?,
            What::File(shown) => self.read_text(file, pos, to, len, |out| self.show(shown, shows, out))?,
            What::Word(word) => self.read_text(file, pos, to, len, |out| {
                self.show_word(word, out);
                Ok(())
            })?,
            What::Attribute(attribute) => self.read_text(file, pos, to, len, |out| {
                self.show_attribute(attribute, out);
                Ok(())
            })?,
            What::Pagemap => self.read_pagemap(shows, pos, buffer, len)?,
            What::Mem => self.copy_mem(shows, pos, buffer, len, false)?,
            What::Dir(_) | What::Link(_) | What::Stream => return Err(Errno::EINVAL),
        };
        if at == At::Position {
            file.set_f_pos(pos + done);
        }
        Ok(done)
    }

    fn read_text(
        &self,
        file: File<'_>,
        pos: u64,
        to: (faultlab_mm::vma::MmId, u64),
        len: u64,
        make: impl FnOnce(&mut Out<'_>) -> Result<(), Errno>,
    ) -> Result<u64, Errno> {
        let kept = file.snapshot().filter(|_| pos != 0);
        let text = match kept {
            Some(text) => text,
            None => {
                let new = self.new_snapshot(|writer| make(&mut Out(&mut |bytes| writer.append(bytes))))?;
                if let Some(old) = file.snapshot() {
                    self.free_snapshot(old);
                }
                file.set_snapshot(Some(new));
                new
            }
        };
        self.read_snapshot(text, pos, to, len)
    }

    fn show(&self, shown: Shown, shows: Shows, out: &mut Out<'_>) -> Result<(), Errno> {
        match shown {
            Shown::Buddyinfo => self.show_buddyinfo(out),
            Shown::Cmdline => self.show_cmdline(out),
            Shown::Cpuinfo => self.show_cpuinfo(out),
            Shown::Devices => self.show_devices(out),
            Shown::Filesystems => self.show_filesystems(out),
            Shown::Loadavg => self.show_loadavg(out),
            Shown::Meminfo => self.show_meminfo(out),
            Shown::Slabinfo => self.show_slabinfo(out),
            Shown::Stat => self.show_stat(out),
            Shown::Swaps => crate::proc_swaps::show(self.memory, out.0),
            Shown::Uptime => self.show_uptime(out),
            Shown::Version => self.show_version(out),
            Shown::Vmstat => self.show_vmstat(out),
            Shown::Zoneinfo => self.show_zoneinfo(out),
            Shown::SysvipcShm => self.show_sysvipc_shm(out),
            Shown::Process(show) => return self.show_process(show, shows, out),
        }
        Ok(())
    }

    /// `write` and `pwrite`: how many bytes were taken.
    ///
    /// # Errors
    /// `EBADF` when not opened for writing, `EIO` for what cannot be written, `EFAULT`, `EINVAL`, `EPERM`.
    #[inline(never)]
    pub fn proc_write(&self, file: File<'_>, inode: InodeId, at: At, buffer: Buffer) -> Result<u64, Errno> {
        if !file.writable() {
            return Err(Errno::EBADF);
        }
        let (pos, len) = verify_area(file, at, buffer)?;
        if len == 0 {
            return Ok(0);
        }
        let mut bytes = [0; 128];
        let wanted = len.min(bytes.len() as u64) as usize;
        self.memory
            .copy_from_user(buffer.mm, &mut bytes[..wanted], buffer.addr)?;
        let shows = self.shows(inode);
        let done = match shows.what() {
            What::Knob(knob) => self.write_knob(knob, pos, &bytes[..wanted], len)?,
            What::Attribute(attribute) => self.store_attribute(attribute, &bytes[..wanted], len)?,
            What::File(Shown::Process(show)) => self.write_process(show, shows, &bytes[..wanted], len)?,
            What::Mem => self.copy_mem(shows, pos, buffer, len, true)?,
            What::Pagemap => return Err(Errno::EINVAL),
            _ => return Err(Errno::EIO),
        };
        if at == At::Position {
            file.set_f_pos(pos + done);
        }
        Ok(done)
    }
}
