//! The event log: read in pages, or watched as server-sent events.

use crate::{
    error::Answer,
    extract::excerpt,
    params::{FromParams, Keys, Params},
    state::Api,
    streams::Long,
    tail::Follower,
    who::{Sight, Who},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use freehold_model::{AnyId, Code, Event, Problem, Seq};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use futures::{StreamExt as _, future, stream};
use jiff::Timestamp;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

/// How many events a page has when nothing is said, and at most.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1000;
/// How many are read at once for a caller who does not see them all.
const READ: usize = 1000;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which events are wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// After this sequence number, oldest first; from the first that is kept when not given. From before that is
    /// gone (410), with the first that is kept as `first`.
    after: Option<u64>,
    /// At most so many; 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// About the resource of this id.
    #[param(value_type = Option<String>)]
    subject: Option<AnyId>,
    /// By this actor, as in `user:ada` or `controller:rollout`.
    actor: Option<String>,
    /// Called this, as in `secret.set`, or of this kind, as in `secret`.
    what: Option<String>,
    /// Not before this.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Instead of a page: the last so many, newest first.
    #[param(minimum = 1, maximum = 1000)]
    last: Option<u64>,
}

impl FromParams for PageParams {
    fn from_params(keys: &mut Keys) -> Self {
        let after = keys.number("after", 0..=i64::MAX as u64);
        let limit = keys.number("limit", 1..=MAX_PAGE);
        let last = keys.number("last", 1..=MAX_PAGE);
        if last.is_some() && (after.is_some() || limit.is_some()) {
            keys.mistake("last", "cannot be given together with after or limit");
        }
        let (subject, actor) = (keys.optional("subject"), keys.optional("actor"));
        let (what, since) = (keys.optional("what"), keys.optional("since"));
        PageParams { after, limit, subject, actor, what, since, last }
    }
}

