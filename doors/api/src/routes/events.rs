//! The event log: read in pages, or watched as server-sent events.

use crate::{
    error::{Answer, Failure},
    extract::excerpt,
    params::{FromParams, Keys, Params},
    state::Api,
    who::{Sight, Who},
};
use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{Sse, sse},
};
use freehold_model::{AnyId, Code, Event, Problem, Seq};
use freehold_reconcile::{StoreError, View, watch_from};
use futures::{Stream, StreamExt as _, future::ready};
use jiff::Timestamp;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
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
    /// After this sequence number, oldest first; 0 when not given.
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
        Ok(match last {
            Some(last) => sieve.last(view, last as usize)?,
            None => sieve.page(view, after.unwrap_or(0), limit.unwrap_or(PAGE) as usize)?,
        })
    };
    api.read(read).await.map(Json)
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
    fn last(&mut self, view: &dyn View, limit: usize) -> Result<Vec<Event>, StoreError> {
        let newest = view.last_events(limit, self.subject)?;
        if self.is_open() {
            return Ok(newest);
        }
        let mut found = vec![];
        let mut end = newest.first().map_or(0, |event| event.seq);
        while end > 0 && found.len() < limit {
            let start = end.saturating_sub(READ as u64);
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
    /// After this sequence number; only new ones when not given. The header `Last-Event-ID` counts more.
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
#[expect(dead_code, reason = "what it looks like is written by axum")]
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
) -> Answer<Sse<impl Stream<Item = Result<sse::Event, axum::Error>>>> {
    let from = last_event_id(&headers)?.or(watch.from).unwrap_or_else(|| *api.store.head().borrow());
    let events = watch_from(api.store.clone(), from).into_stream().take_until(api.stopping());
    let wanted = events.filter(move |event| ready(is_about(event, watch.subject)));
    let dismissed = who.dismissed(&api);
    let stream = visible(api, who, wanted).take_until(dismissed).map(sent);
    Ok(Sse::new(stream).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)))
}

fn is_about(event: &Result<Event, StoreError>, subject: Option<AnyId>) -> bool {
    event.as_ref().map_or(true, |event| subject.is_none_or(|subject| subject == event.subject))
}

/// Those of `events` that the caller sees.
fn visible(
    api: Api,
    who: Who,
    events: impl Stream<Item = Result<Event, StoreError>> + Send,
) -> impl Stream<Item = Result<Event, Failure>> + Send {
    let sight = Arc::new(Mutex::new(who.sight()));
    let whole = who.principal.is_root();
    events.filter_map(move |event| {
        let (api, sight) = (api.clone(), sight.clone());
        async move {
            let event = match event {
                Ok(event) if !whole => event,
                other => return Some(other.map_err(Failure::from)),
            };
            let subject = event.subject;
            let read = move |view: &dyn View| {
                Ok(sight.lock().unwrap_or_else(PoisonError::into_inner).sees(view, subject)?)
            };
            match api.read(read).await {
                Ok(sees) => sees.then_some(Ok(event)),
                Err(failure) => Some(Err(failure)),
            }
        }
    })
}

fn sent(event: Result<Event, Failure>) -> Result<sse::Event, axum::Error> {
    let event = event.map_err(|failure| axum::Error::new(failure.0))?;
    sse::Event::default().id(event.seq.to_string()).json_data(&event)
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
