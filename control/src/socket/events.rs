//! `GET /v1/events`: flows as they begin, end and are denied, one JSON object a line, until the client goes away.
//!
//! A helper thread of each follower does the filtering and the words, and waits for its client; the control thread
//! only puts events into the follower's bounded queue. What did not fit is counted, and told as a line of its own
//! (`lost`), so that a reader knows what the stream does not show. A client that takes nothing for `socket.timeout` is
//! cut off, as any other.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dataplane::records::{FlowEvent, Occasion};
use hyper::body::Frame;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::ToSchema;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::filter::{Called, Facts, Filter, Wanted};
use super::read::Ask;
use super::view::FlowEnd;
use crate::engine::Engine;
use crate::observe::follow::{FOLLOWERS_MAX, Follow};
use crate::observe::live::Ends;
use crate::observe::names::service_name;

/// Bytes of lines that are sent as one.
const CHUNK: usize = 32 << 10;
/// Chunks that wait for a client.
const CHUNKS: usize = 4;
/// How often it is looked whether the client is still there, and whether something was lost.
const LOOK: Duration = Duration::from_millis(200);

/// One line of the stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum EventLine {
    /// The first line: events from now on follow.
    Following {
        /// When.
        #[schema(value_type = String)]
        at: Timestamp,
    },
    /// A flow was allowed and is remembered from now on.
    Opened(FlowLine),
    /// A newer policy was asked about a live flow.
    Redecided(FlowLine),
    /// A flow lives; its counters are what passed since it was told last.
    Updated(FlowLine),
    /// A flow is over; its counters are what passed since it was told last.
    Ended(FlowLine),
    /// A packet asked for a flow that policy denies.
    Denied(FlowLine),
    /// Events that are missing here, of any flow, whether it is asked for or not.
    Lost {
        /// When that was noticed.
        #[schema(value_type = String)]
        at: Timestamp,
        /// The workers had no room for so many; the flow records miss them too.
        by_workers: u64,
        /// The client was too slow for so many.
        by_client: u64,
    },
}

/// A flow at that moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowLine {
    /// When.
    #[schema(value_type = String)]
    at: Timestamp,
    /// The wire.
    wire: String,
    /// Who opened it, or tried to.
    source: FlowEnd,
    /// To whom.
    destination: FlowEnd,
    /// The service, as `tcp/443`.
    service: String,
    /// `allow`, `deny` or `reject`.
    verdict: &'static str,
    /// The gate that decided, `egress` or `ingress`, where that is still known.
    gate: Option<&'static str>,
    /// The rule or default that decided.
    rule: Option<String>,
    /// The rule or default that would have denied it, were its endpoint enforced.
    potential: Option<String>,
    /// The epoch it was decided under.
    epoch: u32,
    /// How it ended: `finished`, `reset`, `timed-out`, `evicted` or `cut`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<&'static str>,
    /// Packets from source to destination, and back.
    packets: [u64; 2],
    /// Bytes from source to destination, and back.
    bytes: [u64; 2],
}

/// Flow events as they happen, one JSON object a line; at most 8 followers at a time. With `limit`, the stream ends
/// after so many flows.
#[utoipa::path(get, path = "/v1/events", params(Filter), responses(
    (status = 200, description = "Lines until the client goes away", body = EventLine,
     content_type = "application/x-ndjson"),
    (status = 400, description = "The filter cannot be understood", body = ErrorBody),
    (status = 429, description = "Too many follow already", body = ErrorBody),
))]
pub(super) async fn events(State(app): State<App>, Ask(filter): Ask<Filter>) -> Result<Response, ApiError> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    let wanted = filter.unsorted()?.check(app.engine.wire_names())?;
    // Others must be able to connect, whoever follows.
    let max = FOLLOWERS_MAX.min(app.connections / 2);
    let follow = app.engine.follow_flows(max).ok_or_else(|| {
        let message = format!(
            "at most {max} clients may follow events at a time: 8, and half of `socket.connections`; end one of them"
        );
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_followers", message)
    })?;
    let (sender, lines) = channel(CHUNKS);
    let engine = Arc::clone(&app.engine);
    tokio::task::spawn_blocking(move || Stream { engine, wanted, follow, sender, left: limit }.run());
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(Lines(lines))).into_response())
}

