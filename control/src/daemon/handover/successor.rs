//! The old process's end: to whom it hands over.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::WORD_MAX;

/// A process that wants to take this one's place.
#[derive(Debug)]
pub(in crate::daemon) struct Successor(UnixStream);

impl Successor {
    pub(in crate::daemon) const fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Sends the listening sockets.
    pub(in crate::daemon) async fn send(&self, listeners: &[OwnedFd]) -> io::Result<()> {
        for listener in listeners {
            self.0.async_io(Interest::WRITABLE, || send_one(&self.0, listener.as_fd())).await?;
        }
        let end = b"end\n";
        let sent = self.0.async_io(Interest::WRITABLE, || self.0.try_write(end)).await?;
        if sent == end.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// Says a word.
    pub(in crate::daemon) async fn say(&mut self, word: &str) -> io::Result<()> {
        self.0.write_all(format!("{word}\n").as_bytes()).await
    }

    /// Waits until the other says `word`; anything else, its end, or silence is an error.
    pub(in crate::daemon) async fn expect(&mut self, word: &str, within: Duration) -> io::Result<()> {
        let mut line = Vec::new();
        let read = async {
            while line.last() != Some(&b'\n') {
                if line.len() == WORD_MAX {
                    return Err(ErrorKind::InvalidData.into());
                }
                line.push(self.0.read_u8().await?);
            }
            Ok::<(), io::Error>(())
        };
        timeout(within, read).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
        if line.strip_suffix(b"\n") == Some(word.as_bytes()) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&line);
        Err(io::Error::other(format!("it said `{}` instead of `{word}`", said.trim_end())))
    }
}

fn send_one(stream: &UnixStream, listener: BorrowedFd<'_>) -> io::Result<()> {
    let word = b"listener\n";
    let descriptors = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(word)], &mut control, SendFlags::NOSIGNAL)?;
    // A stream that takes a part of so few bytes is full beyond use.
    if sent == word.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}
