//! Asking the daemon: one request on its socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::outcome::Failure;

/// Longest answer, bytes.
const ANSWER_MAX: usize = 1 << 30;
/// Longest line of a stream, bytes.
const LINE_MAX: usize = 1 << 20;
/// How long an answer may take; compiling a large policy takes a while.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the daemon answered.
pub(crate) type Answer = Result<Value, Failure>;

/// Asks for `path`, which may have a query (see [`query`]).
pub(crate) fn get(socket: &Path, path: &str) -> Answer {
    parse(&raw(socket, Method::GET, path, Bytes::new())?)
}

/// As [`get`], but gives the answer's bytes.
pub(crate) fn get_text(socket: &Path, path: &str) -> Result<Bytes, Failure> {
    raw(socket, Method::GET, path, Bytes::new())
}

/// Sends `body` to `path`.
pub(crate) fn post(socket: &Path, path: &str, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).map_err(Failure::failed)?;
    parse(&raw(socket, Method::POST, path, body.into())?)
}

/// Puts `body` to `path`.
pub(crate) fn put(socket: &Path, path: &str, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).map_err(Failure::failed)?;
    parse(&raw(socket, Method::PUT, path, body.into())?)
}

/// Deletes what is at `path`.
pub(crate) fn delete(socket: &Path, path: &str) -> Answer {
    parse(&raw(socket, Method::DELETE, path, Bytes::new())?)
}

/// `path?key=value&…` with everything escaped that needs it (RFC 3986); `None` is left out.
pub(crate) fn query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut text = path.to_owned();
    for (key, value) in parameters {
        let Some(value) = value else { continue };
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(key);
        text.push('=');
        escape(value, b"-._~/:", &mut text);
    }
    text
}

/// A part of a path with everything escaped that needs it.
pub(crate) fn escaped(part: &str) -> String {
    let mut text = String::new();
    escape(part, b"-._~", &mut text);
    text
}

fn escape(value: &str, plain: &[u8], into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The reader had enough.
    ByReader,
    /// The daemon closed it.
    ByDaemon,
}

/// Asks for `path` and gives each line of the answer to `read` as it comes, until that says `false`.
pub(crate) fn lines(
    socket: &Path,
    path: &str,
    mut read: impl FnMut(&str) -> Result<bool, Failure>,
) -> Result<Ended, Failure> {
    runtime()?.block_on(async {
        let answer = send(socket, Method::GET, path, Bytes::new()).await?;
        if !answer.status().is_success() {
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|e| lost(&e))?;
            return Err(refused(&body.to_bytes()));
        }
        let (mut body, mut text) = (answer.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| lost(&error))?.into_data() else { continue };
            text.extend_from_slice(&data);
            let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
                if text.len() > LINE_MAX {
                    return Err(Failure::failed("the daemon's answer has a line that is too long"));
                }
                continue;
            };
            let whole: Vec<u8> = text.drain(..=end).collect();
            for line in String::from_utf8_lossy(&whole).lines() {
                if !read(line)? {
                    return Ok(Ended::ByReader);
                }
            }
        }
        Ok(Ended::ByDaemon)
    })
}

fn parse(answer: &[u8]) -> Answer {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::failed(format_args!("the daemon's answer: {error}")))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format_args!("asking the daemon: {error}"))
}

/// What an answer with a status of 400 or above says.
fn refused(answer: &[u8]) -> Failure {
    match parse(answer) {
        Err(failure) => failure,
        Ok(error) => {
            let message = error["error"]["message"].as_str().unwrap_or("the daemon refused without a reason");
            Failure::Failed(message.trim_end().to_owned())
        }
    }
}

fn raw(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
    let (status, answer) = runtime()?.block_on(async {
        match tokio::time::timeout(PATIENCE, exchange(socket, method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::failed("the daemon did not answer within ten minutes")),
        }
    })?;
    if status.is_success() { Ok(answer) } else { Err(refused(&answer)) }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), Failure> {
    let answer = send(socket, method, path, body).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|e| lost(&e))?;
    Ok((status, body.to_bytes()))
}

/// Sends a request on a connection of its own, which lives as long as the runtime.
async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<hyper::Response<hyper::body::Incoming>, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable_daemon(socket, &error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| lost(&e))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "ringfence")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(|e| lost(&e))?;
    sender.send_request(request).await.map_err(|e| lost(&e))
}

/// Why a stream ended before its time.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The daemon refused, or is gone.
    Daemon(Failure),
    /// Whoever takes the bytes cannot.
    Reader(std::io::Error),
}

/// Sends `body` to `path`, and hands on the bytes of the answer as they come. ^C asks the daemon to end it (DELETE).
pub(crate) fn stream(
    socket: &Path,
    path: &str,
    body: &impl Serialize,
    take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), Broken> {
    let failed = |error: &dyn std::fmt::Display| Broken::Daemon(Failure::failed(error));
    let body = serde_json::to_vec(body).map_err(|e| failed(&e))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
    runtime.block_on(async {
        let answer = send(socket, Method::POST, path, body.into()).await.map_err(Broken::Daemon)?;
        let (head, mut rest) = answer.into_parts();
        if !head.status.is_success() {
            let body = rest.collect().await.map_err(|e| failed(&e))?.to_bytes();
            return Err(Broken::Daemon(refused(&body)));
        }
        let mut interrupted = false;
        let interrupt = tokio::signal::ctrl_c();
        tokio::pin!(interrupt);
        loop {
            let frame = tokio::select! {
                frame = rest.frame() => frame,
                _ = &mut interrupt, if !interrupted => {
                    interrupted = true;
                    exchange(socket, Method::DELETE, path, Bytes::new()).await.map_err(Broken::Daemon)?;
                    continue;
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|e| failed(&format_args!("the daemon went away: {e}")))?;
            if let Some(bytes) = frame.data_ref() {
                take(bytes).map_err(Broken::Reader)?;
            }
        }
    })
}

fn unreachable_daemon(socket: &Path, error: &std::io::Error) -> Failure {
    let path = socket.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::Failed(format!(
            "no daemon listens on {path}: start one with `ringfence run --config FILE`, name another socket with \
             --socket or RINGFENCE_SOCKET, or work on files with --policy where the command has it"
        )),
        ErrorKind::PermissionDenied => Failure::Failed(format!(
            "you may not connect to {path}: ask for membership in the socket's group, or use sudo"
        )),
        _ => Failure::Failed(format!("cannot connect to {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn queries_are_escaped() {
        let some = |text: &str| Some(text.to_owned());
        for (parameters, expected) in [
            (vec![], "/p"),
            (vec![("a", None)], "/p"),
            (vec![("a", some("x")), ("b", None), ("c", some("tcp/443"))], "/p?a=x&c=tcp/443"),
            (vec![("a", some("k=v&w #%+ü"))], "/p?a=k%3Dv%26w%20%23%25%2B%C3%BC"),
            (vec![("a", some("fe80::1"))], "/p?a=fe80::1"),
        ] {
            assert_eq!(query("/p", &parameters), expected);
        }
    }
}
