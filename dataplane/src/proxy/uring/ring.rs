//! The ring: one method per operation, and what completed.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use arrayvec::ArrayVec;
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::pool::{Buffer, Pool};
use super::seats::Seats;
use super::setup::{self, GROUP, RingPlan, SUBMISSIONS};
use super::token::{Op, Token};
use crate::proxy::ProxyLimits;
use crate::proxy::error::RingError;

/// Completions taken out of the ring at once: between two of these the clock and the policy are read anew.
pub(in crate::proxy) const COMPLETIONS: usize = 256;

/// Some completions.
pub(in crate::proxy) type Completions = ArrayVec<Completion, COMPLETIONS>;

/// One operation that is over.
#[derive(Debug)]
pub(in crate::proxy) struct Completion {
    pub(in crate::proxy) token: Token,
    /// What the operation returned: not negative, or a negated error number.
    pub(in crate::proxy) result: i32,
    /// The buffer that the kernel chose for it.
    pub(in crate::proxy) buffer: Option<Buffer>,
    /// The socket that was accepted.
    pub(in crate::proxy) socket: Option<OwnedFd>,
    /// Whether the socket has more to read.
    pub(in crate::proxy) more_to_read: bool,
}

/// How to send.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Send {
    /// More will follow at once.
    pub(in crate::proxy) more: bool,
    /// No completion if all was taken.
    pub(in crate::proxy) quiet: bool,
}

/// A ring, used by the thread that made it. After [`Ring::new`] nothing is allocated.
pub(in crate::proxy) struct Ring {
    // Fields are dropped in this order: the kernel's side goes before the memory it knows.
    uring: IoUring,
    memory: Option<Memory>,
    /// Operations that have not completed.
    under_way: u32,
    /// The kernel takes no submissions any more, for this reason.
    poisoned: Option<io::ErrorKind>,
}

struct Memory {
    pool: Pool,
    peers: Seats,
    /// One for each submission that may not have been submitted.
    targets: Seats,
    target: usize,
}

/// How long a ring that is dropped waits for its operations, which it has cancelled.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// `IORING_RECVSEND_POLL_FIRST`: do not try first, there is nothing to read.
const POLL_FIRST: u16 = 1;

impl Ring {
    /// Makes a ring for the calling thread; `files` are those that operations name by their place in it.
    ///
    /// # Errors
    /// [`RingError`], saying what the kernel lacks.
    pub(in crate::proxy) fn new(plan: &RingPlan, files: &[RawFd]) -> Result<Self, RingError> {
        let mut uring = setup::make(plan)?;
        setup::probe(&uring)?;
        let failed = |step| move |error| RingError::Failed(step, error);
        let pool = Pool::new(plan.buffers).map_err(failed("memory for buffers"))?;
        let peers = Seats::new(plan.seats as usize).map_err(failed("memory for addresses"))?;
        let targets = Seats::new(SUBMISSIONS as usize).map_err(failed("memory for addresses"))?;
        uring.submitter().register_files(files).map_err(failed("registering the listeners"))?;
        setup::register_pool(&uring, &pool)?;
        // Saves a look into the file table per system call; without it all works the same.
        let _ = uring.submitter().register_ring_fd();
        let _ = uring.submission();
        let memory = Memory { pool, peers, targets, target: 0 };
        let mut ring = Self { uring, memory: Some(memory), under_way: 0, poisoned: None };
        ring.lend();
        Ok(ring)
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        self.memory.as_mut()
    }

