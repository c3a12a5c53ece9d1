//! Who follows flow events as they happen.
//!
//! Each follower has a bounded queue. Telling never waits: what has no room is counted, and the follower learns how
//! many events it lost, beside those that the workers had no room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use dataplane::records::FlowEvent;
use jiff::Timestamp;

/// Events that one follower may be behind: what a hundred thousand events a second make in a sixth of a second.
const QUEUE: usize = 16_384;
/// Followers at a time.
pub const FOLLOWERS_MAX: usize = 8;

/// Events that a follower did not hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The workers had no room for them; they are missing from the flow records too.
    pub by_workers: u64,
    /// The follower was too far behind.
    pub by_follower: u64,
}

#[derive(Debug, Default)]
struct Losses {
    by_workers: AtomicU64,
    by_follower: AtomicU64,
}

/// An event and its time on the wall's clock.
pub type Told = (FlowEvent, Timestamp);

/// The followers.
#[derive(Debug, Default)]
pub struct Followers(Vec<(SyncSender<Told>, Arc<Losses>)>);

/// One follower's end; following ends when it is dropped.
#[derive(Debug)]
pub struct Follow {
    queue: Receiver<Told>,
    losses: Arc<Losses>,
}

impl Followers {
    /// One more, from now on; `None` if there are `max` already, or [`FOLLOWERS_MAX`].
    pub fn add(&mut self, max: usize) -> Option<Follow> {
        // A dropped end is seen when something is told; count only those that are there.
        self.0.retain(|(_, losses)| Arc::strong_count(losses) > 1);
        if self.0.len() >= max.min(FOLLOWERS_MAX) {
            return None;
        }
        let (sender, queue) = sync_channel(QUEUE);
        let losses = Arc::new(Losses::default());
        self.0.push((sender, Arc::clone(&losses)));
        Some(Follow { queue, losses })
    }

    /// Whether nobody follows: then nothing need be told.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells everybody, without waiting for anybody.
    pub fn tell(&mut self, event: FlowEvent, at: Timestamp) {
        self.0.retain(|(sender, losses)| match sender.try_send((event, at)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                losses.by_follower.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    /// The workers had no room for so many events.
    pub fn missed(&self, events: u64) {
        for (_, losses) in &self.0 {
            losses.by_workers.fetch_add(events, Ordering::Relaxed);
        }
    }
}

impl Follow {
    /// The next event; waits for at most `patience`. `Err` if there will be none any more.
    ///
    /// # Errors
    /// Whom it followed is gone.
    pub fn next(&self, patience: Duration) -> Result<Option<Told>, Gone> {
        match self.queue.recv_timeout(patience) {
            Ok(told) => Ok(Some(told)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }

    /// The next event, if there is one.
    #[must_use]
    pub fn ready(&self) -> Option<Told> {
        self.queue.try_recv().ok()
    }

    /// What was lost since this was asked last; `None` if nothing.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        let loss = Loss {
            by_workers: self.losses.by_workers.swap(0, Ordering::Relaxed),
            by_follower: self.losses.by_follower.swap(0, Ordering::Relaxed),
        };
        (loss != Loss::default()).then_some(loss)
    }
}

/// Whom one followed is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

#[cfg(test)]
mod tests {
    use dataplane::address::Address;
    use dataplane::clock::Now;
    use dataplane::flow::{FlowKey, Orientation};
    use dataplane::records::Occasion;
    use dataplane::verdict::{Answer, DraftAnswers, Epoch, RuleId, Verdict, WireId};

    use super::*;

    fn event(port: u16) -> FlowEvent {
        FlowEvent {
            at: Now::default(),
            occasion: Occasion::Opened,
            key: FlowKey {
                wire: WireId(0),
                protocol: 17,
                first: Address::v4([10, 0, 0, 1]),
                second: Address::v4([10, 0, 0, 2]),
                first_port: port,
                second_port: 53,
            },
            initiator: Orientation::FromFirst,
            epoch: Epoch(1),
            verdict: Verdict::Allow,
            gate: None,
            rule: RuleId::FIRST,
            potential: None,
            drafts: DraftAnswers::agreeing(Answer::Allow),
            packets: [0; 2],
            bytes: [0; 2],
            first_seen: 0,
            last_seen: 0,
        }
    }

    #[test]
    fn every_event_is_heard_or_counted_as_lost() {
        let mut followers = Followers::default();
        let (quick, slow) = (followers.add(FOLLOWERS_MAX).unwrap(), followers.add(FOLLOWERS_MAX).unwrap());
        let told = QUEUE as u64 + 5000;
        let mut heard = 0u64;
        for n in 0..told {
            followers.tell(event((n % 60_000) as u16), Timestamp::UNIX_EPOCH);
            heard += u64::from(quick.ready().is_some());
        }
        assert_eq!((heard, quick.loss()), (told, None));
        followers.missed(7);
        let mut behind = 0u64;
        while slow.ready().is_some() {
            behind += 1;
        }
        let loss = slow.loss().unwrap();
        assert_eq!((behind, loss), (told - 5000, Loss { by_workers: 7, by_follower: 5000 }));
        assert_eq!(slow.loss(), None, "told once");
        assert_eq!(quick.loss(), Some(Loss { by_workers: 7, by_follower: 0 }));
    }

    #[test]
    fn there_is_room_for_some_and_those_who_left_make_room() {
        let mut followers = Followers::default();
        let mut all: Vec<Follow> =
            (0..FOLLOWERS_MAX).map(|_| followers.add(FOLLOWERS_MAX).unwrap()).collect();
        assert!(followers.add(FOLLOWERS_MAX).is_none());
        all.pop();
        all.push(followers.add(FOLLOWERS_MAX).unwrap());
        assert!(followers.add(FOLLOWERS_MAX).is_none());
        all.truncate(2);
        assert!(followers.add(2).is_none(), "fewer are allowed");
        all.clear();
        followers.tell(event(1), Timestamp::UNIX_EPOCH);
        assert!(followers.is_empty());
        let last = followers.add(FOLLOWERS_MAX).unwrap();
        drop(followers);
        assert!(last.next(Duration::from_secs(9)).is_err());
    }
}
