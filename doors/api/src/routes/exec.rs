//! One more command inside an instance, over a WebSocket; the protocol is described in `model::exec`.
//!
//! What can be refused is refused before the upgrade, as a problem. The start of every command is an
//! event in the audit trail: program and number of arguments, never the arguments, which may be secrets.

use super::resources::missing;
use crate::{
    error::Answer,
    extract::Id,
    params::{NoParams, Params},
    state::Api,
    streams::Long,
    who::{Caller, Who},
};
use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use freehold_deploy::instance_demands;
use freehold_model::{
    Code, InstanceId, InstanceSpec, Phase, Problem, Txn,
    exec::{ExecControl, ExecReport, ExecRequest, STDERR, STDOUT},
};
use freehold_reconcile::ViewExt as _;
use freehold_runtime::{ExecInput, ExecOutput, ExecSession};
use futures::{SinkExt as _, StreamExt as _, stream::SplitSink};
use std::time::Duration;
use tokio::{sync::Semaphore, time::timeout};

/// No message of a client may be larger.
const MAX_MESSAGE: usize = 1 << 20;
/// So many commands run at once, in all instances together. Each takes a connection, of which there must be
/// some left for everything else, and two processes.
const MAX_COMMANDS: usize = 256;
static COMMANDS: Semaphore = Semaphore::const_new(MAX_COMMANDS);
/// How long a client may take until it says what to run.
const HELLO: Duration = Duration::from_secs(10);

/// Runs a command inside an instance, over a WebSocket.
#[utoipa::path(get, path = "/v1/instances/{id}/exec", operation_id = "exec", tag = "run",
    params(("id" = String, Path, description = "The instance's id")),
    responses((status = 101, description = "A WebSocket. The client's first message is an ExecRequest as JSON text; \
        afterwards its binary messages are standard input and its text messages ExecControl. The server's binary messages \
        are output (first byte 1: standard output, 2: standard error); its last, a text message, is an ExecReport.")))]
pub(crate) async fn exec(
    State(api): State<Api>,
    Id(id): Id<InstanceId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    // A caller who acts inside of an instance has what it has: they need the right that its release needed.
    let asker = who.clone();
    api.read(move |view| asker.meets(instance_demands(view, id)?)).await?;
    let upgrade = upgrade.map_err(|refusal| {
        Problem::new(Code::Invalid, "This route speaks WebSocket alone.")
            .detail(refusal.body_text())
            .hint("Use `freehold exec`, or a WebSocket client.")
    })?;
    must_run(&api, id).await?;
    let open = api.streams.open(&who, Long::Exec)?;
    let place = COMMANDS.try_acquire();
    if place.is_err() && !who.principal.is_root() {
        let title = format!("{MAX_COMMANDS} commands run by exec already, as many as may.");
        return Err(Problem::new(Code::OverQuota, title)
            .hint("Try again once some have ended; ending `freehold exec` ends its command.")
            .into());
    }
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _places = (place, open);
        converse(api, id, who, caller, socket).await;
    }))
}

async fn must_run(api: &Api, id: InstanceId) -> Answer<()> {
    let found = api.read(move |view| Ok(view.find::<InstanceSpec>(id)?)).await?;
    let phase = found.ok_or_else(|| missing(id))?.status.phase;
    if phase == Phase::Running {
        return Ok(());
    }
    let phase = serde_json::to_value(phase).unwrap_or_default();
    let problem = Problem::new(Code::Conflict, format!("Instance {id} does not run: it is {phase}."));
    Err(problem.hint("`freehold describe` says why; try another instance.").into())
}

/// The whole session; its last message says how it ended.
async fn converse(api: Api, id: InstanceId, who: Who, caller: Caller, mut socket: WebSocket) {
    let report = match start(&api, id, caller, &mut socket).await {
        Ok(session) => {
            let (mut sink, stream) = socket.split();
            let report = tokio::select! {
                report = forward_output(session.output, &mut sink) => report,
                () = forward_input(stream, session.input) => None,
                () = who.dismissed(&api) => Some(ExecReport::Failed("the credentials were revoked".into())),
                () = api.stopping() => Some(ExecReport::Failed("the server stops".into())),
            };
            return close(sink, report).await;
        }
        Err(why) => Some(ExecReport::Failed(why)),
    };
    close(socket.split().0, report).await;
}

/// Reads what to run, records it, and starts it.
async fn start(
    api: &Api,
    id: InstanceId,
    caller: Caller,
    socket: &mut WebSocket,
) -> Result<ExecSession, String> {
    let first = timeout(HELLO, socket.recv()).await.map_err(|_| "no request came within 10 s".to_owned())?;
    let Some(Ok(Message::Text(text))) = first else {
        return Err("the first message must be an ExecRequest as JSON text".into());
    };
    let request: ExecRequest = serde_json::from_str(&text)
        .map_err(|error| format!("the first message is no ExecRequest: {error}"))?;
    let Some(program) = request.command.first().filter(|program| !program.is_empty()) else {
        return Err("the command is empty: name a program".into());
    };
    let mut txn = Txn::new(caller.actor, "exec", caller.request);
    let arguments = request.command.len() - 1;
    let tty = request.tty.is_some();
    let mut data = serde_json::json!({ "program": program, "arguments": arguments, "tty": tty });
    if let Some(user) = &request.user {
        data["user"] = user.as_str().into();
    }
    txn.event(id, "instance.exec", data);
    // A command inside can remove what fills the disk.
    txn.makes_room = true;
    api.store.commit(txn).await.map_err(|error| format!("it cannot be recorded: {error}"))?;
    api.agent.exec(id, request).await.map_err(|problem| problem.to_string())
}

async fn forward_output(
    mut output: tokio::sync::mpsc::Receiver<ExecOutput>,
    sink: &mut SplitSink<WebSocket, Message>,
) -> Option<ExecReport> {
    loop {
        let (stream, bytes) = match output.recv().await {
            Some(ExecOutput::Stdout(bytes)) => (STDOUT, bytes),
            Some(ExecOutput::Stderr(bytes)) => (STDERR, bytes),
            Some(ExecOutput::Exit(code)) => return Some(ExecReport::Exit(code)),
            Some(ExecOutput::Failed(why)) => return Some(ExecReport::Failed(why)),
            None => return Some(ExecReport::Failed("the command ended, nobody saw how".into())),
        };
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(stream);
        message.extend_from_slice(&bytes);
        sink.send(Message::Binary(message.into())).await.ok()?;
    }
}

/// Ends when the client has gone away.
async fn forward_input(
    mut stream: futures::stream::SplitStream<WebSocket>,
    input: tokio::sync::mpsc::Sender<ExecInput>,
) {
    while let Some(Ok(message)) = stream.next().await {
        let sent = match message {
            Message::Binary(bytes) => ExecInput::Bytes(bytes.to_vec()),
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(ExecControl::Eof) => ExecInput::Eof,
                Ok(ExecControl::Resize(size)) => ExecInput::Resize(size),
                Ok(ExecControl::Signal(number)) => ExecInput::Signal(number),
                // A client of a later version may say more than this one knows.
                Err(_) => continue,
            },
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        if input.send(sent).await.is_err() {
            // The command has ended and takes nothing more; its exit code is on its way.
            return std::future::pending().await;
        }
    }
}

async fn close(mut sink: SplitSink<WebSocket, Message>, report: Option<ExecReport>) {
    let Some(report) = report else { return };
    let text = serde_json::to_string(&report).expect("a report is JSON");
    // The client may be gone by now; then nobody needs it.
    let _ = sink.send(Message::Text(text.into())).await;
    let _ = sink.send(Message::Close(None)).await;
}
