//! What instances print: read or followed, as lines of JSON.

use crate::{
    error::Answer,
    merge::Merge,
    params::{FromParams, Keys, Params},
    planning::{or_default, or_prod},
    port::LogSelection,
    scope::Scope,
    state::Api,
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use freehold_model::{
    Code, EnvId, InstanceId, Name, Problem,
    logs::{LogLine, LogQuery},
};
use futures::{Stream, StreamExt as _, stream};
use utoipa::IntoParams;

/// Lines are sent in chunks of at most so many.
const CHUNK: usize = 256;
const MAX_TAIL: u64 = 1_000_000;

/// Which lines are wanted: `app` or `instance` must be given.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `Wish` reads.
pub(crate) struct LogParams {
    /// Of the project of this name; `default` when not given.
    project: Option<String>,
    /// Of the app of this name.
    app: Option<String>,
    /// Of the env of this name; `prod` when not given.
    env: Option<String>,
    /// Of instances of this process.
    process: Option<String>,
    /// Of the instance of this id, even if it is gone.
    instance: Option<String>,
    /// Not before this time (RFC 3339).
    #[param(format = DateTime)]
    since: Option<String>,
    /// Not after this time (RFC 3339).
    #[param(format = DateTime)]
    until: Option<String>,
    /// Only the last so many of each instance.
    #[param(minimum = 0, maximum = 1000000)]
    tail: Option<u64>,
    /// Goes on with new lines as they come.
    follow: Option<bool>,
}

/// What `LogParams` describe.
pub(crate) struct Wish {
    scope: Scope,
    process: Option<Name>,
    instance: Option<InstanceId>,
    query: LogQuery,
}

impl FromParams for Wish {
    fn from_params(keys: &mut Keys) -> Self {
        let scope = Scope::from_keys(keys);
        let (process, instance) = (keys.optional("process"), keys.optional("instance"));
        let tail = keys.number("tail", 0..=MAX_TAIL).map(|tail| tail as usize);
        let (since, until) = (keys.optional("since"), keys.optional("until"));
        let query = LogQuery { since, until, tail, follow: keys.flag("follow") };
        if scope.app.is_none() && instance.is_none() {
            keys.mistake("app", "is missing; say whose lines: app or instance");
        }
        if query.follow && query.until.is_some() {
            keys.mistake("until", "cannot be given together with follow");
        }
        Wish { scope, process, instance, query }
    }
}

/// Streams the lines that instances printed, in the order of time.
#[utoipa::path(get, path = "/v1/logs", operation_id = "read_logs", tag = "watch", params(LogParams),
    responses((status = 200, description = "One JSON object to a line", content_type = "application/x-ndjson", body = LogLine)))]
pub(crate) async fn read(State(api): State<Api>, Params(wish): Params<Wish>) -> Answer<Response> {
    let env = match wish.scope.app {
        Some(_) => Some(env(&api, wish.scope).await?),
        None => None,
    };
    let selection = LogSelection { env, process: wish.process, instance: wish.instance };
    let sources = api.agent.logs(selection, wish.query).await?;
    let lines = Merge::new(sources).take_until(api.stopping());
    let body = Body::from_stream(chunks(lines));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The one env that is meant: `prod` of `default`, where nothing else is said.
async fn env(api: &Api, mut scope: Scope) -> Answer<EnvId> {
    scope.project = Some(or_default(scope.project));
    scope.env = Some(or_prod(scope.env));
    let places = api.read(move |view| scope.places(view)).await?;
    match places.as_slice() {
        [place] => Ok(place.env.id),
        [] => Err(Problem::new(Code::NotFound, "There is no such env.").into()),
        _ => Err(Problem::new(Code::Conflict, "The names fit several envs.").into()),
    }
}

/// Lines as JSON, those that are ready at once in one piece. A problem ends the body early.
fn chunks(
    lines: impl Stream<Item = Result<LogLine, Problem>> + Send,
) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    lines.ready_chunks(CHUNK).flat_map(|lines| {
        let mut text = Vec::new();
        let mut failed = None;
        for line in lines {
            match line {
                Ok(line) => write_line(&mut text, &line),
                Err(problem) => {
                    tracing::warn!(%problem, "logs ended early");
                    failed = Some(Err(problem));
                    break;
                }
            }
        }
        stream::iter([Ok(Bytes::from(text))]).chain(stream::iter(failed))
    })
}

fn write_line(text: &mut Vec<u8>, line: &LogLine) {
    serde_json::to_writer(&mut *text, line).expect("a line is JSON, and memory takes it");
    text.push(b'\n');
}
