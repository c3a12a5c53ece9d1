//! Making the socket, and taking connections from it within limits.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::access::{Grant, Peer};
use super::session::Via;
use super::stream::Timed;
use crate::config;
use crate::store::StoreError;

/// Bytes of one request's head, and of the buffer it is read into.
const HEAD_MAX: usize = 16 << 10;

/// Why there is no socket.
#[derive(Debug)]
pub enum SocketError {
    /// Somebody listens there.
    InUse(PathBuf),
    /// Something that is no socket is there.
    NotASocket(PathBuf),
    /// The loopback address cannot be listened on.
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The token for the loopback address.
    Token(StoreError),
    /// A file operation failed.
    Io {
        /// What was attempted.
        what: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(f, "another daemon listens on {}; stop it, or set `socket.path`", path.display())
            }
            Self::NotASocket(path) => {
                write!(f, "{} is there and is no socket; remove it, or set `socket.path`", path.display())
            }
            Self::Http { address, error } => {
                write!(f, "cannot listen on {address} (`http.listen`): {error}")
            }
            Self::Token(error) => error.fmt(f),
            Self::Io { what, path, error } => {
                write!(f, "cannot {what} the socket {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for SocketError {}

/// The socket; its file goes when this is dropped, unless another one took its place.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Makes the socket with its mode and group before it appears under its path. What is there already is replaced
    /// only if it is a socket that nobody listens on. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(settings: &config::Socket) -> Result<Self, SocketError> {
        let path = settings.path.as_path();
        let failed = |what| move |error| SocketError::Io { what, path: path.to_owned(), error };
        clear(path)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(failed("make the directory of"))?;
        }
        // One byte longer than the final path would exceed `sun_path` for the longest legal one.
        let new = path.with_file_name(".rf");
        let _ = fs::remove_file(&new);
        let inner = UnixListener::bind(&new).map_err(failed("make"))?;
        let finish = || {
            fs::set_permissions(&new, fs::Permissions::from_mode(settings.mode))?;
            std::os::unix::fs::chown(&new, None, settings.group)?;
            let inode = fs::symlink_metadata(&new)?.ino();
            fs::rename(&new, path)?;
            Ok(inode)
        };
        match finish() {
            Ok(inode) => Ok(Self { inner, path: path.to_owned(), inode }),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(failed("set up")(error))
            }
        }
    }

    /// Serves `router` until the task is dropped: at most `settings.connections` at a time, each with the credentials
    /// of its peer as an extension, `Via`.
    pub async fn serve(self, router: Router, settings: config::Socket) {
        let room = Arc::new(Semaphore::new(settings.connections));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match self.inner.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    tokio::spawn(async move {
                        if let Some(via) = via(&stream) {
                            connection(stream, via, router, settings.timeout).await;
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for connections to end instead of spinning.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes sure that nothing worth keeping is at `path`.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |what| move |error| SocketError::Io { what, path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("examine")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing a socket that nobody listens on");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("examine")(error)),
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

/// The credentials of the process that connected.
fn via(stream: &UnixStream) -> Option<Via> {
    match stream.peer_cred() {
        Ok(credentials) => {
            let (uid, gid) = (credentials.uid(), credentials.gid());
            Some(Via::Socket(Peer { uid, gid, grant: Grant::Account }))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection without credentials was closed");
            None
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn connection<S>(stream: S, via: Via, router: Router, timeout: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(via)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Timed::new(stream, timeout)), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, ?via, "a connection ended early");
    }
}
