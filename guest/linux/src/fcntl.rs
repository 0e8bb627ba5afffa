//! What `fcntl` asks. Source: Linux, fs/fcntl.c, mm/memfd.c; fcntl(2). Rules C47, C48.

use faultlab_mm::Platform;

use crate::cred::Cred;
use crate::fdtable::TableId;
use crate::file::{Kind, o};
use crate::{Errno, Linux};

/// Commands. Source: fcntl(2).
mod command {
    pub(super) const DUPFD: u32 = 0;
    pub(super) const GETFD: u32 = 1;
    pub(super) const SETFD: u32 = 2;
    pub(super) const GETFL: u32 = 3;
    pub(super) const SETFL: u32 = 4;
    pub(super) const SETOWN: u32 = 8;
    pub(super) const GETOWN: u32 = 9;
    pub(super) const SETSIG: u32 = 10;
    pub(super) const GETSIG: u32 = 11;
    pub(super) const SETLEASE: u32 = 1024;
    pub(super) const GETLEASE: u32 = 1025;
    pub(super) const NOTIFY: u32 = 1026;
    pub(super) const CREATED_QUERY: u32 = 1028;
    pub(super) const DUPFD_CLOEXEC: u32 = 1030;
    pub(super) const SETPIPE_SZ: u32 = 1031;
    pub(super) const GETPIPE_SZ: u32 = 1032;
    pub(super) const ADD_SEALS: u32 = 1033;
    pub(super) const GET_SEALS: u32 = 1034;
}

/// The flag of `F_SETFD`.
const FD_CLOEXEC: u64 = 1;

impl<P: Platform> Linux<'_, P> {
    /// `fcntl`, on behalf of `cred`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for unknown commands and for seals of what has none; as the command says.
    pub fn fcntl(
        &self,
        cred: Cred,
        table: TableId,
        descriptor: u64,
        command: u64,
        argument: u64,
    ) -> Result<u64, Errno> {
        let file = self.get_any(table, descriptor)?;
        let of_numbers = [
            command::DUPFD,
            command::DUPFD_CLOEXEC,
            command::GETFD,
            command::SETFD,
            command::GETFL,
        ];
        if file.f_flags() & o::PATH != 0 && !of_numbers.contains(&(command as u32)) {
            return Err(Errno::EBADF);
        }
        match command as u32 {
            command::DUPFD => self.dup(table, descriptor, u64::from(argument as u32), false),
            command::DUPFD_CLOEXEC => self.dup(table, descriptor, u64::from(argument as u32), true),
            command::GETFD => Ok(u64::from(self.cloexec(table, descriptor))),
            command::SETFD => {
                self.set_cloexec(table, descriptor, argument & FD_CLOEXEC != 0);
                Ok(0)
            }
            command::GETFL => Ok(file.f_flags() & u64::from(u32::MAX)),
            command::SETFL => {
                const SETTABLE: u64 = o::APPEND | o::NONBLOCK | o::DIRECT | o::NOATIME;
                let foreign = |inode| !self.owns(cred, inode);
                if argument & !file.f_flags() & o::NOATIME != 0 && file.inode().is_some_and(foreign) {
                    return Err(Errno::EPERM);
                }
                self.set_async(
                    cred,
                    self.get_id(table, descriptor)?,
                    descriptor,
                    argument & o::ASYNC != 0,
                )?;
                file.set_f_flags(file.f_flags() & !SETTABLE | argument & SETTABLE);
                Ok(0)
            }
            command::SETOWN => {
                let id = self.get_id(table, descriptor)?;
                self.f_setown(cred, id, argument as i32).map(|()| 0)
            }
            // Of a group, the negative number.
            command::GETOWN => Ok(i64::from(self.f_getown(file)).cast_unsigned()),
            command::SETSIG => self.f_setsig(self.get_id(table, descriptor)?, argument).map(|()| 0),
            command::GETSIG => Ok(self.f_getsig(file)),
            command::SETLEASE => {
                let id = self.get_id(table, descriptor)?;
                self.f_setlease(cred, id, descriptor, argument).map(|()| 0)
            }
            command::NOTIFY => {
                let id = self.get_id(table, descriptor)?;
                self.f_notify(cred, id, descriptor, argument).map(|()| 0)
            }
            command::GETLEASE => Ok(self.f_getlease(file)),
            command::CREATED_QUERY => Ok(u64::from(file.f_flags() & o::CREATED != 0)),
            command::GETPIPE_SZ => match file.kind() {
                Kind::Pipe(inode) => Ok(self.pipe_size(inode)),
                _ => Err(Errno::EBADF),
            },
            command::SETPIPE_SZ => match file.kind() {
                Kind::Pipe(inode) => self.set_pipe_size(inode, u64::from(argument as u32), cred),
                _ => Err(Errno::EBADF),
            },
            command::ADD_SEALS => {
                if !file.writable() {
                    return Err(Errno::EPERM);
                }
                match file.kind() {
                    Kind::Object(inode) if !self.is_ramfs(inode) => {
                        Ok(self.memory.add_seals(inode, u64::from(argument as u32)).map(|()| 0)?)
                    }
                    _ => Err(Errno::EINVAL),
                }
            }
            command::GET_SEALS => match file.kind() {
                Kind::Object(inode) if !self.is_ramfs(inode) => Ok(self.memory.seals(inode)),
                _ => Err(Errno::EINVAL),
            },
            _ => Err(Errno::EINVAL),
        }
    }
}
