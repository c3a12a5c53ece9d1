//! A web server and its client, both as small as HTTP/1.1 allows.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab::{LabError, Namespace};

use super::pattern;
use super::probe::PATIENT;

/// How often the server looks whether it should stop.
const LOOK: Duration = Duration::from_millis(2);
/// The longest request that the server reads, bytes.
const REQUEST_MAX: usize = 4096;
/// The page, bytes.
const PAGE: usize = 100_000;

/// A web server that counts who connects, until dropped.
#[derive(Debug)]
pub(crate) struct Site {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// Listens in `host` on `at`.
    pub(crate) fn start(host: &Namespace, at: SocketAddr) -> Result<io::Result<Self>, LabError> {
        let listener = host.run(|| {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        Ok(listener.map(|listener: TcpListener| {
            let (stop, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
            let (until, count) = (Arc::clone(&stop), Arc::clone(&connections));
            let thread = Some(thread::spawn(move || serve(&listener, &until, &count)));
            Self { stop, connections, thread }
        }))
    }

    /// Connections that it has seen.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool, connections: &AtomicU64) {
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                connections.fetch_add(1, Ordering::SeqCst);
                // A client that cannot be answered reports that itself.
                let _ = answer(stream);
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENT))?;
    stream.set_write_timeout(Some(PATIENT))?;
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 512];
        match stream.read(&mut bytes)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => request.extend_from_slice(&bytes[..len]),
        }
        if request.len() > REQUEST_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    let found = request.starts_with(b"GET /ledger HTTP/1.1\r\n");
    let (status, page) = if found { ("200 OK", pattern(PAGE, 80)) } else { ("404 Not Found", Vec::new()) };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&page)
}

/// Asks `to`, from `host`, for the page. What comes back, in words, and whether it is the page.
pub(crate) fn get(host: &Namespace, to: SocketAddr, within: Duration) -> Result<(String, bool), LabError> {
    let answer = host.run(|| ask(to, within))?;
    Ok(match answer {
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer);
            let status = text.lines().next().unwrap_or("nothing").to_owned();
            let page = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| &answer[at + 4..]);
            let whole = page.is_some_and(|page| page == pattern(PAGE, 80));
            (if whole { format!("{status}, {PAGE} bytes") } else { status }, whole)
        }
        Err(error) => (
            match error.kind() {
                ErrorKind::ConnectionReset => "reset".to_owned(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "silence".to_owned(),
                _ => error.to_string(),
            },
            false,
        ),
    })
}

fn ask(to: SocketAddr, within: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, within)?;
    stream.set_read_timeout(Some(within))?;
    stream
        .write_all(format!("GET /ledger HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
