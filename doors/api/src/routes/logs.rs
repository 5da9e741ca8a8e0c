//! What instances print: read or followed, as lines of JSON.

use crate::{
    error::Answer,
    merge::Merge,
    params::{FromParams, Keys, Params},
    planning::{or_default, or_prod},
    port::LogSelection,
    scope::Scope,
    state::Api,
    streams::Long,
    who::{Who, not_allowed},
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use freehold_identity::{Action, Place};
use freehold_model::{
    Code, EnvId, InstanceId, InstanceSpec, Name, Problem,
    logs::{LogLine, LogPlace, LogQuery},
};
use freehold_reconcile::{View, ViewExt as _};
use freehold_runtime::logs::Patterns;
use futures::{Stream, StreamExt as _, stream};
use std::str::FromStr;
use utoipa::IntoParams;

/// Lines are sent in chunks of at most so many.
const CHUNK: usize = 256;
const MAX_TAIL: u64 = 1_000_000;
/// The most expressions that may be given: each takes memory, and time for each line.
const MAX_PATTERNS: usize = 16;

/// The time by the server's clock when the answer began: from when to go on, should it break before its
/// first line.
const BEGAN: HeaderName = HeaderName::from_static("freehold-began");

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
    /// Of instances of this process; may be given more than once.
    #[param(style = Form, explode)]
    process: Option<Vec<String>>,
    /// Of the instance of this id, even if it is gone, or whose id ends so (at least 4 characters); may be
    /// given more than once.
    #[param(style = Form, explode)]
    instance: Option<Vec<String>>,
    /// Not before this time (RFC 3339).
    #[param(format = DateTime)]
    since: Option<String>,
    /// Not after this time (RFC 3339).
    #[param(format = DateTime)]
    until: Option<String>,
    /// Only the last so many of all that fit.
    #[param(minimum = 0, maximum = 1000000)]
    tail: Option<u64>,
    /// Goes on with new lines as they come.
    follow: Option<bool>,
    /// Only lines that match this regular expression (syntax of the Rust crate `regex`); given more than
    /// once, one must match.
    #[param(style = Form, explode)]
    grep: Option<Vec<String>>,
    /// Of this instance only what comes after this place: `INSTANCE:NEXT`, with the `next` of a line. May be
    /// given more than once.
    #[param(style = Form, explode)]
    after: Option<Vec<String>>,
}

/// What `LogParams` describe.
pub(crate) struct Wish {
    scope: Scope,
    processes: Vec<Name>,
    instances: Vec<String>,
    query: LogQuery,
}

impl FromParams for Wish {
    fn from_params(keys: &mut Keys) -> Self {
        let scope = Scope::from_keys(keys);
        let processes = keys.several("process");
        let instances = keys.several("instance").into_iter().map(|InstanceEnd(text)| text).collect();
        let tail = keys.number("tail", 0..=MAX_TAIL).map(|tail| tail as usize);
        let (since, until, follow) = (keys.optional("since"), keys.optional("until"), keys.flag("follow"));
        let after =
            keys.several("after").into_iter().map(|Cursor(instance, place)| (instance, place)).collect();
        let mut grep = keys.many("grep");
        if grep.len() > MAX_PATTERNS {
            keys.mistake(
                "grep",
                format!("is given {} times, at most {MAX_PATTERNS}; join them with |", grep.len()),
            );
            grep.clear();
        }
        if let Err(error) = Patterns::new(&grep) {
            keys.mistake("grep", error);
        }
        let wish =
            Wish { scope, processes, instances, query: LogQuery { since, until, tail, follow, grep, after } };
        if wish.scope.app.is_none() && wish.instances.is_empty() {
            keys.mistake("app", "is missing; say whose lines: app or instance");
        }
        if follow && until.is_some() {
            keys.mistake("until", "cannot be given together with follow");
        }
        wish
    }
}

/// An id of an instance, or the end of one.
struct InstanceEnd(String);

