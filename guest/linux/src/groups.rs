//! Supplementary groups: whose files a process may use as a member, besides those of its effective group.
//!
//! A set is a list of records, in rising order, that nobody changes: threads and children that have it share it, and `setgroups` makes another.
//!
//! Source: Linux, kernel/groups.c; credentials(7), getgroups(2), setgroups(2).

use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::cred::{Cred, UNCHANGED};
use crate::{Errno, Linux};

/// Most groups of a process. Source: Linux `NGROUPS_MAX`.
pub const GROUPS_MAX: u64 = 65536;

id_type!(
    /// Number of a set's first [`GroupInfo`].
    GroupsId
);

record! {
    /// Some groups of a set, from word [`GroupInfo::FIRST`] on.
    pub struct GroupInfo[16] {
        /// Those that are greater.
        next, set_next: Option<GroupsId> = 0;
        /// Of a set's first record: threads that have it.
        users, set_users: u64 = 1;
        /// How many are in this one; not 0.
        count, set_count: u64 = 2;
    }
}

impl GroupInfo<'_> {
    const FIRST: usize = 3;
    /// Groups that a record holds.
    const ROOM: usize = Self::WORDS - Self::FIRST;

    fn get(&self, index: usize) -> u32 {
        self.0[Self::FIRST + index].get() as u32
    }

    fn set(&self, index: usize, group: u32) {
        self.0[Self::FIRST + index].set(group.into());
    }
}

impl<P: Platform> Linux<'_, P> {
    fn group_info(&self, id: GroupsId) -> GroupInfo<'_> {
        GroupInfo(object(self.memory, id.0))
    }

    fn group_infos(&self, groups: Option<GroupsId>) -> impl Iterator<Item = GroupInfo<'_>> {
        let mut next = groups;
        core::iter::from_fn(move || {
            let record = self.group_info(next?);
            next = record.next();
            Some(record)
        })
    }

    /// The groups of a set, in rising order.
    pub fn groups(&self, groups: Option<GroupsId>) -> impl Iterator<Item = u32> {
        self.group_infos(groups)
            .flat_map(|record| (0..record.count() as usize).map(move |index| record.get(index)))
    }

    /// Whether the thread that asks, with these ids, is a member of a group. Its set is not among the ids, which every walk of a path carries.
    /// Source: Linux `in_group_p`.
    #[inline(always)]
    #[must_use]
    pub fn in_group(&self, cred: Cred, group: u32) -> bool {
        cred.group.effective == group || self.group_infos.objects() != 0 && self.has_group(group)
    }

    /// Whether a group is in the set of the thread that asks.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn has_group(&self, group: u32) -> bool {
        self.groups(self.system.groups()).any(|other| other == group)
    }

    /// A set of `count` groups, which `group` tells in any order, for one thread; `None` for none.
    ///
    /// # Errors
    /// `EINVAL` for more than [`GROUPS_MAX`], and for what is no group; `ENOMEM`; what `group` says.
    pub fn make_groups(
        &self,
        count: u64,
        mut group: impl FnMut(u64) -> Result<u32, Errno>,
    ) -> Result<Option<GroupsId>, Errno> {
        if count > GROUPS_MAX {
            return Err(Errno::EINVAL);
        }
        let mut made = None;
        for index in 0..count {
            let added = group(index)
                .and_then(|group| {
                    if group == UNCHANGED {
                        Err(Errno::EINVAL)
                    } else {
                        Ok(group)
                    }
                })
                .and_then(|group| self.add_group(&mut made, group));
            if let Err(errno) = added {
                self.put_groups(made);
                return Err(errno);
            }
        }
        if let Some(first) = made {
            self.group_info(first).set_users(1);
        }
        Ok(made)
    }

    /// Puts a group into its place; those behind it move by one.
    fn add_group(&self, made: &mut Option<GroupsId>, group: u32) -> Result<(), Errno> {
        let mut carried = group;
        let mut last = None;
        let mut next = *made;
        while let Some(id) = next {
            let record = self.group_info(id);
            for index in 0..record.count() as usize {
                let other = record.get(index);
                if other > carried {
                    record.set(index, carried);
                    carried = other;
                }
            }
            (last, next) = (Some(record), record.next());
        }
        if let Some(record) = last
            && (record.count() as usize) < GroupInfo::ROOM
        {
            record.set(record.count() as usize, carried);
            record.set_count(record.count() + 1);
            return Ok(());
        }
        let id = GroupsId(self.alloc_record(&self.group_infos)?);
        self.group_info(id).set(0, carried);
        self.group_info(id).set_count(1);
        match last {
            Some(record) => record.set_next(Some(id)),
            None => *made = Some(id),
        }
        Ok(())
    }

    /// One more thread has a set.
    #[inline]
    pub fn share_groups(&self, groups: Option<GroupsId>) {
        if let Some(first) = groups.map(|id| self.group_info(id)) {
            first.set_users(first.users() + 1);
        }
    }

    /// One less has it; with the last it goes.
    #[inline]
    pub fn put_groups(&self, groups: Option<GroupsId>) {
        let Some(first) = groups.map(|id| self.group_info(id)) else {
            return;
        };
        if first.users() > 1 {
            first.set_users(first.users() - 1);
            return;
        }
        let mut next = groups;
        while let Some(id) = next {
            let record = self.group_info(id);
            next = record.next();
            for word in record.0 {
                word.set(0);
            }
            self.group_infos.free(self.memory, id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use faultlab_mm::testing::machine;

    use super::*;

    #[test]
    fn a_set_is_sorted_shared_and_gone_with_the_last() {
        let memory = machine(256, 0);
        let linux = Linux::new(&memory);
        for count in [0, 1, 12, 13, 14, 100] {
            // Every residue of a prime comes once, in some order.
            let set = linux
                .make_groups(count, |index| Ok((index * 37 % 101) as u32))
                .expect("memory");
            let mut expected: Vec<u32> = (0..count).map(|index| (index * 37 % 101) as u32).collect();
            expected.sort_unstable();
            assert_eq!(linux.groups(set).collect::<Vec<_>>(), expected);
            linux.share_groups(set);
            linux.put_groups(set);
            assert_eq!(linux.groups(set).count() as u64, count);
            linux.put_groups(set);
            assert_eq!(linux.group_infos.objects(), 0);
        }
    }

    #[test]
    fn what_is_no_group_leaves_nothing() {
        let memory = machine(256, 0);
        let linux = Linux::new(&memory);
        let refused = linux.make_groups(40, |index| Ok(if index == 30 { UNCHANGED } else { 5 }));
        assert_eq!(refused, Err(Errno::EINVAL));
        assert_eq!(linux.make_groups(GROUPS_MAX + 1, |_| Ok(1)), Err(Errno::EINVAL));
        assert_eq!(
            linux.make_groups(20, |index| if index < 15 { Ok(1) } else { Err(Errno::EFAULT) }),
            Err(Errno::EFAULT)
        );
        assert_eq!(linux.group_infos.objects(), 0);
    }
}
