//! The connection of one call, whichever way it goes: dialled by the node to this control plane, or through
//! another one, or within this process.

use axum::extract::ws::{Message, WebSocket};
use freehold_agent::remote::CallSocket;
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::{Message as Other, protocol::CloseFrame};

/// The connection.
pub enum CallLine {
    /// The node dialled it.
    Dialled(Box<WebSocket>),
    /// It was dialled from here, or leads nowhere else.
    Through(Box<CallSocket>),
}

/// It broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl CallLine {
    /// The next message; `None` at the end.
    pub async fn recv(&mut self) -> Option<Result<Message, Broken>> {
        match self {
            CallLine::Dialled(socket) => Some(socket.recv().await?.map_err(|_| Broken)),
            CallLine::Through(socket) => Some(socket.next().await?.map(from_other).map_err(|_| Broken)),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When it broke.
    pub async fn send(&mut self, message: Message) -> Result<(), Broken> {
        match self {
            CallLine::Dialled(socket) => socket.send(message).await.map_err(|_| Broken),
            CallLine::Through(socket) => socket.send(to_other(message)).await.map_err(|_| Broken),
        }
    }

    /// Carries everything between two, until either ends.
    pub(super) async fn join(mut self, mut other: CallLine) {
        loop {
            let (to, message) = tokio::select! {
                message = self.recv() => (&mut other, message),
                message = other.recv() => (&mut self, message),
            };
            let Some(Ok(message)) = message else { break };
            let last = matches!(message, Message::Close(_));
            if to.send(message).await.is_err() || last {
                break;
            }
        }
        let _ = self.send(Message::Close(None)).await;
        let _ = other.send(Message::Close(None)).await;
    }
}

fn from_other(message: Other) -> Message {
    match message {
        Other::Text(text) => Message::Text(text.as_str().into()),
        Other::Binary(bytes) => Message::Binary(bytes),
        Other::Ping(bytes) => Message::Ping(bytes),
        Other::Pong(bytes) => Message::Pong(bytes),
        Other::Close(_) | Other::Frame(_) => Message::Close(None),
    }
}

fn to_other(message: Message) -> Other {
    match message {
        Message::Text(text) => Other::Text(text.as_str().into()),
        Message::Binary(bytes) => Other::Binary(bytes),
        Message::Ping(bytes) => Other::Ping(bytes),
        Message::Pong(bytes) => Other::Pong(bytes),
        Message::Close(_) => Other::Close(None::<CloseFrame>),
    }
}
