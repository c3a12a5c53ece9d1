//! The new process's end: whose place it takes.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{PROTOCOL, WORD_MAX};

/// How long the other may take for its part of a step: it may be publishing, and its wires take a while to close.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer to the request, bytes.
const ANSWER_MAX: usize = 16 << 10;
/// The most listeners: of 1024 proxies 64 each.
const LISTENERS_MAX: usize = 1 << 16;

/// Why a place could not be taken.
#[derive(Debug)]
pub enum TakeOverError {
    /// The other cannot be reached, or did not do its part.
    Io(PathBuf, io::Error),
    /// The other refuses; its answer.
    Refused(String),
}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => {
                write!(f, "cannot take over from the daemon that listens on {}: {error}", path.display())
            }
            Self::Refused(answer) => write!(f, "the daemon that runs does not hand over: {answer}"),
        }
    }
}

/// A process whose place is being taken.
#[derive(Debug)]
pub(in crate::daemon) struct Predecessor {
    stream: UnixStream,
    path: PathBuf,
}

impl Predecessor {
    /// Asks the daemon on the socket at `path` for its listeners. `None` if nobody is there. Blocks.
    pub(in crate::daemon) fn ask(path: &Path) -> Result<Option<(Self, Vec<OwnedFd>)>, TakeOverError> {
        let failed = |error| TakeOverError::Io(path.to_owned(), error);
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let mut predecessor = Self { stream, path: path.to_owned() };
        predecessor.request()?;
        let listeners = predecessor.receive().map_err(failed)?;
        Ok(Some((predecessor, listeners)))
    }

    fn request(&mut self) -> Result<(), TakeOverError> {
        let head = self.exchange().map_err(|error| TakeOverError::Io(self.path.clone(), error))?;
        if head.starts_with("HTTP/1.1 101 ") {
            return Ok(());
        }
        // What follows the head is a JSON error, in one piece.
        let mut body = vec![0; ANSWER_MAX];
        let len = self.stream.read(&mut body).unwrap_or(0);
        let body: serde_json::Value = serde_json::from_slice(&body[..len]).unwrap_or_default();
        let told = body["message"].as_str().map(str::to_owned);
        Err(TakeOverError::Refused(
            told.unwrap_or_else(|| head.lines().next().unwrap_or_default().to_owned()),
        ))
    }

    /// Sends the request; returns the head of the answer, and reads nothing beyond it.
    fn exchange(&mut self) -> io::Result<String> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!(
            "POST /v1/handover HTTP/1.1\r\nHost: ringfence\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.extend(byte);
            if head.len() > ANSWER_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Receives the listeners: one with each word, until `end`.
    fn receive(&mut self) -> io::Result<Vec<OwnedFd>> {
        let (mut listeners, mut line) = (Vec::new(), Vec::new());
        loop {
            let mut byte = [0];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let got = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    listeners.extend(descriptors);
                }
            }
            if got.bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            line.extend(byte);
            if line.len() > WORD_MAX || listeners.len() > LISTENERS_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            match line.as_slice() {
                b"end\n" => return Ok(listeners),
                b"listener\n" => line.clear(),
                _ => {}
            }
        }
    }

    /// Has the other let go of everything else: nothing is published from here on until this process serves. Blocks.
    pub(in crate::daemon) fn release(&mut self) -> Result<(), TakeOverError> {
        let release = || {
            self.stream.write_all(b"release\n")?;
            let mut word = [0; b"released\n".len()];
            self.stream.read_exact(&mut word)?;
            if &word == b"released\n" { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
        };
        let mut release = release;
        release().map_err(|error| TakeOverError::Io(self.path.clone(), error))
    }

    /// Tells the other that this process serves. If it does not hear that any more, it has ended anyway.
    pub(in crate::daemon) fn serving(mut self) {
        if let Err(error) = self.stream.write_all(b"serving\n") {
            tracing::warn!(%error, "the daemon before this one ended early");
        }
    }
}
