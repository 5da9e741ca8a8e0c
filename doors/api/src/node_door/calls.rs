//! The line on which a node waits for calls and for news, and the WebSockets by which it answers calls.

use super::{Door, guard::Caller};
use crate::{
    error::Answer,
    params::{FromParams, Keys, Params},
};
use axum::{
    body::{Body, Bytes},
    extract::{Path, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::header,
    response::{IntoResponse, Response},
};
use freehold_agent::remote::protocol::{Changes, Line};
use freehold_model::{Code, Problem};
use futures::stream;
use std::{convert::Infallible, time::Duration};
use tokio::{sync::watch, time::sleep};

/// So often an empty line says that this side lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(8);
/// No message within a call is larger.
const MAX_MESSAGE: usize = 4 << 20;

/// Whether the node wants to be told of changes on its line.
pub(super) struct Listening {
    changes: bool,
}

impl FromParams for Listening {
    fn from_params(keys: &mut Keys) -> Self {
        Listening { changes: keys.flag("changes") }
    }
}

/// Sends calls and news, a line each, until either side goes.
pub(super) async fn listen(
    State(door): State<Door>,
    Caller(node): Caller,
    Params(wanted): Params<Listening>,
) -> Response {
    let line = door.calls.open(node);
    let mut changes = wanted.changes.then(|| door.hall.changes(node));
    let mut ready = door.ready.clone();
    let stopping = Box::pin(async move {
        let _ = ready.wait_for(|ready| !*ready).await;
    });
    // Tells the node at once that the line is open, and what is so by now.
    let first = changes.as_mut().map_or_else(|| Bytes::from_static(b"\n"), now);
    let lines = stream::unfold((line, stopping, changes, Some(first)), async |mut open| {
        let (line, stopping, changes, first) = &mut open;
        let bytes = match first.take() {
            Some(first) => first,
            None => tokio::select! {
                () = stopping => return None,
                call = line.calls.recv() => text(&Line::Call(call?)),
                said = said(changes) => said,
                () = sleep(SIGN_OF_LIFE) => Bytes::from_static(b"\n"),
            },
        };
        Some((Ok::<_, Infallible>(bytes), open))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// The next change.
async fn said(changes: &mut Option<watch::Receiver<Changes>>) -> Bytes {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return now(changes);
    }
    std::future::pending().await
}

fn now(changes: &mut watch::Receiver<Changes>) -> Bytes {
    text(&Line::Changes { changes: *changes.borrow_and_update() })
}

fn text(line: &Line) -> Bytes {
    let mut text = serde_json::to_vec(line).expect("a line has texts for keys");
    text.push(b'\n');
    text.into()
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
