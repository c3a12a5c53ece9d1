//! Who asks over the loopback address, where connections have no credentials.
//!
//! A request shows one of three things as `Authorization: Bearer …`. The *token* of the state directory reads. A
//! *session* has the rights of the user who asked for it on the Unix socket: that user gets a *code*, good once and for
//! five minutes; the page exchanges it for the session's secret and keeps that in the tab's own storage. It is no cookie,
//! because cookies go to every port of a host. Without anything shown, `http.read` and `http.metrics` decide.
//!
//! Kept are hashes, compared in constant time; sessions end with the daemon.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use blake3::Hash;

use super::access::{Grant, NOBODY, Peer, Right};
use super::error::ApiError;
use super::listen::SocketError;
use crate::config::{Admission, Config, Http};
use crate::store::{http_token, secret};

/// How long a code can be exchanged.
pub(super) const CODE_LIFE: Duration = Duration::from_mins(5);
/// How long a session lasts.
pub(super) const SESSION_LIFE: Duration = Duration::from_hours(12);
/// Codes, and sessions, at a time; the oldest goes.
const KEPT_MAX: usize = 64;

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Via {
    /// On the Unix socket, from a process with these credentials.
    Socket(Peer),
    /// Over the loopback address, from anybody on this host.
    Loopback,
}

/// Who is signed in over the loopback address.
#[derive(Debug)]
pub struct Sessions {
    /// Who may read without showing anything; none without an address.
    http: Option<(Http, Hash)>,
    address: Option<SocketAddr>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    codes: VecDeque<Secret>,
    sessions: VecDeque<Secret>,
}

#[derive(Clone, Debug)]
struct Secret {
    hash: Hash,
    peer: Peer,
    until: Instant,
}

impl Sessions {
    /// Nobody is signed in yet. If the daemon listens on a loopback `address`, the token that reads there is made or
    /// read.
    ///
    /// # Errors
    /// [`SocketError::Token`].
    pub fn open(config: &Config, address: Option<SocketAddr>) -> Result<Self, SocketError> {
        let token = |http: &Http| Ok((http.clone(), blake3::hash(http_token(&config.state_dir)?.as_bytes())));
        let http = config.http.as_ref().map(token).transpose().map_err(SocketError::Token)?;
        Ok(Self { http, address, kept: Mutex::default() })
    }

    /// Where the page is.
    pub(super) fn address(&self) -> Option<String> {
        self.address.map(|address| format!("http://{address}/"))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks.
    pub(super) fn peer(&self, via: Via, right: Right, headers: &HeaderMap) -> Result<Peer, ApiError> {
        let anybody = Peer { uid: NOBODY, gid: NOBODY, grant: Grant::Read };
        let (Via::Loopback, Some((http, token))) = (via, &self.http) else {
            return match via {
                Via::Socket(peer) => Ok(peer),
                Via::Loopback => Err(unknown("nobody is let in here")),
            };
        };
        let admission = if right == Right::Metrics { http.metrics } else { http.read };
        match shown(headers) {
            _ if right == Right::Open => Ok(anybody),
            None if admission == Admission::Anyone => Ok(anybody),
            None => Err(unknown("sign in: `ringfence page` prints the address of the page with a code")),
            Some(shown) if shown == *token => Ok(anybody),
            Some(shown) => find(&self.kept().sessions, shown).map(|session| session.peer).ok_or_else(|| {
                unknown("this token or session is not known, or it is over; `ringfence page` signs in again")
            }),
        }
    }

    /// A code with the rights of `peer`.
    pub(super) fn code(&self, peer: Peer) -> Result<String, ApiError> {
        push(&mut self.kept().codes, peer, CODE_LIFE)
    }

    /// Exchanges the code that the request shows for a session: its secret, and whose it is.
    pub(super) fn sign_in(&self, headers: &HeaderMap) -> Result<(String, Peer), ApiError> {
        let no_code = || {
            unknown("this code is not known, was used already, or is over; `ringfence page` prints another")
        };
        let hash = shown(headers).ok_or_else(no_code)?;
        let mut kept = self.kept();
        let peer = find(&kept.codes, hash).map(|code| code.peer).ok_or_else(no_code)?;
        kept.codes.retain(|code| code.hash != hash);
        push(&mut kept.sessions, peer, SESSION_LIFE).map(|secret| (secret, peer))
    }

    /// Ends the session that the request shows, if it shows one.
    pub(super) fn sign_out(&self, headers: &HeaderMap) {
        if let Some(hash) = shown(headers) {
            self.kept().sessions.retain(|session| session.hash != hash);
        }
    }
}

/// The hash of what stands behind `Bearer`; of something that nobody has if there is more than one header or another
/// scheme, so that what cannot be understood never counts as nothing.
fn shown(headers: &HeaderMap) -> Option<Hash> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    let text = first.to_str().ok().filter(|_| values.next().is_none());
    let bearer = text
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Some(blake3::hash(bearer.map_or("", |(_, secret)| secret.trim()).as_bytes()))
}

