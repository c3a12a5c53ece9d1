//! Servers that send back what they get.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab::{LabError, Namespace};

use super::probe::PATIENT;

/// How often a server looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// TCP ports on which every host answers.
pub(crate) const TCP_PORTS: [u16; 2] = [5432, 443];
/// The UDP port on which every host answers.
pub(crate) const UDP_PORT: u16 = 8125;

/// The services of one host, v4 and v6, until dropped.
#[derive(Debug)]
pub(crate) struct EchoServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens in `host` on [`TCP_PORTS`] and [`UDP_PORT`].
    pub(crate) fn start(host: &Namespace) -> Result<io::Result<Self>, LabError> {
        let sockets = host.run(|| {
            let any = |port| (Ipv6Addr::UNSPECIFIED, port);
            let tcp = TCP_PORTS.map(|port| TcpListener::bind(any(port)));
            let tcp = tcp.into_iter().collect::<io::Result<Vec<_>>>()?;
            Ok((tcp, UdpSocket::bind(any(UDP_PORT))?))
        })?;
        Ok(sockets.and_then(|(tcp, udp)| Self::serve(tcp, udp)))
    }

    fn serve(tcp: Vec<TcpListener>, udp: UdpSocket) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for listener in tcp {
            listener.set_nonblocking(true)?;
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || accept(&listener, &stop)));
        }
        udp.set_read_timeout(Some(LOOK))?;
        // Streams of the demo must not lose a datagram here, where it would look like the wire's loss.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&udp, 8 << 20)?;
        let udp_stop = Arc::clone(&stop);
        threads.push(thread::spawn(move || datagrams(&udp, &udp_stop)));
        Ok(Self { stop, threads })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A server that panicked has failed every expectation that needed it already.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>) {
    let mut threads = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let stop = Arc::clone(stop);
                threads.push(thread::spawn(move || echo(stream, &stop)));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
        threads.retain(|thread| !thread.is_finished());
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Ends with the connection, whatever ends that: the client sees it and reports it.
fn echo(mut stream: TcpStream, stop: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    if stream.set_nonblocking(false).is_err()
        || stream.set_nodelay(true).is_err()
        || stream.set_read_timeout(Some(LOOK)).is_err()
        || stream.set_write_timeout(Some(PATIENT)).is_err()
    {
        return;
    }
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => {
                if stream.write_all(&bytes[..len]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn datagrams(socket: &UdpSocket, stop: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((len, peer)) = socket.recv_from(&mut bytes) {
            // A reply that cannot be sent is missed by the client, which reports it.
            let _ = socket.send_to(&bytes[..len], peer);
        }
    }
}
