//! The protocol's two ends, in one process.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// A socket, and an old daemon there that answers the request with `answer` and then does `then`.
async fn meet<T, F: Future<Output = T>>(
    name: &str,
    answer: &'static str,
    then: impl FnOnce(UnixStream) -> F,
) -> (T, Result<Option<(Predecessor, Vec<OwnedFd>)>, TakeOverError>) {
    let path = std::env::temp_dir().join(format!("ringfence-handover-{}-{name}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let asked = path.clone();
    let new = tokio::task::spawn_blocking(move || Predecessor::ask(&asked));
    let (mut old, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(old.read_u8().await.unwrap());
    }
    assert!(request.starts_with(b"POST /v1/handover HTTP/1.1\r\n"));
    old.write_all(answer.as_bytes()).await.unwrap();
    let done = then(old).await;
    std::fs::remove_file(path).unwrap();
    (done, new.await.unwrap())
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: ringfence-handover\r\n\r\n";

#[tokio::test]
async fn listeners_change_hands_and_lose_nobody() {
    let listeners: Vec<TcpListener> = (0..70).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
    // Who connects before the sockets change hands is accepted after it.
    let early = TcpStream::connect(addresses[69]).unwrap();
    let own: Vec<OwnedFd> = listeners.into_iter().map(Into::into).collect();
    let (mut old, new) = meet("whole", SWITCHED, |stream| async {
        let old = Successor::new(stream);
        old.send(&own).await.unwrap();
        drop(own);
        old
    })
    .await;
    let (mut new, got) = new.unwrap().unwrap();
    let got: Vec<TcpListener> = got.into_iter().map(Into::into).collect();
    let now: Vec<_> = got.iter().map(|one| one.local_addr().unwrap()).collect();
    assert_eq!(now, addresses, "all of them, in order");
    assert_eq!(got[69].accept().unwrap().1, early.local_addr().unwrap());
    let new = tokio::task::spawn_blocking(move || new.release().map(|()| new.serving()));
    old.expect("release", SOON).await.unwrap();
    old.say("released").await.unwrap();
    old.expect("serving", SOON).await.unwrap();
    new.await.unwrap().unwrap();
    assert!(old.expect("more", SOON).await.is_err(), "it has ended");
}

#[tokio::test]
async fn a_part_that_is_not_played_is_an_error() {
    let refusal =
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 33\r\n\r\n{\"error\":\"f\",\"message\":\"you not\"}\n";
    let (_, new) = meet("refused", refusal, |stream| async { stream }).await;
    assert!(new.unwrap_err().to_string().contains("you not"));
    for (name, said) in [("ended", "listener\n"), ("nonsense", "and now for something else\n")] {
        let (_, new) =
            meet(name, SWITCHED, |mut stream| async move { stream.write_all(said.as_bytes()).await }).await;
        assert!(new.unwrap_err().to_string().contains("cannot take over"), "{name}");
    }
    let (mut old, mut other) = UnixStream::pair().map(|(a, b)| (Successor::new(a), b)).unwrap();
    other.write_all(b"serving\nno line feed in sight").await.unwrap();
    assert!(old.expect("release", SOON).await.unwrap_err().to_string().contains("`serving`"));
    assert!(old.expect("release", SOON).await.is_err());
    assert_eq!(old.expect("release", Duration::ZERO).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn nobody_there_is_no_error() {
    assert!(Predecessor::ask("/nonexistent/ringfence.sock".as_ref()).unwrap().is_none());
}
