//! What the API asks of nodes: handed to the agent of this process, or to the far node that it concerns.
//!
//! Invariant: a node that cannot be asked is said to be away; the others' answers come all the same.

use crate::{
    absent::Absent,
    node::{self, Door, whole},
    peers::{Fellow, Peers},
};
use async_trait::async_trait;
use axum::extract::ws::Message;
use freehold_agent::{
    LogSource,
    remote::protocol::{Answer, Drilled, HandedCall, LogPart, LogsFound, LogsWanted, Started, Want},
};
use freehold_api::{CallDesk, CallLine, LogLines, LogSelection, LogTrail, Merge, NodePort};
use freehold_model::{
    AnyId, Code, InstanceId, InstanceSpec, Node, NodeId, NodeSpec, Problem,
    drill::EgressTry,
    exec::{ExecControl, ExecReport, ExecRequest, STDERR, STDOUT},
    logs::{LogLine, LogPlace, LogQuery, LogStream},
};
use freehold_reconcile::{Store, StoreError, ViewExt as _};
use freehold_runtime::{ExecInput, ExecOutput, ExecSession, logs::LogBatch};
use futures::{StreamExt as _, stream, stream::BoxStream};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// A node says something of a call at once, and then within this.
const SILENCE: Duration = Duration::from_secs(20);
const QUEUE: usize = 32;

/// The nodes as the API reaches them.
pub(crate) struct Dispatch {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) desk: Arc<CallDesk>,
    /// The agent of this process, and its node.
    pub(crate) near: Option<(NodeId, Door)>,
    /// Speaks for nodes that cannot be reached at all.
    pub(crate) absent: Absent,
    /// Control planes that nodes may be connected to instead.
    pub(crate) peers: Peers,
}

impl Dispatch {
    /// The node of an instance: `None` for what is gone or here.
    async fn far(&self, instance: InstanceId) -> Result<Option<(NodeId, String)>, Problem> {
        let view = self.store.view().await.map_err(failed)?;
        let Some(found) = view.find::<InstanceSpec>(instance).map_err(failed)? else { return Ok(None) };
        let node = found.spec.node;
        if self.near.as_ref().is_some_and(|(near, _)| *near == node) {
            return Ok(None);
        }
        let named = view.find::<NodeSpec>(node).map_err(failed)?;
        drop(view);
        // It runs in the process of another control plane: one that no door leads to is away.
        if named.as_ref().is_some_and(|node| !node.status.remote && self.fellows(node).is_empty()) {
            return Err(self.absent.problem(Some(instance)).await);
        }
        Ok(Some((node, named.map_or(node.to_string(), |node| node.name))))
    }

    fn near(&self) -> Result<&Door, Problem> {
        let none = || Problem::new(Code::Conflict, "It runs on no node that this control plane knows.");
        self.near.as_ref().map(|(_, door)| door).ok_or_else(none)
    }

    /// The far nodes whose logs may be meant, and whether each can be asked.
    async fn log_nodes(&self, selection: &LogSelection) -> Result<Vec<(NodeId, String)>, StoreError> {
        let view = self.store.view().await?;
        let mut nodes = view.all::<NodeSpec>(None)?;
        let instances = view.all::<InstanceSpec>(selection.env.map(AnyId::from))?;
        let connected = self.desk.connected();
        let near = self.near.as_ref().map(|(near, _)| *near);
        nodes.retain(|node| {
            let holds = selection.env.is_some() && instances.iter().any(|it| it.spec.node == node.id);
            let reached = connected.contains(&node.id) || !self.fellows(node).is_empty();
            Some(node.id) != near && (reached || holds && node.status.remote)
        });
        Ok(nodes.into_iter().map(|node| (node.id, node.name)).collect())
    }

    /// The control planes through which a node may be reached.
    fn fellows(&self, node: &Node) -> Vec<Fellow> {
        let mut all = self.peers.all();
        all.retain(|it| match node.status.remote {
            true => node.status.heard_by.contains(&it.name),
            false => it.node,
        });
        all
    }

    /// Asks something of a far node: over its own line, or through a control plane that has one.
    async fn call(&self, node: NodeId, name: &str, want: Want) -> Result<CallLine, Problem> {
        let Some(away) = self.desk.away(node, name) else { return self.desk.call(node, name, want).await };
        let view = self.store.view().await.map_err(failed)?;
        let found = view.find::<NodeSpec>(node).map_err(failed)?;
        drop(view);
        let call = HandedCall { name: name.into(), want };
        for fellow in found.map(|node| self.fellows(&node)).unwrap_or_default() {
            match self.peers.call(&fellow, node, &call).await {
                Ok(socket) => return Ok(CallLine::Through(Box::new(socket))),
                Err(error) => tracing::warn!(control = fellow.name, %error, "it cannot be asked"),
            }
        }
        Err(away)
    }

