//! The same requests over a loopback address.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::Semaphore;

use super::listen::{SocketError, connection};
use super::session::Via;
use crate::config::{self, Http};

/// A listener on a loopback address.
#[derive(Debug)]
pub struct Loopback {
    inner: tokio::net::TcpListener,
    address: SocketAddr,
}

impl Loopback {
    /// Listens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError::Http`].
    pub fn bind(settings: &Http) -> Result<Self, SocketError> {
        let listen = || {
            let inner = match &settings.namespace {
                None => TcpListener::bind(settings.listen)?,
                Some(path) => bind_in(path, settings.listen)?,
            };
            inner.set_nonblocking(true)?;
            let address = inner.local_addr()?;
            Ok(Self { inner: tokio::net::TcpListener::from_std(inner)?, address })
        };
        listen().map_err(|error| SocketError::Http { address: settings.listen, error })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until the task is dropped: at most `settings.connections` at a time, beside those of the socket.
    pub async fn serve(self, router: Router, settings: config::Socket) {
        let room = Arc::new(Semaphore::new(settings.connections));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match self.inner.accept().await {
                Ok((stream, from)) if from.ip().is_loopback() => {
                    let router = router.clone();
                    tokio::spawn(async move {
                        connection(stream, Via::Loopback, router, settings.timeout).await;
                        drop(place);
                    });
                }
                // With `route_localnet`, others may get here: as if nobody listened.
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Listens in another network namespace: a socket belongs to that of the thread that made it, for ever.
fn bind_in(namespace: &Path, address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("in the namespace {}: {error}", namespace.display()))
    };
    let file = File::open(namespace).map_err(named)?;
    let listen = move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        TcpListener::bind(address)
    };
    // The thread ends with this, and with it what it moved to.
    let thread = std::thread::Builder::new().name("namespace".into()).spawn(listen)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that listens panicked"))).map_err(named)
}