/// A follower's thread.
struct Stream {
    engine: Arc<Engine>,
    wanted: Wanted,
    follow: Follow,
    sender: Sender<Bytes>,
    /// Flows to tell yet.
    left: usize,
}

impl Stream {
    /// Until the client, or the daemon, is gone, or enough is told.
    fn run(mut self) {
        let mut buffer = Vec::with_capacity(CHUNK);
        write(&mut buffer, &EventLine::Following { at: Timestamp::now() });
        loop {
            if let Some(loss) = self.follow.loss() {
                let (by_workers, by_client) = (loss.by_workers, loss.by_follower);
                write(&mut buffer, &EventLine::Lost { at: Timestamp::now(), by_workers, by_client });
            }
            if !buffer.is_empty() && self.sender.blocking_send(std::mem::take(&mut buffer).into()).is_err() {
                return;
            }
            if self.left == 0 || self.sender.is_closed() {
                return;
            }
            let Ok(mut next) = self.follow.next(LOOK) else { return };
            // One look at the policy in force for each chunk of lines.
            let called = Called::now(&self.engine);
            while let Some((event, at)) = next.filter(|_| self.left > 0) {
                if let Some(line) = self.line(&called, &event, at) {
                    write(&mut buffer, &line);
                    self.left -= 1;
                }
                next = if buffer.len() < CHUNK { self.follow.ready() } else { None };
            }
        }
    }

    fn line(&self, called: &Called, event: &FlowEvent, at: Timestamp) -> Option<EventLine> {
        let ends = Ends::of_key(&event.key, event.initiator);
        let facts = Facts {
            ends: [ends.source, ends.destination],
            service: ends.service,
            verdict: event.verdict.name(),
            is_potential: event.potential.is_some(),
            wire: Some(event.key.wire),
        };
        if !self.wanted.admits(&facts) {
            return None;
        }
        let source = called.end(ends.source, ends.ports[0]);
        let destination = called.end(ends.destination, ends.ports[1]);
        let named = |rule| self.engine.rule_name(event.epoch, rule);
        let (rule, potential) = (named(event.rule), event.potential.and_then(named));
        if !self.wanted.admits_ends([&source, &destination])
            || !self.wanted.admits_rule(rule.as_deref(), potential.as_deref())
        {
            return None;
        }
        let forward = event.initiator.index();
        let both = |counts: [u64; 2]| [counts[forward], counts[1 - forward]];
        let ending = match event.occasion {
            Occasion::Ended(ending) => Some(ending.name()),
            _ => None,
        };
        let line = FlowLine {
            at,
            wire: self.engine.wire_name(event.key.wire).to_owned(),
            source,
            destination,
            service: service_name(ends.service),
            verdict: event.verdict.name(),
            gate: event.gate.map(dataplane::verdict::Gate::name),
            rule,
            potential,
            epoch: event.epoch.0,
            ending,
            packets: both(event.packets),
            bytes: both(event.bytes),
        };
        Some(match event.occasion {
            Occasion::Opened => EventLine::Opened(line),
            Occasion::Redecided => EventLine::Redecided(line),
            Occasion::Updated => EventLine::Updated(line),
            Occasion::Ended(_) => EventLine::Ended(line),
            Occasion::Denied => EventLine::Denied(line),
        })
    }
}

fn write(buffer: &mut Vec<u8>, line: &EventLine) {
    // Writing to memory cannot fail, and every field can be written.
    if serde_json::to_writer(&mut *buffer, line).is_ok() {
        buffer.push(b'\n');
    }
}

/// The chunks as a body.
struct Lines(Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests;
