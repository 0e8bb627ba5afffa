//! Extended attributes: names with values that an object has besides its content.
//!
//! Those of one object are the content of another, nameless one, which the table [`Xattrs`] leads to: each a head (bytes of the name and of
//! the value), the name, the value; in the order that Linux lists them in, which is that of their names, backwards. A change writes a new
//! object and then takes it for the old one, so that what fails changes nothing.
//!
//! # Invariants
//! An object has [`inode_flag::XATTRS`] if and only if the table has an entry for it. Of a file system with a limit for inodes,
//! [`SuperBlock::xattr_bytes`](super::SuperBlock::xattr_bytes) is the sum of [`space`] over the attributes of its objects.
//!
//! Source: Linux, fs/xattr.c (`simple_xattr_set`, `simple_xattr_list`), mm/shmem.c (`shmem_xattr_handler_set`). Rule C38. Differs from Linux:
//! they are shared memory, which can go to swap and counts as such.

use core::cmp::Ordering;

use super::space::BOGO_INODE_SIZE;
use super::{InodeId, SuperId, inode_flag};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::ObjId;
use crate::sync::Word;
use crate::xarray::{Entry, XArray};

/// Bytes of a name at most. Source: Linux `XATTR_NAME_MAX`.
pub const XATTR_NAME_MAX: usize = 255;

/// Bytes before a name: how long it is, and how long its value.
const HEAD_BYTES: usize = 8;
/// Bytes that are copied at once.
const PIECE_BYTES: usize = 256;

/// What an attribute takes from the space of inodes, in bytes. Source: Linux `simple_xattr_space`.
const fn space(name: usize, value: u64) -> u64 {
    40 + name as u64 + value
}

/// From an object to the one that holds its attributes.
#[derive(Debug)]
pub(crate) struct Xattrs {
    head: Word,
    flags: Word,
}

impl Xattrs {
    pub(crate) const fn new() -> Self {
        Self {
            head: Word::new(0),
            flags: Word::new(0),
        }
    }

    pub(crate) fn table(&self) -> XArray<'_> {
        XArray::new(&self.head, &self.flags)
    }
}

/// An attribute, where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr {
    holder: InodeId,
    /// First byte of its head.
    start: u64,
    name_len: usize,
    /// Bytes of its value.
    pub size: u64,
}

impl Xattr {
    fn value(self) -> u64 {
        self.start + (HEAD_BYTES + self.name_len) as u64
    }

    fn end(self) -> u64 {
        self.value() + self.size
    }
}

/// What an attribute is to be set to, and under which condition.
#[derive(Debug)]
pub struct NewXattr<'a, F> {
    /// Its name, of 1 to [`XATTR_NAME_MAX`] bytes.
    pub name: &'a [u8],
    /// Bytes of its value.
    pub size: u64,
    /// Writes the bytes of the value from an offset on.
    pub fill: F,
    /// Refused if it is there.
    pub create: bool,
    /// Refused unless it is there.
    pub replace: bool,
}

impl<P: Platform> Memory<P> {
    fn xattr_holder(&self, id: InodeId) -> Option<InodeId> {
        if self.inode(id).i_flags() & inode_flag::XATTRS == 0 {
            return None;
        }
        let entry = self.xattrs.table().load(self, u64::from(id.0.get()));
        entry
            .as_value()
            .and_then(|value| ObjId::from_u32(value as u32))
            .map(InodeId)
    }

    /// The attribute that begins at `start`, and its name.
    fn xattr_at(&self, holder: InodeId, start: u64, name: &mut [u8; XATTR_NAME_MAX]) -> Result<Option<Xattr>, Error> {
        let mut head = [0; HEAD_BYTES];
        if self.kernel_read(holder, start, &mut head)? < HEAD_BYTES {
            return Ok(None);
        }
        let word = u64::from_le_bytes(head);
        let name_len = ((word & 0xffff) as usize).min(XATTR_NAME_MAX);
        self.kernel_read(holder, start + HEAD_BYTES as u64, &mut name[..name_len])?;
        Ok(Some(Xattr {
            holder,
            start,
            name_len,
            size: word >> 16,
        }))
    }

