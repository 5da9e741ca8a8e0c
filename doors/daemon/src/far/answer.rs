//! Answers what a control plane asks of this node: logs, exec, drills, and what endpoints carry.

use crate::node::Door;
use async_trait::async_trait;
use freehold_agent::{
    LogSource,
    remote::{
        Answerer, CallSocket,
        protocol::{AccessPart, Answer, Carried, Drilled, LogPart, LogsFound, LogsWanted, Started, Want},
    },
};
use freehold_api::{LogSelection, Merge, NodePort as _};
use freehold_edge::Observer;
use freehold_model::{
    Code, InstanceId, Problem,
    exec::{ExecControl, ExecReport, ExecRequest, STDERR, STDOUT},
    logs::{LogLine, LogQuery},
};
use freehold_runtime::{ExecInput, ExecOutput, ExecSession};
use futures::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Lines are sent in chunks of at most so many.
const CHUNK: usize = 256;
/// After so long without a line, that is all for now.
const LULL: Duration = Duration::from_millis(60);
/// How long the other side may take until it says what to run.
const HELLO: Duration = Duration::from_secs(10);

/// Who answers.
pub(crate) struct Answers {
    pub(crate) door: Door,
    pub(crate) edge: Observer,
}

#[async_trait]
impl Answerer for Answers {
    async fn answer(&self, want: Want, mut socket: CallSocket) {
        // When the other side goes, there is nobody to tell.
        let _ = match want {
            Want::Logs(wanted) => self.logs(wanted, &mut socket).await,
            Want::Exec { instance } => self.exec(instance, &mut socket).await,
            Want::Drill { instances, ports } => {
                let tries = self.door.drill_egress(instances, ports).await;
                send(&mut socket, tries.map(|tries| Drilled { tries })).await
            }
            Want::Traffic { endpoint } => {
                let traffic = self.edge.traffic(endpoint);
                send(&mut socket, Ok(Carried { traffic })).await
            }
            Want::Access { endpoint, query } => {
                let mut chunks = self.edge.access(endpoint, query);
                loop {
                    let Some(chunk) = chunks.recv().await else { break Some(()) };
                    let part = chunk.map(|lines| AccessPart { lines });
                    let part = part.map_err(|error| Problem::new(Code::Internal, error.to_string()));
                    if send(&mut socket, part).await.is_none() {
                        break None;
                    }
                }
            }
            Want::Unknown => {
                let title = "The node's Freehold is too old for this.";
                let problem = Problem::new(Code::NotYet, title).hint("Update it, then try again.");
                send::<()>(&mut socket, Err(problem)).await
            }
        };
        let _ = socket.close(None).await;
    }
}

impl Answers {
    async fn logs(&self, wanted: LogsWanted, socket: &mut CallSocket) -> Option<()> {
        let follow = wanted.follow;
        let (selection, query) = question(wanted);
        let sources: Vec<LogSource> = self.door.sources(&selection).await;
        send(socket, Ok(LogsFound { sources })).await?;
        let trails = match self.door.trails(selection, query).await {
            Ok(trails) => trails,
            Err(problem) => return send::<()>(socket, Err(problem)).await,
        };
        let mut lines = Merge::new(trails).ready_chunks(CHUNK);
        let mut told = false;
        loop {
            let chunk = tokio::select! {
                chunk = lines.next() => chunk,
                message = socket.next() => match message {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => return None,
                },
                () = tokio::time::sleep(LULL), if follow && !told => {
                    told = true;
                    send(socket, Ok(LogPart { lines: vec![], caught_up: true })).await?;
                    continue;
                }
            };
            let Some(chunk) = chunk else { return Some(()) };
            told = false;
            let lines: Result<Vec<LogLine>, Problem> = chunk.into_iter().collect();
            let failed = lines.is_err();
            send(socket, lines.map(|lines| LogPart { lines, caught_up: false })).await?;
            if failed {
                return Some(());
            }
        }
    }

    async fn exec(&self, instance: InstanceId, socket: &mut CallSocket) -> Option<()> {
        let first = timeout(HELLO, socket.next()).await.ok()??;
        let request: Result<ExecRequest, String> = match first {
            Ok(Message::Text(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            _ => Err("the first message is no text".into()),
        };
        let session = match request {
            Ok(request) => self.door.exec(instance, request).await,
            Err(why) => Err(Problem::new(Code::Invalid, "The node cannot read the request.").detail(why)),
        };
        match session {
            Ok(session) => {
                send(socket, Ok(Started {})).await?;
                converse(session, socket).await
            }
            Err(problem) => send::<()>(socket, Err(problem)).await,
        }
    }
}

/// Until the command has ended or the other side has gone, which ends the command.
async fn converse(session: ExecSession, socket: &mut CallSocket) -> Option<()> {
    let ExecSession { input, mut output } = session;
    let mut input = Some(input);
    loop {
        tokio::select! {
            said = output.recv() => {
                let report = match said {
                    Some(ExecOutput::Stdout(bytes)) => {
                        socket.send(framed(STDOUT, &bytes)).await.ok()?;
                        continue;
                    }
                    Some(ExecOutput::Stderr(bytes)) => {
                        socket.send(framed(STDERR, &bytes)).await.ok()?;
                        continue;
                    }
                    Some(ExecOutput::Exit(code)) => ExecReport::Exit(code),
                    Some(ExecOutput::Failed(why)) => ExecReport::Failed(why),
                    None => ExecReport::Failed("the command ended, nobody saw how".into()),
                };
                let text = serde_json::to_string(&report).expect("a report is JSON");
                return socket.send(Message::Text(text.into())).await.ok();
            }
            message = socket.next() => {
                let given = match message?.ok()? {
                    Message::Binary(bytes) => ExecInput::Bytes(bytes.to_vec()),
                    Message::Text(text) => match serde_json::from_str(&text) {
                        Ok(ExecControl::Eof) => ExecInput::Eof,
                        Ok(ExecControl::Resize(size)) => ExecInput::Resize(size),
                        Ok(ExecControl::Signal(number)) => ExecInput::Signal(number),
                        Err(_) => continue,
                    },
                    Message::Close(_) => return None,
                    _ => continue,
                };
                if let Some(to) = &input && to.send(given).await.is_err() {
                    // It has ended; its exit code is on its way.
                    input = None;
                }
            }
        }
    }
}

fn framed(stream: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(stream);
    message.extend_from_slice(bytes);
    Message::Binary(message.into())
}

fn question(wanted: LogsWanted) -> (LogSelection, LogQuery) {
    let LogsWanted { env, processes, instances, since, until, tail, follow, grep, after } = wanted;
    let tail = tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX));
    (LogSelection { env, processes, instances }, LogQuery { since, until, tail, follow, grep, after })
}

async fn send<T: Serialize>(socket: &mut CallSocket, part: Result<T, Problem>) -> Option<()> {
    let answer = match part {
        Ok(part) => Answer::Part(part),
        Err(problem) => Answer::Problem(problem),
    };
    let text = serde_json::to_string(&answer).expect("answers have texts for keys");
    socket.send(Message::Text(text.into())).await.ok()
}
