//! `POST /v1/capture`: frames as they pass or are dropped, as a pcapng file that grows until the capture ends.
//!
//! Frames carry what people said to each other, so this needs the right to capture and not only that to read: see
//! [`super::access`]. A helper thread takes the copies, gives them their words and waits for the client; a client that
//! is too slow loses copies, counted in the file, and one that takes nothing for `socket.timeout` is cut off.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::ToSchema;

use super::App;
use super::body::json;
use super::error::{ApiError, ErrorBody};
use crate::engine::{Capture, CaptureError};
use crate::observe::capture::Request;

/// Pieces of the file that wait for a client.
const PIECES: usize = 4;
/// How often copies are taken.
const PACE: Duration = Duration::from_millis(20);
/// How often the counts are told, which shows too whether the client is still there.
const COUNTS: Duration = Duration::from_secs(1);

/// What became of a request to end the capture.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ended {
    /// Whether one ran. Its file ends within a second.
    pub ended: bool,
}

impl From<CaptureError> for ApiError {
    fn from(error: CaptureError) -> Self {
        let message = error.to_string();
        match error {
            CaptureError::Request(_) => Self::bad_request(message),
            CaptureError::NoWire => Self::new(StatusCode::CONFLICT, "no_wire", message),
            CaptureError::Busy => Self::new(StatusCode::CONFLICT, "capturing", message),
        }
    }
}

/// Captures frames, one capture at a time. Its file ends when a limit is reached, when it is ended, or with the client.
#[utoipa::path(post, path = "/v1/capture", request_body = Request, responses(
    (status = 200, description = "A pcapng file", body = Vec<u8>, content_type = "application/x-pcapng"),
    (status = 400, description = "The request makes no sense", body = ErrorBody),
    (status = 409, description = "Another capture runs, or there is no wire", body = ErrorBody),
))]
pub(super) async fn capture(State(app): State<App>, body: Bytes) -> Result<Response, ApiError> {
    let request: Request = json(&body)?;
    let mut head = Vec::new();
    let capture = app.engine.capture(&request, app.wires.ports(), &mut head)?;
    let (sender, pieces) = channel(PIECES);
    tokio::task::spawn_blocking(move || run(capture, head, &sender));
    let kind = [(header::CONTENT_TYPE, "application/x-pcapng")];
    Ok((kind, Body::new(File(pieces))).into_response())
}

/// Ends the capture that runs, its file whole.
#[utoipa::path(delete, path = "/v1/capture", responses((status = 200, body = Ended)))]
pub(super) async fn end(State(app): State<App>) -> Json<Ended> {
    Json(Ended { ended: app.engine.end_capture() })
}

/// Until the capture is over or its client gone.
fn run(mut capture: Capture, mut out: Vec<u8>, sender: &Sender<Bytes>) {
    let mut told = Instant::now();
    loop {
        let goes_on = capture.go_on(&mut out);
        if told.elapsed() >= COUNTS {
            told = Instant::now();
            capture.statistics(&mut out);
        }
        if !out.is_empty() && sender.blocking_send(std::mem::take(&mut out).into()).is_err() {
            return;
        }
        if !goes_on {
            break;
        }
        std::thread::sleep(PACE);
    }
    capture.end(&mut out);
    // A client that is gone does not miss it.
    let _ = sender.blocking_send(out.into());
}

/// The file as the body of an answer.
struct File(Receiver<Bytes>);

impl hyper::body::Body for File {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