impl FromStr for InstanceEnd {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<InstanceEnd, &'static str> {
        let is_end = text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if text.parse::<InstanceId>().is_ok() || is_end {
            return Ok(InstanceEnd(text.to_ascii_lowercase()));
        }
        Err("is neither the id of an instance nor the end of one, of 4 characters or more")
    }
}

/// The place of a line of an instance.
struct Cursor(InstanceId, LogPlace);

impl FromStr for Cursor {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Cursor, &'static str> {
        let parts =
            text.split_once(':').and_then(|(id, place)| Some((id.parse().ok()?, place.parse().ok()?)));
        let (instance, place) = parts.ok_or("is no place: write INSTANCE:NEXT, with the `next` of a line")?;
        Ok(Cursor(instance, place))
    }
}

/// Streams the lines that instances printed, in the order of time.
#[utoipa::path(get, path = "/v1/logs", operation_id = "read_logs", tag = "watch", params(LogParams),
    responses((status = 200, description = "One JSON object to a line", content_type = "application/x-ndjson", body = LogLine)))]
pub(crate) async fn read(
    State(api): State<Api>,
    who: Who,
    Params(mut wish): Params<Wish>,
) -> Answer<Response> {
    let open = api.streams.open(&who, Long::Logs)?;
    let began = api.clock.now().to_string();
    let env = match wish.scope.app {
        Some(_) => Some(env(&api, &who, wish.scope).await?),
        None => {
            wish.instances = visible(&api, &who, wish.instances).await?;
            None
        }
    };
    let selection = LogSelection { env, processes: wish.processes, instances: wish.instances };
    let trails = api.agent.logs(selection, wish.query).await?;
    let lines = Merge::new(trails).take_until(api.stopping()).take_until(who.dismissed(&api));
    let held = chunks(lines).map(move |chunk| {
        let _ = &open;
        chunk
    });
    let body = Body::from_stream(held);
    let kind = HeaderValue::from_static("application/x-ndjson");
    let began = HeaderValue::from_str(&began).expect("a time is ASCII");
    Ok(([(header::CONTENT_TYPE, kind), (BEGAN, began)], body).into_response())
}

/// The one env that is meant: `prod` of `default`, where nothing else is said.
async fn env(api: &Api, who: &Who, mut scope: Scope) -> Answer<EnvId> {
    scope.project = Some(or_default(scope.project));
    scope.env = Some(or_prod(scope.env));
    let who = who.clone();
    let places = api.read(move |view| scope.places(view, &who, Action::ReadLogs)).await?;
    match places.as_slice() {
        [place] => Ok(place.env.id),
        [] => Err(Problem::new(Code::NotFound, "There is no such env.").into()),
        _ => Err(Problem::new(Code::Conflict, "The names fit several envs.").into()),
    }
}

/// The ids of the instances that are named, by ids or their ends, and that the caller may read: who does not
/// see everything names what is there, or by its whole id what was.
async fn visible(api: &Api, who: &Who, named: Vec<String>) -> Answer<Vec<String>> {
    if who.principal.is_root() {
        return Ok(named);
    }
    let who = who.clone();
    let find = move |view: &dyn View| {
        let all = view.all::<InstanceSpec>(None)?;
        let mut found = vec![];
        for text in named {
            let ids: Vec<InstanceId> = match text.parse() {
                Ok(id) => vec![id],
                Err(_) => all.iter().map(|it| it.id).filter(|it| it.to_string().ends_with(&text)).collect(),
            };
            let before = found.len();
            let mut seen = false;
            for id in ids {
                let place = Place::of(view, id.into())?;
                seen |= place.is_some_and(|place| who.may(Action::Read, place));
                if place.is_some_and(|place| who.may(Action::ReadLogs, place)) {
                    found.push(id.to_string());
                }
            }
            if found.len() == before {
                return Err(match seen {
                    true => not_allowed(Action::ReadLogs).into(),
                    false => Problem::new(Code::NotFound, format!("There is no instance `{text}`."))
                        .hint("`freehold status` shows those that there are.")
                        .into(),
                });
            }
        }
        Ok(found)
    };
    api.read(find).await
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