    /// The lines of one far node, and whose there are.
    async fn ask_logs(
        &self,
        (node, name): &(NodeId, String),
        wanted: LogsWanted,
    ) -> Result<(Vec<LogSource>, LogLines), Problem> {
        let mut socket = self.call(*node, name, Want::Logs(wanted)).await?;
        let found: LogsFound = next(&mut socket, name).await?.ok_or_else(|| broke_off(name))?;
        let name = name.clone();
        let lines = stream::unfold(Some((socket, name)), async |state| {
            let (mut socket, name) = state?;
            // Silence is fine here: whoever prints nothing says nothing.
            match read::<LogPart>(&mut socket, &name).await {
                Ok(Some(LogPart { lines, caught_up })) => {
                    Some((Ok(LogBatch { lines, caught_up }), Some((socket, name))))
                }
                Ok(None) => None,
                Err(problem) => Some((Err(problem), None)),
            }
        });
        Ok((found.sources, lines.boxed()))
    }

    /// Every trail there is: those of this process, one of each far node, and a line for each node that is
    /// away.
    async fn trails(
        &self,
        nodes: &[(NodeId, String)],
        selection: &LogSelection,
        query: &LogQuery,
    ) -> Result<Vec<BoxStream<'static, LogTrail>>, Problem> {
        let asked =
            nodes.iter().map(async |node| (node, self.ask_logs(node, wanted(selection, query)).await));
        let (mut sources, mut trails) = (vec![], vec![]);
        for (node, answer) in futures::future::join_all(asked).await {
            let lines = match answer {
                Ok((found, lines)) => {
                    sources.extend(found);
                    lines
                }
                Err(problem) => stream::iter([Ok(self.missing(node.0, selection, &problem).await)]).boxed(),
            };
            trails.push(stream::iter([LogTrail { starts: None, lines }]).boxed());
        }
        if let Some((_, near)) = &self.near {
            sources.extend(near.sources(selection).await);
            trails.push(near.trails(selection.clone(), query.clone()).await?);
        }
        whole(selection, &sources)?;
        Ok(trails)
    }

    /// Says in the log itself that lines of a node are missing.
    async fn missing(&self, node: NodeId, selection: &LogSelection, problem: &Problem) -> LogBatch {
        let read = async {
            let view = self.store.view().await?;
            view.all::<InstanceSpec>(selection.env.map(AnyId::from))
        };
        let instances = read.await.unwrap_or_default();
        let of = instances.into_iter().filter(|it| it.spec.node == node);
        let of =
            of.filter(|it| selection.processes.is_empty() || selection.processes.contains(&it.spec.process));
        let line = of.map(|it| LogLine {
            time: jiff::Timestamp::now(),
            stream: LogStream::System,
            instance: it.id,
            process: it.spec.process,
            next: LogPlace::default(),
            text: format!("its lines are missing here: {}", problem.title),
        });
        LogBatch { lines: line.collect(), caught_up: true }
    }
}

