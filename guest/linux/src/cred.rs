//! Who a process is: real, effective and saved ids of user and group.
//!
//! There are no capabilities apart from the effective user: 0 has all of them, others have none. Linux's own rules for a program that
//! never calls `capset` say the same.
//!
//! Source: Linux, kernel/sys.c (`__sys_setuid`, `__sys_setresuid`); credentials(7), capabilities(7).

/// "As it is", where an id is wanted; no id itself.
pub const UNCHANGED: u32 = u32::MAX;

/// Three ids of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// Who it acts as.
    pub effective: u32,
    /// Who it can act as again.
    pub saved: u32,
}

impl Ids {
    const ROOT: Self = Self {
        real: 0,
        effective: 0,
        saved: 0,
    };

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// `setuid` and `setgid`: a privileged process sets all three, others their effective one to one of the other two.
    fn set(self, id: u32, privileged: bool) -> Result<Self, Refused> {
        if id == UNCHANGED {
            return Err(Refused::Invalid);
        }
        if privileged {
            return Ok(Self {
                real: id,
                effective: id,
                saved: id,
            });
        }
        if id != self.real && id != self.saved {
            return Err(Refused::NotPermitted);
        }
        Ok(Self { effective: id, ..self })
    }

    /// `setresuid` and `setresgid`: others than the privileged choose among those that they have.
    fn set_all(self, [real, effective, saved]: [u32; 3], privileged: bool) -> Result<Self, Refused> {
        let allowed = |id: u32| privileged || id == UNCHANGED || self.has(id);
        if ![real, effective, saved].into_iter().all(allowed) {
            return Err(Refused::NotPermitted);
        }
        let or = |id: u32, old: u32| if id == UNCHANGED { old } else { id };
        Ok(Self {
            real: or(real, self.real),
            effective: or(effective, self.effective),
            saved: or(saved, self.saved),
        })
    }
}

/// Why ids stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `EINVAL`: no id.
    Invalid,
    /// `EPERM`.
    NotPermitted,
}

/// The ids of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cred {
    /// User.
    pub user: Ids,
    /// Group.
    pub group: Ids,
}

impl Cred {
    /// The first program's.
    pub const ROOT: Self = Self {
        user: Ids::ROOT,
        group: Ids::ROOT,
    };

    /// Whether it may do everything.
    #[must_use]
    pub fn privileged(self) -> bool {
        self.user.effective == 0
    }

    /// `setuid(2)`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn set_user(self, id: u32) -> Result<Self, Refused> {
        let user = self.user.set(id, self.privileged())?;
        Ok(Self { user, ..self })
    }

    /// `setgid(2)`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn set_group(self, id: u32) -> Result<Self, Refused> {
        let group = self.group.set(id, self.privileged())?;
        Ok(Self { group, ..self })
    }

    /// `setresuid(2)`: real, effective, saved.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`].
    pub fn set_users(self, ids: [u32; 3]) -> Result<Self, Refused> {
        let user = self.user.set_all(ids, self.privileged())?;
        Ok(Self { user, ..self })
    }

    /// `setresgid(2)`: real, effective, saved.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`].
    pub fn set_groups(self, ids: [u32; 3]) -> Result<Self, Refused> {
        let group = self.group.set_all(ids, self.privileged())?;
        Ok(Self { group, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_becomes_somebody_for_good() {
        let cred = Cred::ROOT.set_user(5).expect("root may");
        assert_eq!((cred.user.real, cred.user.effective, cred.user.saved), (5, 5, 5));
        assert_eq!(cred.set_user(0), Err(Refused::NotPermitted));
        assert_eq!(cred.set_users([UNCHANGED, 0, UNCHANGED]), Err(Refused::NotPermitted));
        assert_eq!(cred.set_group(5), Err(Refused::NotPermitted));
        assert_eq!(cred.set_user(5), Ok(cred));
    }

    #[test]
    fn an_effective_id_can_be_taken_back() {
        let cred = Cred::ROOT.set_users([UNCHANGED, 5, UNCHANGED]).expect("root may");
        assert!(!cred.privileged());
        assert_eq!(
            cred.set_groups([5, 5, 5]),
            Err(Refused::NotPermitted),
            "the user decides about the group"
        );
        assert_eq!(cred.set_user(0).map(Cred::privileged), Ok(true));
        assert_eq!(cred.set_users([0, 5, 5]).map(|cred| cred.user.saved), Ok(5));
    }

    #[test]
    fn no_id() {
        assert_eq!(Cred::ROOT.set_user(UNCHANGED), Err(Refused::Invalid));
        assert_eq!(Cred::ROOT.set_groups([UNCHANGED; 3]), Ok(Cred::ROOT));
    }
}
