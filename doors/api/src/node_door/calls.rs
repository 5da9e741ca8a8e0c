//! The line on which a node waits for calls, and the WebSockets by which it answers them.

use super::{Door, guard::Caller};
use crate::error::Answer;
use axum::{
    body::{Body, Bytes},
    extract::{Path, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::header,
    response::{IntoResponse, Response},
};
use freehold_model::{Code, Problem};
use futures::stream;
use std::{convert::Infallible, time::Duration};
use tokio::time::sleep;

/// So often an empty line says that this side lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(8);
/// No message within a call is larger.
const MAX_MESSAGE: usize = 4 << 20;

/// Sends calls, a line each, until either side goes.
pub(super) async fn listen(State(door): State<Door>, Caller(node): Caller) -> Response {
    let line = door.calls.open(node);
    let mut ready = door.ready.clone();
    let stopping = Box::pin(async move {
        let _ = ready.wait_for(|ready| !*ready).await;
    });
    let lines = stream::unfold((line, stopping, true), async |(mut line, mut stopping, first)| {
        let bytes = if first {
            // Tells the node at once that the line is open.
            Bytes::from_static(b"\n")
        } else {
            tokio::select! {
                () = &mut stopping => return None,
                call = line.calls.recv() => {
                    let mut text = serde_json::to_vec(&call?).expect("a call has texts for keys");
                    text.push(b'\n');
                    text.into()
                }
                () = sleep(SIGN_OF_LIFE) => Bytes::from_static(b"\n"),
            }
        };
        Some((Ok::<_, Infallible>(bytes), (line, stopping, false)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// The node answers a call.
pub(super) async fn answer(
    State(door): State<Door>,
    Caller(node): Caller,
    Path(id): Path<String>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let upgrade = upgrade.map_err(|refusal| {
        Problem::new(Code::Invalid, "This route speaks WebSocket alone.").detail(refusal.body_text())
    })?;
    let waiting = door.calls.claim(node, &id);
    let waiting = waiting
        .ok_or_else(|| Problem::new(Code::NotFound, "Nobody waits for an answer to that call any more."))?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(async move |socket| {
        // Whoever called may be gone by now; then so is the socket.
        let _ = waiting.send(socket);
    }))
}