/// Reads events: a page oldest first, or the last ones newest first.
#[utoipa::path(get, path = "/v1/events", operation_id = "list_events", tag = "state", params(PageParams),
    responses((status = 200, description = "Events", body = Vec<Event>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Params(page): Params<PageParams>,
) -> Answer<Json<Vec<Event>>> {
    let read = move |view: &dyn View| {
        let PageParams { after, limit, subject, actor, what, since, last } = page;
        let mut sieve = Sieve { sight: who.sight(), subject, actor, what, since };
        let begin = view.beginning()?;
        Ok(match last {
            Some(last) => sieve.last(view, begin, last as usize)?,
            None => {
                let after = after.unwrap_or(begin);
                is_kept(begin, after)?;
                sieve.page(view, after, limit.unwrap_or(PAGE) as usize)?
            }
        })
    };
    api.read(read).await.map(Json)
}

/// Refuses to go on from a place in a log that begins behind `begin`.
fn is_kept(begin: Seq, after: Seq) -> Result<(), StoreError> {
    if after < begin { Err(StoreError::Pruned { first: begin + 1 }) } else { Ok(()) }
}

/// Lets through what is wanted and what the caller sees.
struct Sieve {
    sight: Sight,
    subject: Option<AnyId>,
    actor: Option<String>,
    what: Option<String>,
    since: Option<Timestamp>,
}

impl Sieve {
    /// Whether it lets everything about its subject through.
    fn is_open(&self) -> bool {
        self.sight.is_whole() && self.actor.is_none() && self.what.is_none() && self.since.is_none()
    }

    fn lets_through(&mut self, view: &dyn View, event: &Event) -> Result<bool, StoreError> {
        let of_kind = |what: &String| {
            event.what == *what
                || event.what.strip_prefix(what.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let by = |actor: &String| event.actor.to_string() == *actor;
        let wanted = self.what.as_ref().is_none_or(of_kind)
            && self.actor.as_ref().is_none_or(by)
            && self.since.is_none_or(|since| event.time >= since);
        Ok(wanted && self.sight.sees(view, event.subject)?)
    }

    /// The first `limit` after `after`.
    fn page(&mut self, view: &dyn View, mut after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        if self.is_open() {
            return view.events(after, limit, self.subject);
        }
        let mut found = vec![];
        loop {
            let read = view.events(after, READ, self.subject)?;
            let Some(last) = read.last() else { return Ok(found) };
            after = last.seq;
            for event in read {
                if self.lets_through(view, &event)? {
                    found.push(event);
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
    }

    /// The last `limit`, the newest first. The log is read from its end, a page at a time, each the page
    /// before the one that was looked through.
    fn last(&mut self, view: &dyn View, begin: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let newest = view.last_events(limit, self.subject)?;
        if self.is_open() {
            return Ok(newest);
        }
        let mut found = vec![];
        let mut end = newest.first().map_or(0, |event| event.seq);
        while end > begin && found.len() < limit {
            let start = end.saturating_sub(READ as u64).max(begin);
            let mut read = view.events(start, READ, self.subject)?;
            read.retain(|event| event.seq <= end);
            for event in read.into_iter().rev() {
                if found.len() < limit && self.lets_through(view, &event)? {
                    found.push(event);
                }
            }
            end = start;
        }
        Ok(found)
    }
}

/// Which events are wanted, and from where.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchParams {
    /// After this sequence number; only new ones when not given. The header `Last-Event-ID` counts more. From before
    /// the first that is kept is gone (410).
    from: Option<u64>,
    /// About the resource of this id.
    #[param(value_type = Option<String>)]
    subject: Option<AnyId>,
}

impl FromParams for WatchParams {
    fn from_params(keys: &mut Keys) -> Self {
        WatchParams { from: keys.number("from", 0..=i64::MAX as u64), subject: keys.optional("subject") }
    }
}

/// One server-sent event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is written down as bytes, once for all")]
pub(crate) struct SentEvent {
    /// The sequence number.
    id: String,
    /// The event as JSON, as `GET /v1/events` lists it.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Streams events as server-sent events: `id` is the sequence number, `data` the event as JSON.
#[utoipa::path(get, path = "/v1/watch", operation_id = "watch_events", tag = "state", params(WatchParams,
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was handled")),
    responses((status = 200, description = "Events as they come", content_type = "text/event-stream", body = SentEvent)))]
pub(crate) async fn watch(
    State(api): State<Api>,
    who: Who,
    Params(watch): Params<WatchParams>,
    headers: HeaderMap,
) -> Answer<Response> {
    let open = api.streams.open(&who, Long::Watch)?;
    let from = last_event_id(&headers)?.or(watch.from).unwrap_or_else(|| *api.store.head().borrow());
    let begin = api.read(|view| Ok(view.beginning()?)).await?;
    is_kept(begin, from)?;
    let end = future::select(Box::pin(api.stopping()), Box::pin(who.dismissed(&api)));
    let sight = Arc::new(Mutex::new(who.sight()));
    let watcher = Watcher { log: api.tail.follow(from), sight, subject: watch.subject, api };
    let frames = stream::unfold(Some((watcher, open)), |watching| async {
        let (mut watcher, open) = watching?;
        match watcher.next().await {
            Ok(Some(frame)) => Some((Ok(frame), Some((watcher, open)))),
            Ok(None) => None,
            Err(failure) => Some((Err(failure.0), None)),
        }
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(frames.take_until(end))).into_response())
}

/// Somebody who follows the log.
struct Watcher {
    log: Follower,
    sight: Arc<Mutex<Sight>>,
    subject: Option<AnyId>,
    api: Api,
}

impl Watcher {
    /// What is sent next: an event that is wanted and that they see, or after a while without one a comment,
    /// which keeps the connection. `None` once the store is closed.
    async fn next(&mut self) -> Answer<Option<Bytes>> {
        let silent = Instant::now() + KEEP_ALIVE;
        loop {
            let Ok(next) = timeout_at(silent, self.log.next()).await else {
                return Ok(Some(Bytes::from_static(b":\n\n")));
            };
            let Some(logged) = next? else { return Ok(None) };
            let subject = logged.event.subject;
            if self.subject.is_none_or(|wanted| wanted == subject) && self.sees(subject).await? {
                return Ok(Some(logged.frame.clone()));
            }
        }
    }

    async fn sees(&self, subject: AnyId) -> Answer<bool> {
        if let Some(known) = lock(&self.sight).knows(subject) {
            return Ok(known);
        }
        let sight = self.sight.clone();
        self.api.read(move |view| Ok(lock(&sight).sees(view, subject)?)).await
    }
}

fn lock(sight: &Mutex<Sight>) -> MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}

fn last_event_id(headers: &HeaderMap) -> Answer<Option<Seq>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    text.parse().map(Some).map_err(|_| {
        Problem::new(Code::Invalid, "The header Last-Event-ID is not a sequence number.")
            .detail(format!("Last-Event-ID: `{}`", excerpt(text)))
            .hint("Send the id of the last event that was handled, or no such header.")
            .into()
    })
}
