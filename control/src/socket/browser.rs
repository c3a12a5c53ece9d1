//! What a browser can be made to ask by a page that is not ours: refused, whatever else the request shows.
//!
//! A foreign page reaches a loopback address in two ways. It sends requests across origins, which browsers mark
//! (`Origin`, `Sec-Fetch-Site`); or its own name is made to resolve to this host, and then `Host` carries that name
//! ("DNS rebinding"). The Unix socket has the same visitors when it is forwarded to a port; other clients may call it
//! by any name, so there `Host` counts only in what a browser sent.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};

use super::access::Right;
use super::error::ApiError;
use super::session::Via;

const SITE: &str = "sec-fetch-site";

/// Whether the request may be looked at.
pub(super) fn check(via: Via, right: Right, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let from_browser = headers.contains_key(header::ORIGIN) || headers.contains_key(SITE);
    if !from_browser && matches!(via, Via::Socket(_)) {
        return Ok(());
    }
    let Some(host) = only(headers, header::HOST.as_str()).and_then(local) else {
        let message =
            "the request must name this host as `localhost`, `127.0.0.1` or `[::1]` (its `Host` header)";
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "foreign_host", message));
    };
    // A link to the page may stand anywhere; it shows nothing by itself.
    let page = right == Right::Open && method == Method::GET;
    let own = |origin: &str| {
        let rest =
            origin.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).map(|_| &origin[7..]);
        rest.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    let origin_fits = !headers.contains_key(header::ORIGIN) || only(headers, "origin").is_some_and(own);
    let site_fits =
        page || !headers.contains_key(SITE) || matches!(only(headers, SITE), Some("same-origin" | "none"));
    if origin_fits && site_fits {
        return Ok(());
    }
    let message = "a page of another origin may not ask this daemon";
    Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", message))
}

/// The value of a header that is there once, as text.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The host, if it is a name of this one; any port, because tunnels have their own.
fn local(host: &str) -> Option<&str> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let here =
        name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    // "user@localhost" is an authority too.
    (here && !host.contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::access::{Grant, Peer};

    const SOCKET: Via = Via::Socket(Peer { uid: 0, gid: 0, grant: Grant::Account });
    const TCP: Via = Via::Loopback;
    const HERE: (&str, &str) = ("host", "127.0.0.1:7077");
    const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:7077");

    /// Name, how it came, its headers, whether it may be looked at.
    type Case = (&'static str, Via, &'static [(&'static str, &'static str)], bool);

    const BY_HOST: &[Case] = &[
        ("curl", TCP, &[HERE], true),
        ("by name", TCP, &[("host", "LocalHost:1")], true),
        ("version 6", TCP, &[("host", "[::1]:7077")], true),
        ("through a tunnel", TCP, &[("host", "localhost:9000"), ("origin", "http://localhost:9000")], true),
        ("the page", TCP, &[HERE, ORIGIN, (SITE, "same-origin")], true),
        ("typed in", TCP, &[HERE, (SITE, "none")], true),
        ("no host", TCP, &[], false),
        ("two hosts", TCP, &[HERE, HERE], false),
        ("rebound", TCP, &[("host", "evil.example:7077")], false),
        (
            "rebound, of one origin",
            TCP,
            &[("host", "evil.example"), ("origin", "http://evil.example")],
            false,
        ),
        ("a name that begins well", TCP, &[("host", "localhost.evil.example")], false),
        ("a user's name", TCP, &[("host", "localhost@evil.example")], false),
        ("a user's name before us", TCP, &[("host", "evil@localhost")], false),
        ("another address", TCP, &[("host", "192.0.2.1:7077")], false),
        ("no host's name", TCP, &[("host", "[::1")], false),
    ];

    const BY_ORIGIN: &[Case] = &[
        ("of another origin", TCP, &[HERE, ("origin", "http://evil.example")], false),
        ("of another port", TCP, &[HERE, ("origin", "http://127.0.0.1:8080")], false),
        ("of another name", TCP, &[HERE, ("origin", "http://localhost:7077")], false),
        ("of another scheme", TCP, &[HERE, ("origin", "https://127.0.0.1:7077")], false),
        ("of no origin", TCP, &[HERE, ("origin", "null")], false),
        ("of two origins", TCP, &[HERE, ORIGIN, ("origin", "http://evil.example")], false),
        ("from another site", TCP, &[HERE, (SITE, "cross-site")], false),
        ("from another port", TCP, &[HERE, (SITE, "same-site")], false),
        ("of two sites", TCP, &[HERE, (SITE, "same-origin"), (SITE, "cross-site")], false),
        ("the socket, any name", SOCKET, &[("host", "x")], true),
        ("the socket, no name", SOCKET, &[], true),
        (
            "the socket forwarded",
            SOCKET,
            &[("host", "localhost:80"), ("origin", "http://localhost:80")],
            true,
        ),
        ("the socket rebound", SOCKET, &[("host", "evil.example"), ("origin", "http://evil.example")], false),
        ("the socket rebound, reading", SOCKET, &[("host", "evil.example"), (SITE, "same-origin")], false),
        ("the socket across sites", SOCKET, &[HERE, (SITE, "cross-site")], false),
    ];

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (key, value) in of {
            map.append(*key, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn foreign_pages_are_refused() {
        for (name, via, of, good) in BY_HOST.iter().chain(BY_ORIGIN) {
            for (right, method) in [(Right::Read, Method::GET), (Right::Change, Method::POST)] {
                assert_eq!(check(*via, right, &method, &headers(of)).is_ok(), *good, "{name}, {method}");
            }
        }
    }

    #[test]
    fn a_link_to_the_page_may_stand_anywhere() {
        let linked = headers(&[("host", "[::1]:1"), (SITE, "cross-site")]);
        assert!(check(TCP, Right::Open, &Method::GET, &linked).is_ok());
        assert!(check(TCP, Right::Open, &Method::POST, &linked).is_err(), "signing in across sites");
    }
}