    /// Calls `each` for every attribute of an object with its name, in the order of listings, until it says `false`.
    ///
    /// # Errors
    /// [`Error::Enomem`], [`Error::Eio`] when they cannot be brought back from swap.
    pub fn for_each_xattr(&self, id: InodeId, mut each: impl FnMut(&[u8], Xattr) -> bool) -> Result<(), Error> {
        let Some(holder) = self.xattr_holder(id) else {
            return Ok(());
        };
        let mut name = [0; XATTR_NAME_MAX];
        let mut at = 0;
        while let Some(xattr) = self.xattr_at(holder, at, &mut name)? {
            if !each(&name[..xattr.name_len], xattr) {
                break;
            }
            at = xattr.end();
        }
        Ok(())
    }

    /// The attribute of this name.
    ///
    /// # Errors
    /// As [`Memory::for_each_xattr`].
    pub fn find_xattr(&self, id: InodeId, wanted: &[u8]) -> Result<Option<Xattr>, Error> {
        let mut found = None;
        self.for_each_xattr(id, |name, xattr| {
            if name == wanted {
                found = Some(xattr);
            }
            name > wanted
        })?;
        Ok(found)
    }

    /// Reads the value of an attribute that was found just now, from `at` on.
    ///
    /// # Errors
    /// As [`Memory::for_each_xattr`].
    pub fn read_xattr(&self, xattr: Xattr, at: u64, bytes: &mut [u8]) -> Result<usize, Error> {
        let len = bytes.len().min(xattr.size.saturating_sub(at) as usize);
        self.kernel_read(xattr.holder, xattr.value() + at, &mut bytes[..len])
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Enospc`] without space of inodes, [`Error::Eexist`] and [`Error::Enodata`] as its conditions say, [`Error::Enomem`], [`Error::Eio`],
    /// those of `fill`. Nothing is changed then.
    pub fn set_xattr<F>(&self, id: InodeId, new: NewXattr<'_, F>) -> Result<(), Error>
    where
        F: FnMut(u64, &mut [u8]) -> Result<(), Error>,
    {
        let sb = self.limited_super(id);
        let bytes = space(new.name.len(), new.size);
        if let Some(sb) = sb.map(|sb| self.sb(sb)) {
            if self.free_ispace(sb) < BOGO_INODE_SIZE + bytes {
                return Err(Error::Enospc);
            }
            sb.set_xattr_bytes(sb.xattr_bytes() + bytes);
        }
        let set = self.find_xattr(id, new.name).and_then(|old| match old {
            Some(_) if new.create => Err(Error::Eexist),
            None if new.replace => Err(Error::Enodata),
            _ => {
                let name = new.name;
                self.replace_xattrs(id, name, Some((new.size, new.fill)))?;
                Ok(old)
            }
        });
        let gone = match set {
            Ok(old) => old.map_or(0, |old| space(new.name.len(), old.size)),
            Err(_) => bytes,
        };
        self.give_back_ispace(sb, gone);
        set.map(|_| ())
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// [`Error::Enodata`] when it is not there, [`Error::Enomem`], [`Error::Eio`].
    pub fn remove_xattr(&self, id: InodeId, name: &[u8]) -> Result<(), Error> {
        let old = self.find_xattr(id, name)?.ok_or(Error::Enodata)?;
        self.replace_xattrs(id, name, None::<(u64, fn(u64, &mut [u8]) -> Result<(), Error>)>)?;
        self.give_back_ispace(self.limited_super(id), space(name.len(), old.size));
        Ok(())
    }

    /// Writes all attributes anew, with this one set or without it.
    fn replace_xattrs<F>(&self, id: InodeId, name: &[u8], value: Option<(u64, F)>) -> Result<(), Error>
    where
        F: FnMut(u64, &mut [u8]) -> Result<(), Error>,
    {
        let old = self.xattr_holder(id);
        let new = self.shmem_file_setup(0, true)?;
        let index = u64::from(id.0.get());
        let entry = Entry::value(u64::from(new.0.get()));
        let entered = self.copy_xattrs(old, new, name, value).and_then(|()| {
            if self.i_size(new) == 0 {
                return Ok(());
            }
            let stored = self.xattrs.table().store(self, index, entry);
            stored.map(|_| ()).map_err(|_| Error::Enomem)
        });
        if let Err(error) = entered {
            self.iput(new);
            return Err(error);
        }
        let inode = self.inode(id);
        if self.i_size(new) == 0 {
            self.xattrs.table().erase(self, index);
            inode.set_i_flags(inode.i_flags() & !inode_flag::XATTRS);
            self.iput(new);
        } else {
            inode.set_i_flags(inode.i_flags() | inode_flag::XATTRS);
        }
        if let Some(old) = old {
            self.iput(old);
        }
        Ok(())
    }

    fn copy_xattrs<F>(
        &self,
        old: Option<InodeId>,
        new: InodeId,
        name: &[u8],
        value: Option<(u64, F)>,
    ) -> Result<(), Error>
    where
        F: FnMut(u64, &mut [u8]) -> Result<(), Error>,
    {
        let mut value = value;
        let mut at = 0;
        let mut buffer = [0; XATTR_NAME_MAX];
        while let Some(old) = old
            && let Some(xattr) = self.xattr_at(old, at, &mut buffer)?
        {
            let order = buffer[..xattr.name_len].cmp(name);
            if order != Ordering::Greater
                && let Some(value) = value.take()
            {
                self.append_xattr(new, name, value)?;
            }
            if order != Ordering::Equal {
                self.count_space(new, xattr.name_len, xattr.size);
                let all = |offset: u64, piece: &mut [u8]| self.kernel_read(old, at + offset, piece).map(|_| ());
                self.append_pieces(new, xattr.end() - at, all)?;
            }
            at = xattr.end();
        }
        match value {
            Some(value) => self.append_xattr(new, name, value),
            None => Ok(()),
        }
    }

    fn append_xattr<F>(&self, to: InodeId, name: &[u8], (size, fill): (u64, F)) -> Result<(), Error>
    where
        F: FnMut(u64, &mut [u8]) -> Result<(), Error>,
    {
        self.count_space(to, name.len(), size);
        let head = size << 16 | name.len() as u64;
        self.kernel_write(to, self.i_size(to), &head.to_le_bytes())?;
        self.kernel_write(to, self.i_size(to), name)?;
        self.append_pieces(to, size, fill)
    }

    /// What all take together stands with them.
    fn count_space(&self, holder: InodeId, name: usize, value: u64) {
        let holder = self.inode(holder);
        holder.set_i_private(holder.i_private() + space(name, value));
    }

    fn append_pieces<F>(&self, to: InodeId, len: u64, mut from: F) -> Result<(), Error>
    where
        F: FnMut(u64, &mut [u8]) -> Result<(), Error>,
    {
        let mut piece = [0; PIECE_BYTES];
        let mut done = 0;
        while done < len {
            let part = &mut piece[..PIECE_BYTES.min((len - done) as usize)];
            from(done, part)?;
            self.kernel_write(to, self.i_size(to), part)?;
            done += part.len() as u64;
        }
        Ok(())
    }

    /// An object goes: its attributes, too.
    #[cold]
    #[inline(never)]
    pub(super) fn drop_xattrs(&self, id: InodeId) {
        let Some(holder) = self.xattr_holder(id) else { return };
        let bytes = self.inode(holder).i_private();
        self.give_back_ispace(self.limited_super(id), bytes);
        self.xattrs.table().erase(self, u64::from(id.0.get()));
        self.iput(holder);
    }

    /// The file system of an object, if that limits inodes.
    fn limited_super(&self, id: InodeId) -> Option<SuperId> {
        self.inode(id).i_sb().filter(|&sb| self.sb(sb).max_inodes() != 0)
    }

    fn give_back_ispace(&self, sb: Option<SuperId>, bytes: u64) {
        if let Some(sb) = sb.map(|sb| self.sb(sb)) {
            sb.set_xattr_bytes(sb.xattr_bytes() - bytes);
        }
    }
}
