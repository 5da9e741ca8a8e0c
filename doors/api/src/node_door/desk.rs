//! The desk for calls: which nodes hold a line open, and who waits for which answer.
//!
//! The handlers put lines and answers in; the daemon calls through [`CallDesk::call`]. Invariant: an answer
//! reaches only the call it is for, and only from the node that was called.

use super::CallLine;
use axum::extract::ws::WebSocket;
use freehold_agent::remote::{
    Answerer,
    protocol::{Call, Want},
    within,
};
use freehold_model::{Code, NodeId, Problem};
use freehold_reconcile::ports::{Ids as _, SystemIds};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// A node has so long to dial.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many calls wait on a line; a node takes them at once.
const QUEUE: usize = 64;

/// All lines.
#[derive(Default)]
pub struct CallDesk(Mutex<State>);

#[derive(Default)]
struct State {
    /// Of each node, the newest last: one that has several addresses for us holds several.
    lines: BTreeMap<NodeId, Vec<(u64, Calls)>>,
    left: BTreeMap<NodeId, Timestamp>,
    waiting: BTreeMap<String, (NodeId, oneshot::Sender<WebSocket>)>,
    serial: u64,
    near: Option<Near>,
}

/// What goes out on a line. Boxed: a queue has room for 32 of them at once, and is mostly empty.
type Calls = mpsc::Sender<Box<Call>>;

/// The node that runs in this process, and who answers for it.
type Near = (NodeId, Arc<dyn Answerer>);

/// An open line; dropped, it is closed.
pub(super) struct Line {
    desk: Arc<CallDesk>,
    node: NodeId,
    serial: u64,
    pub(super) calls: mpsc::Receiver<Box<Call>>,
}

impl CallDesk {
    /// The nodes that can be called now.
    pub fn connected(&self) -> Vec<NodeId> {
        self.lock().lines.keys().copied().collect()
    }

    /// Asks something of the node that people call `name`, and waits until it has dialled.
    ///
    /// # Errors
    /// A problem as the user shall see it: the node is not connected, or does not dial.
    pub async fn call(&self, node: NodeId, name: &str, want: Want) -> Result<CallLine, Problem> {
        let near = self.lock().near.clone().filter(|(near, _)| *near == node);
        if let Some((_, answerer)) = near {
            let (asks, answers) = within().await;
            tokio::spawn(async move { answerer.answer(want, answers).await });
            return Ok(CallLine::Through(Box::new(asks)));
        }
        let id = SystemIds.ulid().to_string();
        let (send, answered) = oneshot::channel();
        let line = {
            let mut state = self.lock();
            let line = state.lines.get(&node).and_then(|lines| lines.last()).map(|(_, line)| line.clone());
            let line = line.ok_or_else(|| away(name, state.left.get(&node)))?;
            state.waiting.insert(id.clone(), (node, send));
            line
        };
        let _forgotten = Forget(self, id.clone());
        let silent = || {
            Problem::new(Code::Unavailable, format!("Node {name} does not answer."))
                .hint("It waits for calls, but does not dial back: see its log and its network.")
        };
        line.try_send(Box::new(Call { id, want })).map_err(|_| silent())?;
        let dialled = timeout(PATIENCE, answered).await.map_err(|_| silent())?.map_err(|_| silent())?;
        Ok(CallLine::Dialled(Box::new(dialled)))
    }

    /// A node runs in this process: calls for it need no line.
    pub fn seat(&self, node: NodeId, answerer: Arc<dyn Answerer>) {
        self.lock().near = Some((node, answerer));
    }

    /// Why a node cannot be called, if it cannot.
    pub fn away(&self, node: NodeId, name: &str) -> Option<Problem> {
        let state = self.lock();
        (!state.lines.contains_key(&node)).then(|| away(name, state.left.get(&node)))
    }

    /// A node holds a line open. Calls go out on its newest.
    pub(super) fn open(self: &Arc<CallDesk>, node: NodeId) -> Line {
        let (send, calls) = mpsc::channel(QUEUE);
        let mut state = self.lock();
        state.serial += 1;
        let serial = state.serial;
        state.lines.entry(node).or_default().push((serial, send));
        Line { desk: Arc::clone(self), node, serial, calls }
    }

    /// Who waits for that call, if that node was called.
    pub(super) fn claim(&self, node: NodeId, id: &str) -> Option<oneshot::Sender<WebSocket>> {
        let mut state = self.lock();
        if state.waiting.get(id).is_none_or(|(called, _)| *called != node) {
            return None;
        }
        state.waiting.remove(id).map(|(_, waiting)| waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        let Some(lines) = state.lines.get_mut(&self.node) else { return };
        lines.retain(|(serial, _)| *serial != self.serial);
        if lines.is_empty() {
            state.lines.remove(&self.node);
            state.left.insert(self.node, Timestamp::now());
        }
    }
}

/// Nobody waits any more.
struct Forget<'d>(&'d CallDesk, String);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.remove(&self.1);
    }
}

fn away(name: &str, left: Option<&Timestamp>) -> Problem {
    let since = match left {
        Some(left) => format!("since {left:.0}"),
        None => "since this control plane started".into(),
    };
    Problem::new(Code::Unavailable, format!("Node {name} is not connected {since}.")).hint(
        "What runs on it goes on. See that `freehold node run` runs there and reaches the control plane.",
    )
}
