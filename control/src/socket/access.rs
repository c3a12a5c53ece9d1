//! Who may do what, by the credentials of the process that connected (unix(7), `SO_PEERCRED`).

use axum::http::StatusCode;

use super::error::ApiError;
use crate::config::Principals;

/// The process at the other end of a connection, as it was when it connected.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its effective user id.
    pub uid: u32,
    /// Its effective group id.
    pub gid: u32,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Change,
}

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
        let changer = peer.uid == 0 || peer.uid == self.own_uid || self.change.contains(peer.uid, peer.gid);
        if changer || (right == Right::Read && self.read.contains(peer.uid, peer.gid)) {
            return Ok(());
        }
        let (word, key) = match right {
            Right::Read => ("read", "access.read"),
            Right::Change => ("change policy", "access.change"),
        };
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "user {} (group {}) may not {word}: that needs root, user {}, or an entry under `{key}` in the \
                 daemon's configuration",
                peer.uid, peer.gid, self.own_uid
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
            let peer = Peer { uid, gid };
            assert_eq!(access.check(peer, Right::Read).is_ok(), read, "{name}");
            assert_eq!(access.check(peer, Right::Change).is_ok(), change, "{name}");
        }
    }
}
