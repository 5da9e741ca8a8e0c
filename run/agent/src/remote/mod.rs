//! The agent far from its control plane: everything is dialled by the node, nothing listens on it.
//!
//! The daemon's role `node run` makes a [`Link`] and builds on it: [`RemoteControl`] is the agent's port,
//! [`Pulse`] sends heartbeats and registers, [`answer_calls`] does what the control plane asks of the node.
//! Invariant: whatever fails here, what runs on the node goes on.

mod calls;
mod control;
mod dial;
mod images;
mod link;
mod news;
pub mod protocol;
mod pulse;
mod urls;

pub use calls::{Answerer, answer_calls};
pub use control::RemoteControl;
pub use dial::{CallSocket, dial, within};
pub use images::RemoteImages;
pub use link::{Link, LinkConfig, LinkError};
pub use pulse::{HEARTBEAT, Pulse};
pub use urls::{Urls, whole};
