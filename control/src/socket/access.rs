//! Who may do what: by the credentials of the process that connected (unix(7), `SO_PEERCRED`), or by what a request over
//! the loopback address shows, see `session`.

use axum::http::StatusCode;

use super::error::ApiError;
use crate::config::Principals;

/// Who asks: the process at the other end of a connection, as it was when it connected, or who signed a browser in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user id.
    pub uid: u32,
    /// Its effective group id.
    pub gid: u32,
    /// What bounds its rights.
    pub grant: Grant,
}

/// What bounds the rights of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// Its account: it may do what [`Access`] gives its user and group.
    #[default]
    Account,
    /// It may read and nothing else, whoever it is.
    Read,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Nothing: the page itself, which holds no data, and signing in.
    Open,
    Read,
    /// As reading; over the loopback address, `http.metrics` decides.
    Metrics,
    Change,
}

/// The user and group of who is nobody here: the kernel gives these ids to no process.
pub(super) const NOBODY: u32 = u32::MAX;

/// Who has which right. Root and the daemon's own user have both.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who may read.
    pub read: Principals,
    /// Who may change, and read.
    pub change: Principals,
    /// The daemon's own user.
    pub own_uid: u32,
}

impl Access {
    pub(super) fn check(&self, peer: Peer, right: Right) -> Result<(), ApiError> {
        let Peer { uid, gid, grant } = peer;
        let changer = uid == 0 || uid == self.own_uid || self.change.contains(uid, gid);
        let (word, key) = match (right, grant) {
            (Right::Open, _) | (Right::Read | Right::Metrics, Grant::Read) => return Ok(()),
            (_, Grant::Account) if changer => return Ok(()),
            (Right::Read | Right::Metrics, Grant::Account) if self.read.contains(uid, gid) => return Ok(()),
            (Right::Read | Right::Metrics, Grant::Account) => ("read", "access.read"),
            (Right::Change, Grant::Account) => ("change policy", "access.change"),
            (Right::Change, Grant::Read) => {
                let message = "this may only read: sign in with `ringfence page`, as a user who may change";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "read_only", message));
            }
        };
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "user {uid} (group {gid}) may not {word}: that needs root, user {}, or an entry under `{key}` in the \
                 daemon's configuration",
                self.own_uid
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_the_credentials() {
        let who = |uid, gid| Principals { users: [uid].into(), groups: [gid].into() };
        let access = Access { read: who(10, 100), change: who(20, 200), own_uid: 30 };
        for (name, uid, gid, read, change) in [
            ("root", 0, 0, true, true),
            ("the daemon's own user", 30, 9, true, true),
            ("a reader", 10, 9, true, false),
            ("a reader by group", 9, 100, true, false),
            ("a changer", 20, 9, true, true),
            ("a changer by group", 9, 200, true, true),
            ("nobody", 9, 9, false, false),
            ("ids of the other kind", 100, 10, false, false),
        ] {
            let peer = Peer { uid, gid, grant: Grant::Account };
            assert_eq!(access.check(peer, Right::Read).is_ok(), read, "{name}");
            assert_eq!(access.check(peer, Right::Metrics).is_ok(), read, "{name}");
            assert_eq!(access.check(peer, Right::Change).is_ok(), change, "{name}");
            assert!(access.check(peer, Right::Open).is_ok(), "{name}");
            let bounded = Peer { grant: Grant::Read, ..peer };
            assert!(access.check(bounded, Right::Read).is_ok(), "{name}");
            assert!(access.check(bounded, Right::Change).is_err(), "{name}");
        }
    }
}