#[async_trait]
impl NodePort for Dispatch {
    async fn logs(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogTrail>, Problem> {
        let nodes = self.log_nodes(&selection).await.map_err(failed)?;
        if nodes.is_empty() {
            return match &self.near {
                Some((_, near)) => near.logs(selection, query).await,
                None => self.absent.logs(selection, query).await,
            };
        }
        let Some(tail) = query.tail else {
            return Ok(stream::select_all(self.trails(&nodes, &selection, &query).await?).boxed());
        };
        // The last lines of all nodes together: each gives as many, and the last of those are taken.
        let began = jiff::Timestamp::now();
        let first = LogQuery { follow: false, ..query.clone() };
        let trails = stream::select_all(self.trails(&nodes, &selection, &first).await?).boxed();
        let (mut lines, mut last) = (VecDeque::new(), BTreeMap::new());
        let mut merged = Merge::new(trails);
        while let Some(line) = merged.next().await {
            let line = line?;
            last.insert(line.instance, line.next);
            lines.push_back(line);
            if lines.len() > tail {
                lines.pop_front();
            }
        }
        let batch = LogBatch { lines: lines.into(), caught_up: true };
        let kept = LogTrail { starts: None, lines: stream::iter([Ok(batch)]).boxed() };
        let kept = stream::iter([kept]).boxed();
        if !query.follow {
            return Ok(kept);
        }
        let rest = LogQuery { tail: None, since: Some(began), after: last, ..query };
        let mut all = self.trails(&nodes, &selection, &rest).await?;
        all.push(kept);
        Ok(stream::select_all(all).boxed())
    }

    async fn drill_egress(
        &self,
        instances: Vec<InstanceId>,
        ports: Vec<(u16, String)>,
    ) -> Result<Vec<EgressTry>, Problem> {
        let (mut near, mut far) = (vec![], BTreeMap::<(NodeId, String), Vec<InstanceId>>::new());
        for instance in instances {
            match self.far(instance).await? {
                Some(node) => far.entry(node).or_default().push(instance),
                None => near.push(instance),
            }
        }
        let mut tries = vec![];
        if !near.is_empty() {
            tries.extend(self.near()?.drill_egress(near, ports.clone()).await?);
        }
        for ((node, name), instances) in far {
            let want = Want::Drill { instances, ports: ports.clone() };
            let mut socket = self.call(node, &name, want).await?;
            let drilled = timeout(Duration::from_secs(120), read::<Drilled>(&mut socket, &name)).await;
            let drilled = drilled.map_err(|_| broke_off(&name))??;
            tries.extend(drilled.ok_or_else(|| broke_off(&name))?.tries);
        }
        Ok(tries)
    }

    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, Problem> {
        let Some((node, name)) = self.far(instance).await? else {
            return match &self.near {
                Some((_, near)) => near.exec(instance, request).await,
                None => self.absent.exec(instance, request).await,
            };
        };
        let mut socket = self.call(node, &name, Want::Exec { instance }).await?;
        let text = serde_json::to_string(&request).map_err(|error| node::internal(&error))?;
        socket.send(Message::Text(text.into())).await.map_err(|_| broke_off(&name))?;
        next::<Started>(&mut socket, &name).await?.ok_or_else(|| broke_off(&name))?;
        let (input, given) = mpsc::channel(QUEUE);
        let (said, output) = mpsc::channel(QUEUE);
        tokio::spawn(converse(socket, given, said, name));
        Ok(ExecSession { input, output })
    }
}

/// Carries a session between the node and whoever asked, until either goes.
async fn converse(
    mut socket: CallLine,
    mut given: mpsc::Receiver<ExecInput>,
    said: mpsc::Sender<ExecOutput>,
    name: String,
) {
    let mut open = true;
    let last = loop {
        tokio::select! {
            () = said.closed() => break None,
            input = given.recv(), if open => {
                let message = match input {
                    Some(ExecInput::Bytes(bytes)) => Message::Binary(bytes.into()),
                    Some(ExecInput::Resize(size)) => control(&ExecControl::Resize(size)),
                    Some(ExecInput::Signal(number)) => control(&ExecControl::Signal(number)),
                    Some(ExecInput::Eof) => control(&ExecControl::Eof),
                    None => {
                        open = false;
                        control(&ExecControl::Eof)
                    }
                };
                if socket.send(message).await.is_err() {
                    break Some(ExecOutput::Failed(format!("the connection to node {name} broke")));
                }
            }
            message = socket.recv() => {
                let output = match message {
                    Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                        Some((&STDOUT, rest)) => ExecOutput::Stdout(rest.to_vec()),
                        Some((&STDERR, rest)) => ExecOutput::Stderr(rest.to_vec()),
                        _ => continue,
                    },
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(ExecReport::Exit(code)) => break Some(ExecOutput::Exit(code)),
                        Ok(ExecReport::Failed(why)) => break Some(ExecOutput::Failed(why)),
                        Err(_) => continue,
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => break Some(ExecOutput::Failed(format!("the connection to node {name} broke"))),
                };
                if said.send(output).await.is_err() {
                    break None;
                }
            }
        }
    };
    if let Some(last) = last {
        let _ = said.send(last).await;
    }
    let _ = socket.send(Message::Close(None)).await;
}

fn control(control: &ExecControl) -> Message {
    Message::Text(serde_json::to_string(control).expect("it is JSON").into())
}

/// The next part of an answer, soon; `None` at its end.
async fn next<T: DeserializeOwned>(socket: &mut CallLine, name: &str) -> Result<Option<T>, Problem> {
    timeout(SILENCE, read(socket, name)).await.map_err(|_| broke_off(name))?
}

async fn read<T: DeserializeOwned>(socket: &mut CallLine, name: &str) -> Result<Option<T>, Problem> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                return match serde_json::from_str::<Answer<T>>(&text) {
                    Ok(Answer::Part(part)) => Ok(Some(part)),
                    Ok(Answer::Problem(problem)) => Err(problem),
                    Err(error) => {
                        tracing::warn!(%error, node = name, "an answer cannot be read");
                        Err(broke_off(name))
                    }
                };
            }
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(_)) => {}
            Some(Err(_)) => return Err(broke_off(name)),
        }
    }
}

fn wanted(selection: &LogSelection, query: &LogQuery) -> LogsWanted {
    let LogSelection { env, processes, instances } = selection.clone();
    let LogQuery { since, until, tail, follow, grep, after } = query.clone();
    let tail = tail.map(|tail| tail as u64);
    LogsWanted { env, processes, instances, since, until, tail, follow, grep, after }
}

fn broke_off(name: &str) -> Problem {
    Problem::new(Code::Unavailable, format!("Node {name} broke off its answer."))
        .hint("Its network or its process may just have gone: try again in a moment.")
}

fn failed(error: impl std::fmt::Display) -> Problem {
    node::internal(&error)
}