/// Compares each in constant time.
fn find(all: &VecDeque<Secret>, hash: Hash) -> Option<&Secret> {
    let now = Instant::now();
    all.iter().rfind(|secret| secret.hash == hash && secret.until > now)
}

fn push(all: &mut VecDeque<Secret>, peer: Peer, life: Duration) -> Result<String, ApiError> {
    let text = secret().map_err(|error| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("no secret could be made: {error}"),
        )
    })?;
    let now = Instant::now();
    all.retain(|secret| secret.until > now);
    if all.len() >= KEPT_MAX {
        all.pop_front();
    }
    all.push_back(Secret { hash: blake3::hash(text.as_bytes()), peer, until: now + life });
    Ok(text)
}

fn unknown(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Peer = Peer { uid: 1000, gid: 100, grant: Grant::Account };
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn sessions(read: Admission, metrics: Admission) -> Sessions {
        let http = Http { listen: "127.0.0.1:0".parse().unwrap(), namespace: None, read, metrics };
        let http = Some((http, blake3::hash(TOKEN.as_bytes())));
        Sessions { http, ..none() }
    }

    fn none() -> Sessions {
        Sessions { http: None, address: None, kept: Mutex::default() }
    }

    fn headers(shown: &[&str]) -> HeaderMap {
        shown.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_shown_says_who_asks() {
        use Admission::{Anyone, Token};
        let bearer = format!("Bearer {TOKEN}");
        let lower = format!("bearer  {TOKEN}");
        let basic = format!("Basic {TOKEN}");
        type Case<'a> = (&'a str, Admission, Admission, Vec<&'a str>, bool, bool);
        let table: &[Case<'_>] = &[
            ("nothing", Token, Token, vec![], false, false),
            ("the token", Token, Token, vec![&bearer], true, true),
            ("the token in another spelling", Token, Token, vec![&lower], true, true),
            ("the token twice", Token, Token, vec![&bearer, &bearer], false, false),
            ("another scheme", Token, Token, vec![&basic], false, false),
            ("half of it", Token, Token, vec!["Bearer 0123456789abcdef"], false, false),
            ("an empty one", Token, Token, vec!["Bearer "], false, false),
            ("nothing, anyone", Anyone, Token, vec![], true, false),
            ("nothing, anyone measures", Token, Anyone, vec![], false, true),
            ("a wrong one, anyone", Anyone, Anyone, vec!["Bearer x"], false, false),
        ];
        for (name, read, metrics, shown, reads, measures) in table {
            let (sessions, headers) = (sessions(*read, *metrics), headers(shown));
            for (right, good) in [(Right::Read, *reads), (Right::Metrics, *measures), (Right::Open, true)] {
                let peer = sessions.peer(Via::Loopback, right, &headers);
                assert_eq!(peer.is_ok(), good, "{name}, {right:?}");
                assert!(peer.is_ok_and(|peer| peer.grant == Grant::Read) || !good, "{name}: bounded");
            }
        }
        assert!(none().peer(Via::Loopback, Right::Read, &headers(&[])).is_err());
        assert_eq!(none().peer(Via::Socket(ANN), Right::Change, &headers(&["x"])).unwrap(), ANN);
    }

    #[test]
    fn a_code_signs_in_once() {
        let sessions = sessions(Admission::Token, Admission::Token);
        let code = format!("Bearer {}", sessions.code(ANN).unwrap());
        assert!(
            sessions.peer(Via::Loopback, Right::Read, &headers(&[&code])).is_err(),
            "a code is no session"
        );
        let (secret, peer) = sessions.sign_in(&headers(&[&code])).unwrap();
        assert_eq!(peer, ANN);
        assert!(sessions.sign_in(&headers(&[&code])).is_err(), "once");
        let session = format!("Bearer {secret}");
        assert_eq!(sessions.peer(Via::Loopback, Right::Change, &headers(&[&session])).unwrap(), ANN);
        assert!(sessions.sign_in(&headers(&[&session])).is_err(), "a session is no code");
        sessions.sign_out(&headers(&[&session]));
        assert!(sessions.peer(Via::Loopback, Right::Read, &headers(&[&session])).is_err(), "signed out");
    }

    #[test]
    fn what_is_kept_is_bounded_and_ends() {
        let sessions = sessions(Admission::Token, Admission::Token);
        let codes: Vec<String> = (0..=KEPT_MAX).map(|_| sessions.code(ANN).unwrap()).collect();
        assert_eq!(sessions.kept().codes.len(), KEPT_MAX);
        let [first, .., last] = codes.as_slice() else { panic!("many") };
        assert!(sessions.sign_in(&headers(&[&format!("Bearer {first}")])).is_err(), "the oldest went");
        let now = Instant::now();
        sessions.kept().codes.iter_mut().for_each(|code| code.until = now);
        assert!(sessions.sign_in(&headers(&[&format!("Bearer {last}")])).is_err(), "it is over");
    }
}
