//! What control planes ask of each other: a call for a node that is connected here, and images that lie here.
//! Each shows its own certificate of the house; no machine's opens these.

use super::{CallLine, Door, guard::Fellow};
use crate::{error::Answer, extract::Id};
use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use freehold_agent::remote::protocol::{Answer as Said, HandedCall};
use freehold_model::{Code, NodeId, Problem};
use std::time::Duration;
use tokio::time::timeout;

/// How long the other side may take until it says what is wanted.
const HELLO: Duration = Duration::from_secs(10);
/// No message within a call is larger.
const MAX_MESSAGE: usize = 4 << 20;

/// Hands a call on to a node that is connected here, and its answer back.
pub(super) async fn call(
    State(door): State<Door>,
    _: Fellow,
    Id(node): Id<NodeId>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let upgrade = upgrade.map_err(|refusal| {
        Problem::new(Code::Invalid, "This route speaks WebSocket alone.").detail(refusal.body_text())
    })?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(async move |socket| hand_on(&door, node, socket).await))
}

async fn hand_on(door: &Door, node: NodeId, mut socket: WebSocket) {
    let Ok(Some(Ok(Message::Text(text)))) = timeout(HELLO, socket.recv()).await else { return };
    let called = match serde_json::from_str::<HandedCall>(&text) {
        Ok(HandedCall { name, want }) => door.calls.call(node, &name, want).await,
        Err(error) => Err(Problem::new(Code::Invalid, "The call cannot be read.").detail(error.to_string())),
    };
    match called {
        Ok(line) => CallLine::Dialled(Box::new(socket)).join(line).await,
        Err(problem) => {
            let text = serde_json::to_string(&Said::<()>::Problem(problem)).expect("a problem is JSON");
            let _ = socket.send(Message::Text(text.into())).await;
        }
    }
}
