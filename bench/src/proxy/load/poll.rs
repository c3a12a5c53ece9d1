//! Epoll, level-triggered, with sockets that know their place in a slab.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Events taken from the kernel at a time.
const EVENTS: usize = 512;

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadWrite,
    /// As `ReadWrite`, told once for each change.
    Edge,
}

impl Interest {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::ReadWrite => EventFlags::IN.union(EventFlags::OUT),
            Self::Edge => EventFlags::IN.union(EventFlags::OUT).union(EventFlags::ET),
        }
    }
}

/// What became of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The token it was added with.
    pub token: u64,
    /// It can be read, it has ended, or it has failed.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// It has failed, or both directions have ended.
    pub hung_up: bool,
}

/// An epoll instance; belongs to the thread that made it.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// Events of the last [`Poll::wait`].
    pub ready: Vec<Ready>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS), ready: Vec::with_capacity(EVENTS) })
    }

    pub(crate) fn add(&self, socket: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), interest.flags())?)
    }

    pub(crate) fn change(&self, socket: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token), interest.flags())?)
    }

    /// Waits at most `milliseconds` and fills [`Poll::ready`].
    pub(crate) fn wait(&mut self, milliseconds: u16) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::from(milliseconds / 1000),
            tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
        };
        self.ready.clear();
        let waited =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout));
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in self.events.drain(..) {
            let (flags, data) = (event.flags, event.data);
            let over = EventFlags::ERR | EventFlags::HUP;
            self.ready.push(Ready {
                token: data.u64(),
                read: flags.intersects(EventFlags::IN | over),
                write: flags.intersects(EventFlags::OUT),
                hung_up: flags.intersects(over),
            });
        }
        Ok(())
    }
}

/// Things with stable small numbers; a freed number is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// The number that the next [`Slab::insert`] will use.
    pub(crate) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    pub(crate) fn insert(&mut self, item: T) -> usize {
        match self.free.pop() {
            Some(at) => {
                self.slots[at] = Some(item);
                at
            }
            None => {
                self.slots.push(Some(item));
                self.slots.len() - 1
            }
        }
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.slots.get_mut(at)?.as_mut()
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        let item = self.slots.get_mut(at)?.take();
        if item.is_some() {
            self.free.push(at);
        }
        item
    }
}