    /// Accepts a connection on the listener at `file`; the peer's address goes to `seat`, which no other accept may
    /// have. The socket blocks, which for operations means that they wait.
    pub(in crate::proxy) fn accept(&mut self, file: u32, seat: u32, token: Token) {
        let Some(memory) = self.memory() else { return };
        let (address, length) = memory.peers.vacate(seat as usize);
        let accept = opcode::Accept::new(Fixed(file), address, length).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build(), token);
    }

    /// The address of the peer that the completed accept with `seat` is from.
    pub(in crate::proxy) fn peer(&self, seat: u32) -> Option<SocketAddr> {
        self.memory.as_ref()?.peers.read(seat as usize)
    }

    /// Connects a socket.
    pub(in crate::proxy) fn connect(&mut self, socket: BorrowedFd<'_>, to: SocketAddr, token: Token) {
        // The kernel copies the address when the operation is submitted, and at most `SUBMISSIONS` are not.
        let Some(memory) = self.memory() else { return };
        memory.target = memory.target.wrapping_add(1);
        let (address, length) = memory.targets.write(memory.target, to);
        self.push(opcode::Connect::new(Fd(socket.as_raw_fd()), address, length).build(), token);
    }

    /// Receives into a buffer that the kernel chooses when there are bytes; with `expected`, tries at once.
    pub(in crate::proxy) fn receive(&mut self, socket: BorrowedFd<'_>, expected: bool, token: Token) {
        let receive =
            opcode::Recv::new(Fd(socket.as_raw_fd()), core::ptr::null_mut(), ProxyLimits::BUFFER_BYTES)
                .ioprio(if expected { 0 } else { POLL_FIRST })
                .buf_group(GROUP);
        self.push(receive.build().flags(squeue::Flags::BUFFER_SELECT), token);
    }

    /// Receives into a buffer from `from` on.
    pub(in crate::proxy) fn receive_into(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &Buffer,
        from: u32,
        token: Token,
    ) {
        let Some(memory) = self.memory() else { return };
        let (place, length) = memory.pool.span(buffer, from, ProxyLimits::BUFFER_BYTES);
        self.push(opcode::Recv::new(Fd(socket.as_raw_fd()), place, length).build(), token);
    }

    /// Sends bytes of a buffer without waiting for room: it is over within the system call that submits it, and the
    /// buffer must not be released before. A `quiet` one completes only if not all bytes were taken: without a
    /// completion when that call has returned, they were.
    pub(in crate::proxy) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        (buffer, from, to): (&Buffer, u32, u32),
        send: Send,
        token: Token,
    ) {
        let Some(memory) = self.memory() else { return };
        let (place, length) = memory.pool.span(buffer, from, to);
        // `MSG_WAITALL` makes a send that takes less than all a failure, which is not passed over in silence; it waits
        // for nothing beside `MSG_DONTWAIT`.
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let flags = flags | if send.more { libc::MSG_MORE } else { 0 };
        let entry =
            opcode::Send::new(Fd(socket.as_raw_fd()), place.cast_const(), length).flags(flags).build();
        let silence = if send.quiet { squeue::Flags::SKIP_SUCCESS } else { squeue::Flags::empty() };
        self.queue(entry.flags(silence).user_data(token.to_bits()));
    }

    /// Waits once until a socket can be read (or its peer has closed).
    pub(in crate::proxy) fn poll_read(&mut self, socket: BorrowedFd<'_>, token: Token) {
        self.poll(Fd(socket.as_raw_fd()), libc::POLLIN | libc::POLLRDHUP, token);
    }

    /// Waits once until a socket can be written.
    pub(in crate::proxy) fn poll_write(&mut self, socket: BorrowedFd<'_>, token: Token) {
        self.poll(Fd(socket.as_raw_fd()), libc::POLLOUT, token);
    }

    fn poll(&mut self, socket: Fd, events: i16, token: Token) {
        self.push(opcode::PollAdd::new(socket, u32::from(events.cast_unsigned())).build(), token);
    }

    /// Waits once until the file at `file` can be read.
    pub(in crate::proxy) fn watch(&mut self, file: u32, token: Token) {
        let events = u32::from(libc::POLLIN.cast_unsigned());
        self.push(opcode::PollAdd::new(Fixed(file), events).build(), token);
    }

    /// Closes a socket.
    pub(in crate::proxy) fn close(&mut self, socket: OwnedFd) {
        self.push_silent(opcode::Close::new(Fd(socket.into_raw_fd())).build());
    }

    /// Cancels the operation with this token; it then completes with `ECANCELED`, unless it had completed.
    pub(in crate::proxy) fn cancel(&mut self, token: Token) {
        self.push_silent(opcode::AsyncCancel::new(token.to_bits()).build());
    }

    /// A buffer for bytes that this side writes.
    pub(in crate::proxy) fn take(&mut self) -> Option<Buffer> {
        self.memory()?.pool.take()
    }

    /// A buffer that is no longer needed.
    pub(in crate::proxy) fn release(&mut self, buffer: Buffer) {
        if let Some(memory) = self.memory() {
            memory.pool.release(buffer);
        }
    }

    /// Copies bytes out of a buffer, from its beginning on.
    pub(in crate::proxy) fn read(&self, buffer: &Buffer, into: &mut [u8]) {
        if let Some(memory) = &self.memory {
            memory.pool.read(buffer, into);
        }
    }

    /// Copies bytes into a buffer, at its beginning.
    pub(in crate::proxy) fn write(&mut self, buffer: &Buffer, bytes: &[u8]) {
        if let Some(memory) = self.memory() {
            memory.pool.write(buffer, bytes);
        }
    }

    /// Lets the kernel have buffers again; whether there is one to receive into.
    pub(in crate::proxy) fn lend(&mut self) -> bool {
        self.memory().is_some_and(|memory| memory.pool.lend())
    }

    /// Buffers that hold bytes.
    pub(in crate::proxy) fn buffers_used(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.pool.used())
    }

    /// Queues an operation that completes once, whatever becomes of it.
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        self.under_way += 1;
        self.queue(entry.user_data(token.to_bits()));
    }

    /// Queues an operation that is over within the system call that submits it, and that completes only if it fails.
    fn push_silent(&mut self, entry: squeue::Entry) {
        self.queue(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(Token::IGNORED.to_bits()));
    }

    fn queue(&mut self, entry: squeue::Entry) {
        // SAFETY: every address in an entry is of memory that `self` owns (buffers, seats) and that outlives the
        // operation (`drop`), or that the kernel reads when the entry is submitted (targets), which happens before
        // its place is used again. File numbers that are not open make an operation fail, no more.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            if let Err(error) = self.uring.submit() {
                // Completions may have to be taken before more can be submitted; nothing else is temporary.
                if !matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN | libc::EINTR)) {
                    self.poisoned = Some(error.kind());
                    return;
                }
            }
        }
    }

    /// Submits what is queued and waits until `want` completions are there, at most for `patience`.
    ///
    /// # Errors
    /// What `io_uring_enter(2)` says, if the ring can be used no more.
    pub(in crate::proxy) fn wait(&mut self, want: u32, patience: Option<Duration>) -> io::Result<()> {
        if let Some(kind) = self.poisoned {
            return Err(kind.into());
        }
        let entered = match patience {
            None => self.uring.submit_and_wait(want as usize),
            Some(patience) => {
                let patience = Timespec::from(patience);
                let args = SubmitArgs::new().timespec(&patience);
                self.uring.submitter().submit_with_args(want as usize, &args)
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes completions out of the ring until `into` is full.
    pub(in crate::proxy) fn reap(&mut self, into: &mut Completions) {
        let Self { uring, memory, under_way, .. } = self;
        let mut queue = uring.completion();
        while !into.is_full() {
            let Some(entry) = queue.next() else { break };
            let token = Token::from_bits(entry.user_data());
            if token == Token::IGNORED {
                continue;
            }
            // Sends are never under way between two system calls, so they are not counted.
            let counts = !matches!(token.op, Op::ToClient | Op::ToServer);
            *under_way = under_way.saturating_sub(u32::from(counts));
            let number = cqueue::buffer_select(entry.flags());
            let buffer = number.zip(memory.as_mut()).map(|(number, memory)| memory.pool.taken(number));
            let accepted = token.op == Op::Accept && entry.result() >= 0;
            // SAFETY: the kernel has just opened this descriptor for the accept, and tells nobody else.
            let socket = accepted.then(|| unsafe { OwnedFd::from_raw_fd(entry.result()) });
            into.push(Completion {
                token,
                socket,
                result: entry.result(),
                buffer,
                more_to_read: cqueue::sock_nonempty(entry.flags()),
            });
        }
    }
}

impl Drop for Ring {
    /// The kernel must be done with the memory before it is unmapped. If it is not within a few seconds, the memory
    /// is given up for good.
    fn drop(&mut self) {
        let _ = self.uring.submit();
        let _ = self
            .uring
            .submitter()
            .register_sync_cancel(Some(Timespec::from(LAST_WAIT)), CancelBuilder::any());
        let mut completions = Completions::new();
        for _ in 0..LAST_WAIT.as_millis() {
            completions.clear();
            self.reap(&mut completions);
            if self.under_way == 0 {
                break;
            }
            if completions.is_empty() && self.wait(1, Some(Duration::from_millis(1))).is_err() {
                break;
            }
        }
        // The kernel ends a ring some time after it was closed; its files are let go of now, so that the listeners are
        // closed when their owner closes them.
        let _ = self.uring.submitter().unregister_files();
        if self.under_way > 0
            && let Some(Memory { pool, peers, targets, .. }) = self.memory.take()
        {
            pool.leak();
            peers.leak();
            targets.leak();
        }
    }
}
