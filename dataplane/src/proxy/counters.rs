//! What a proxy worker counts beside what every worker does.
//!
//! `accepted + early = opened + refused + pending`, and `opened = ended + live`: every connection has exactly one fate.

use crate::counters::Counter;

macro_rules! closed_list {
    ($(#[doc = $about:literal])+ $list:ident { $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $list { $($(#[doc = $doc])+ $variant,)+ }

        impl $list {
            /// All, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name: in counters, JSON and on the terminal.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

closed_list! {
    /// Why an accepted connection was never relayed. Closed, one counter each.
    Refusal {
        /// No policy has been published yet.
        NoPolicy = "no_policy",
        /// Policy denies it; the rule or default is recorded.
        Policy = "policy",
        /// Policy denies it by a rule that has the client told.
        Rejected = "rejected",
        /// Its source has as many connections as one source may have.
        SourceLimit = "source_limit",
        /// The flow table has no room for it.
        FlowTableFull = "flow_table_full",
        /// A trusted peer did not begin with a valid PROXY header.
        HeaderInvalid = "header_invalid",
        /// A trusted peer took too long to send its PROXY header.
        HeaderTimeout = "header_timeout",
        /// The firewall did not say where the client wanted to connect to, or it is this listener.
        NoDestination = "no_destination",
        /// No back end is healthy.
        NoBackend = "no_backend",
        /// Every back end refused the connection or could not be reached.
        ConnectFailed = "connect_failed",
        /// No back end accepted in time.
        ConnectTimeout = "connect_timeout",
        /// The client went away before it was relayed.
        ClientGone = "client_gone",
        /// This process had no file, port or buffer left for it.
        Resources = "resources",
        /// A newer policy denies it, before it was relayed.
        Revoked = "revoked",
        /// The proxy stopped.
        Stopped = "stopped",
    }
}

closed_list! {
    /// How a relayed connection ended. Closed, one counter each.
    Fate {
        /// Both ends closed.
        Finished = "finished",
        /// The client reset it.
        ClientReset = "client_reset",
        /// The server reset it.
        ServerReset = "server_reset",
        /// Nothing was said for too long.
        IdleTimeout = "idle_timeout",
        /// An end took nothing of what waited for it for too long.
        Stalled = "stalled",
        /// Slow readers held all buffers, and this was the slowest.
        Evicted = "evicted",
        /// Policy no longer allows it.
        Revoked = "revoked",
        /// The proxy stopped.
        Stopped = "stopped",
    }
}

/// Counts of one back end at one worker.
#[derive(Debug, Default)]
pub struct BackendCounters {
    /// Connections to it at this moment.
    pub live: Counter,
    /// Connections that it accepted.
    pub connected: Counter,
    /// Connections that it refused, or that failed otherwise before they stood.
    pub failed: Counter,
}

/// All counts of one proxy worker. Only that worker writes; anybody reads.
#[derive(Debug)]
#[repr(align(128))]
pub struct ProxyCounters {
    /// Connections accepted from clients.
    pub accepted: Counter,
    /// Connections that the kernel refused for it, because policy had denied one like it: never accepted, and counted as
    /// refused like any other.
    pub early: Counter,
    /// Connections accepted that are neither relayed nor refused yet.
    pub pending: Counter,
    /// Connections relayed at this moment.
    pub live: Counter,
    /// Connections that were relayed.
    pub opened: Counter,
    /// Bytes taken from clients.
    pub from_clients: Counter,
    /// Bytes taken from servers.
    pub from_servers: Counter,
    /// Bytes of both that went through pipes.
    pub spliced: Counter,
    /// Directions that found no pipe free and went on through buffers.
    pub pipes_exhausted: Counter,
    /// Buffers that hold bytes at this moment.
    pub buffers_used: Counter,
    /// Times the connection limit kept clients waiting in the listener's queue.
    pub accepts_paused: Counter,
    /// Turns of the loop.
    pub turns: Counter,
    refused: [Counter; Refusal::COUNT],
    ended: [Counter; Fate::COUNT],
    backends: Box<[BackendCounters]>,
}

impl ProxyCounters {
    /// For a proxy with so many back ends.
    #[must_use]
    pub fn new(backends: usize) -> Self {
        Self {
            accepted: Counter::default(),
            early: Counter::default(),
            pending: Counter::default(),
            live: Counter::default(),
            opened: Counter::default(),
            from_clients: Counter::default(),
            from_servers: Counter::default(),
            spliced: Counter::default(),
            pipes_exhausted: Counter::default(),
            buffers_used: Counter::default(),
            accepts_paused: Counter::default(),
            turns: Counter::default(),
            refused: core::array::from_fn(|_| Counter::default()),
            ended: core::array::from_fn(|_| Counter::default()),
            backends: (0..backends).map(|_| BackendCounters::default()).collect(),
        }
    }

    /// Connections refused for `refusal`.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> &Counter {
        &self.refused[refusal as usize]
    }

    /// Relayed connections that ended by `fate`.
    #[must_use]
    pub fn ended(&self, fate: Fate) -> &Counter {
        &self.ended[fate as usize]
    }

    /// Counts of the back end with this number, if there is one.
    #[must_use]
    pub fn backend(&self, number: usize) -> Option<&BackendCounters> {
        self.backends.get(number)
    }

    /// Connections that have no counted fate; not 0 between turns would be a defect.
    #[must_use]
    pub fn unaccounted(&self) -> i128 {
        let sum = |counters: &[Counter]| counters.iter().map(|count| i128::from(count.get())).sum::<i128>();
        let attempts = i128::from(self.accepted.get()) + i128::from(self.early.get())
            - i128::from(self.opened.get())
            - i128::from(self.pending.get())
            - sum(&self.refused);
        let relayed = i128::from(self.opened.get()) - i128::from(self.live.get()) - sum(&self.ended);
        attempts.abs() + relayed.abs()
    }
}
