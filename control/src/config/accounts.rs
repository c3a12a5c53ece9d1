//! Users and groups, by name or number, from `/etc/passwd` and `/etc/group` (passwd(5), group(5)).

use std::collections::BTreeSet;
use std::fs;

/// Users and groups that are allowed something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principals {
    /// User ids, members of the groups included.
    pub users: BTreeSet<u32>,
    /// Group ids, matched with the primary group of who asks.
    pub groups: BTreeSet<u32>,
}

impl Principals {
    /// Whether a process with these ids is among them.
    #[must_use]
    pub fn contains(&self, uid: u32, gid: u32) -> bool {
        self.users.contains(&uid) || self.groups.contains(&gid)
    }
}

/// The account files, as they are now.
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads both files; one that cannot be read counts as empty, and names from it will not be found.
    pub(super) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self { passwd: text("/etc/passwd"), group: text("/etc/group") }
    }

    #[cfg(test)]
    pub(super) fn of(passwd: &str, group: &str) -> Self {
        Self { passwd: passwd.into(), group: group.into() }
    }

    pub(super) fn user(&self, name: &str) -> Option<u32> {
        name.parse().ok().or_else(|| id_of(&self.passwd, name))
    }

    pub(super) fn group(&self, name: &str) -> Option<u32> {
        name.parse().ok().or_else(|| id_of(&self.group, name))
    }

    /// The users that the group file lists in a group. (Who has it as primary group need not be listed there.)
    pub(super) fn members(&self, gid: u32) -> impl Iterator<Item = u32> {
        let line = self.group.lines().find(|line| line.split(':').nth(2) == Some(gid.to_string().as_str()));
        let names = line.and_then(|line| line.split(':').nth(3)).unwrap_or("");
        names.split(',').filter_map(|name| id_of(&self.passwd, name))
    }
}

/// Third field of the line whose first is `name`: the same in both files.
fn id_of(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}
