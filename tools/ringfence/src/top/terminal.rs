//! The terminal: taken over and given back, keys read, the daemon asked beside.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::draw::draw;
use super::model::Model;
use super::sample::Sample;
use super::state::{Action, State};
use crate::demo::Interrupt;
use crate::outcome::{Failure, Outcome};

/// How long a key waits at most before something else is looked at.
const WAIT: Duration = Duration::from_millis(50);

/// Gives the terminal back when it goes.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What the thread that asks says.
type Looked = Result<Sample, String>;

/// Shows the daemon until the user quits.
pub(super) fn live(socket: &Path, interval: Duration, mut state: State, first: Sample) -> Outcome {
    let interrupt = Interrupt::listen().map_err(Failure::failed)?;
    state.interval = interval;
    let (looked, samples) = channel();
    let (every, intervals) = channel();
    let asked = socket.to_owned();
    std::thread::spawn(move || ask(&asked, interval, &intervals, &looked));
    // This also puts the terminal right again if something panics.
    let mut terminal = ratatui::try_init().map_err(Failure::failed)?;
    let _restore = Restore;
    std::thread::spawn(end_with_the_terminal);
    let mut screen = Screen { model: Model::between(&first, &first), last: first, state };
    let mut fresh = true;
    while !interrupt.is_set() {
        if fresh {
            let drawn = terminal.draw(|frame| draw(frame, &mut screen.model, &mut screen.state));
            drawn.map_err(Failure::failed)?;
        }
        let action = screen.step(&samples)?;
        fresh = action.is_some();
        match action {
            Some(Action::Quit) => break,
            Some(Action::Every(interval)) => drop(every.send(interval)),
            Some(Action::Draw) | None => {}
        }
    }
    Ok(())
}

/// Ends the process when the terminal goes away. From a thread of its own, because whoever reads keys from a terminal that
/// has gone tries again for ever, inside the library that reads them.
#[expect(clippy::exit, reason = "nobody is left to tell, and the main thread may never look again")]
fn end_with_the_terminal() {
    let stdin = std::io::stdin();
    loop {
        let mut polled = [PollFd::new(&stdin, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) if !polled[0].revents().is_empty() => std::process::exit(0),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

struct Screen {
    model: Model,
    last: Sample,
    state: State,
}

impl Screen {
    /// Waits a little for a key or for a sample.
    fn step(&mut self, samples: &Receiver<Looked>) -> Result<Option<Action>, Failure> {
        if event::poll(WAIT).map_err(Failure::failed)? {
            return Ok(match event::read().map_err(Failure::failed)? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    Some(self.state.key(key, &self.model))
                }
                // The next frame has the new size.
                Event::Resize(..) => Some(Action::Draw),
                _ => None,
            });
        }
        match samples.try_recv() {
            Ok(Ok(sample)) if !self.state.paused => {
                self.model = Model::between(&self.last, &sample);
                self.last = sample;
            }
            Ok(Err(error)) => self.model.alarm = Some(error),
            Ok(Ok(_)) | Err(_) => return Ok(None),
        }
        Ok(Some(Action::Draw))
    }
}

/// Asks the daemon once an interval, which may change, until nobody listens.
fn ask(socket: &Path, mut interval: Duration, intervals: &Receiver<Duration>, looked: &Sender<Looked>) {
    let mut next = Instant::now() + interval;
    loop {
        match intervals.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(other) => {
                interval = other;
                next = Instant::now() + interval;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let sample = Sample::read(socket).map_err(|failure| match failure {
            Failure::Failed(message) | Failure::Usage(message) => message,
            Failure::Told => "the daemon does not answer".to_owned(),
        });
        if looked.send(sample).is_err() {
            return;
        }
        next = Instant::now() + interval;
    }
}
