//! IPFIX (RFC 7011): every flow event as one record, in both directions (RFC 5103), with the words of policy as
//! elements of an enterprise of one's own, which the export describes (RFC 5610).

mod element;
mod encoder;
mod message;
mod put;
mod shape;
#[cfg(test)]
mod tests;
mod transport;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::counts::Counts;
use super::thread::{Exporter, Sink};
use super::told::Event;
use super::{ExportError, SceneCell, Settings};
pub use element::{Kind, OWN, OwnElement};
pub use encoder::{Encoder, Statistics};
pub use message::Message;
pub use transport::Protocol;
use transport::{Sent, Transport};

/// The least that a message may be limited to: the longest record fits.
pub const MESSAGE_BYTES_MIN: usize = 1200;

/// How soon templates are sent again when nobody listened.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Where flow events go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The collector.
    pub collector: SocketAddr,
    /// How messages get there.
    pub protocol: Protocol,
    /// The observation domain, 0 to 2^32 - 1.
    pub domain: u32,
    /// The private enterprise number of ringfence's own elements.
    pub enterprise: u32,
    /// The most bytes of a message, [`MESSAGE_BYTES_MIN`] to 65,000.
    pub message_bytes: usize,
    /// How often templates and statistics are sent again.
    pub templates: Duration,
    /// What every exporter is told.
    pub settings: Settings,
}

/// Starts the exporter.
pub(super) fn start(config: &Config, words: (SceneCell, Arc<[String]>)) -> Result<Exporter, ExportError> {
    let target = format!("{} {}", config.protocol.name(), config.collector);
    let counts = Arc::new(Counts::default());
    let transport = Transport::new(config.protocol, config.collector)
        .map_err(|error| ExportError::Socket(target.clone(), error))?;
    let sender = Sender {
        transport,
        encoder: Encoder::new(config.domain, config.enterprise, config.message_bytes),
        counts: Arc::clone(&counts),
        templates: config.templates,
        due: Instant::now(),
        statistics: Statistics::default(),
    };
    Exporter::start(("ipfix", target), &config.settings, words, counts, sender)
        .map_err(|error| ExportError::Thread("ipfix", error))
}

/// What runs on the exporter's thread.
struct Sender {
    transport: Transport,
    encoder: Encoder,
    counts: Arc<Counts>,
    templates: Duration,
    /// When templates are sent next.
    due: Instant,
    statistics: Statistics,
}

impl Sink for Sender {
    fn take(&mut self, event: &Event<'_>) {
        if let Err(error) = self.prepare() {
            self.trouble(&error);
            self.counts.failed(1);
            return;
        }
        self.encoder.flow(event, Timestamp::now());
        let whole = self.encoder.take();
        self.send(&whole);
    }

    fn flush(&mut self) {
        // Templates are sent without events too, so that a collector knows them before it needs them.
        if let Err(error) = self.prepare() {
            self.trouble(&error);
        }
        let whole = self.encoder.finish(Timestamp::now());
        self.send(&whole);
    }

    fn close(&mut self) {
        self.flush();
        self.tell();
        let whole = self.encoder.finish(Timestamp::now());
        self.send(&whole);
    }
}

impl Sender {
    /// Connects if need be, and sends templates and statistics if it is time.
    fn prepare(&mut self) -> io::Result<()> {
        if self.transport.ready()? {
            let lost = self.encoder.restart();
            self.counts.failed(u64::from(lost));
            self.due = Instant::now();
        }
        if Instant::now() >= self.due {
            // What is under way goes first, so that the message of the templates has them at its beginning.
            let now = Timestamp::now();
            let mut whole = self.encoder.finish(now);
            self.encoder.describe(now);
            self.tell();
            whole.extend(self.encoder.finish(now));
            self.due = Instant::now() + self.templates;
            self.send(&whole);
        }
        Ok(())
    }

    /// Appends the statistics, as they are.
    fn tell(&mut self) {
        self.statistics.not_sent = self.counts.lost();
        self.encoder.tell(&self.statistics, Timestamp::now());
    }

    fn send(&mut self, messages: &[Message]) {
        for message in messages {
            match self.transport.send(&message.bytes) {
                Ok(sent) => self.account(message, sent),
                Err(error) => {
                    self.counts.failed(u64::from(message.flows));
                    self.trouble(&error);
                }
            }
        }
    }

    fn account(&mut self, message: &Message, sent: Sent) {
        let flows = u64::from(message.flows);
        self.statistics.messages += 1;
        self.statistics.flows += flows;
        self.statistics.octets += message.bytes.len() as u64;
        self.counts.sent(flows, message.bytes.len());
        match sent {
            Sent::Refused => {
                self.trouble(&ErrorKind::ConnectionRefused.into());
                // Whoever listens next needs the templates first.
                self.due = self.due.min(Instant::now() + AFTER_REFUSAL);
            }
            Sent::Well if self.counts.trouble(None) => tracing::info!("IPFIX reaches the collector again"),
            Sent::Well => {}
        }
    }

    fn trouble(&self, error: &io::Error) {
        // Before the next attempt to connect: why the last one failed is known already.
        if error.kind() != ErrorKind::NotConnected && self.counts.trouble(Some(error.to_string())) {
            tracing::warn!(%error, "IPFIX does not reach the collector; what is not sent is counted");
        }
    }
}
