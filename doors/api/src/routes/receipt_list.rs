//! Searching receipts, a page at a time, and exporting them whole.
//!
//! Receipts outlive their app, so they are chosen by what is in them, never by parents. Invariant: a page
//! looks at a bounded number of receipts, and a page that found little still says where to go on.

use crate::{
    error::{Answer, Failure},
    params::{FromParams, Keys, Params},
    redact,
    state::Api,
    who::{Sight, Who},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use freehold_model::{
    Actor, AnyId, AnyResource, Kind, Manifest, Name, Problem, Query, Receipt, ReceiptSpec, ReleaseSpec,
    Verdict, Wish,
    api::{ExportedReceipt, ResourceList},
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use futures::{Stream, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde_json::Value;
use std::str::FromStr;
use utoipa::IntoParams;

/// How many receipts a page has when nothing is said.
const PAGE: u64 = 50;
const MAX_PAGE: u64 = 1000;
/// How many receipts are read at once, and looked at for one page.
const READ: usize = 500;
const LOOKED_AT: usize = 10_000;

/// Which receipts are wanted. Every given condition must hold.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `from_params` reads.
pub(crate) struct ReceiptParams {
    /// Of the app of this name, which may be gone.
    app: Option<String>,
    /// Of the env of this name.
    env: Option<String>,
    /// With this verdict; or still `running`, or `queued`.
    #[param(inline)]
    verdict: Option<Stage>,
    /// Asked for by this actor: `user:ada`, or the name alone.
    actor: Option<String>,
    /// Accepted at this time or later.
    since: Option<String>,
    /// Accepted before this time.
    until: Option<String>,
    /// With this text somewhere in it: in an id, a reason, a step, a digest, a line of a log. Case does not
    /// matter.
    search: Option<String>,
    /// After the receipt of this id: the `next` of the page before.
    after: Option<String>,
    /// At most so many; 50 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// How a receipt is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
enum Stage {
    Succeeded,
    Failed,
    Superseded,
    Cancelled,
    Running,
    Queued,
}

impl Stage {
    fn of(receipt: &Receipt) -> Stage {
        match receipt.status.verdict {
            Some(Verdict::Succeeded) => Stage::Succeeded,
            Some(Verdict::Failed) => Stage::Failed,
            Some(Verdict::Superseded) => Stage::Superseded,
            Some(Verdict::Cancelled) => Stage::Cancelled,
            None if receipt.status.behind.is_some() => Stage::Queued,
            None => Stage::Running,
        }
    }
}

impl FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "running" => Stage::Running,
            "queued" => Stage::Queued,
            text => match text.parse() {
                Ok(Verdict::Succeeded) => Stage::Succeeded,
                Ok(Verdict::Failed) => Stage::Failed,
                Ok(Verdict::Superseded) => Stage::Superseded,
                Ok(Verdict::Cancelled) => Stage::Cancelled,
                Err(why) => return Err(format!("{why}, or running or queued")),
            },
        })
    }
}

/// What `ReceiptParams` describes.
#[derive(Clone)]
pub(crate) struct Selection {
    app: Option<Name>,
    env: Option<Name>,
    state: Option<Stage>,
    actor: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    search: Option<String>,
    after: Option<AnyId>,
    limit: usize,
}

impl FromParams for Selection {
    fn from_params(keys: &mut Keys) -> Self {
        Selection {
            app: keys.optional("app"),
            env: keys.optional("env"),
            state: keys.optional("verdict"),
            actor: keys.optional("actor"),
            since: keys.optional("since"),
            until: keys.optional("until"),
            search: keys.optional::<String>("search").map(|text| text.to_lowercase()),
            after: keys.optional("after"),
            limit: keys.number("limit", 1..=MAX_PAGE).unwrap_or(PAGE) as usize,
        }
    }
}

impl Selection {
    fn fits(&self, receipt: &Receipt, stored: &AnyResource) -> bool {
        let spec = &receipt.spec;
        let is = |wanted: &Option<Name>, name: &Name| wanted.as_ref().is_none_or(|wanted| wanted == name);
        is(&self.app, &spec.app)
            && is(&self.env, &spec.env)
            && self.state.is_none_or(|state| state == Stage::of(receipt))
            && self.actor.as_ref().is_none_or(|actor| is_called(&spec.actor, actor))
            && self.since.is_none_or(|since| spec.accepted >= since)
            && self.until.is_none_or(|until| spec.accepted < until)
            && self.search.as_ref().is_none_or(|text| mentions(receipt, stored, text))
    }

    /// The newest that fit, and where to go on if there may be more.
    fn page(&self, view: &dyn View, sight: &mut Sight) -> Result<ResourceList, StoreError> {
        let mut query = Query { after: self.after, ..Query::of(Kind::Receipt).newest(READ) };
        let (mut items, mut looked_at) = (vec![], 0);
        loop {
            let page = view.list(&query)?;
            for stored in page.items {
                query.after = Some(stored.id);
                // What they do not see is no place to go on from: its id would tell of it.
                if !sight.sees_it(view, &stored)? {
                    continue;
                }
                looked_at += 1;
                let receipt: Receipt = stored.clone().typed()?;
                // Ids are in order of time, but for clocks that were set back.
                if self.fits(&receipt, &stored) {
                    items.push(redact::public(stored));
                }
                if items.len() == self.limit || looked_at == LOOKED_AT {
                    return Ok(ResourceList { items, next: query.after });
                }
            }
            if page.next.is_none() {
                return Ok(ResourceList { items, next: None });
            }
        }
    }
}

fn is_called(actor: &Actor, wanted: &str) -> bool {
    let full = actor.to_string();
    full == wanted || full.split_once(':').is_some_and(|(_, name)| name == wanted)
}

/// Whether `text`, in lower case, is somewhere in what people read of a receipt.
fn mentions(receipt: &Receipt, stored: &AnyResource, text: &str) -> bool {
    let number = receipt.spec.release_number.map(|number| format!("v{number}"));
    stored.id.to_string().contains(text)
        || number.is_some_and(|number| number == text)
        || [&stored.spec, &stored.status].into_iter().any(|value| says(value, text))
}

fn says(value: &Value, text: &str) -> bool {
    match value {
        Value::String(said) => said.to_lowercase().contains(text),
        Value::Array(all) => all.iter().any(|value| says(value, text)),
        // What a waiting deploy carries is its manifest, which is not part of the story.
        Value::Object(fields) => fields.iter().any(|(key, value)| key != "queued" && says(value, text)),
        _ => false,
    }
}

/// Searches receipts, the newest first, a page at a time.
#[utoipa::path(get, path = "/v1/receipts", operation_id = "list_receipts", tag = "run", params(ReceiptParams),
    responses((status = 200, description = "A page; it may be short, or empty, and still have a `next`", body = ResourceList)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Params(wanted): Params<Selection>,
) -> Answer<Json<ResourceList>> {
    api.read(move |view| Ok(wanted.page(view, &mut who.sight())?)).await.map(Json)
}

/// Streams all receipts that fit, whole, each with the manifest of its release; the newest first.
#[utoipa::path(get, path = "/v1/receipts/export", operation_id = "export_receipts", tag = "run", params(ReceiptParams),
    responses((status = 200, description = "One JSON object to a line", content_type = "application/x-ndjson", body = ExportedReceipt)))]
pub(crate) async fn export(
    State(api): State<Api>,
    who: Who,
    Params(wanted): Params<Selection>,
) -> Answer<Response> {
    let body = Body::from_stream(pieces(api, who, Selection { limit: READ, ..wanted }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// A page at a time, as lines.
fn pieces(api: Api, who: Who, wanted: Selection) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    let pieces = stream::try_unfold(Some(wanted), move |wanted| {
        let (api, who) = (api.clone(), who.clone());
        async move {
            let Some(wanted) = wanted else { return Ok(None) };
            let (text, next) = api.read(move |view| lines(view, &who, wanted)).await?;
            Ok::<_, Failure>(Some((Bytes::from(text), next)))
        }
    });
    // What went wrong is in the log; the body ends early.
    pieces.map_err(|failure| failure.0)
}

fn lines(view: &dyn View, who: &Who, wanted: Selection) -> Answer<(Vec<u8>, Option<Selection>)> {
    let page = wanted.page(view, &mut who.sight())?;
    let mut text = vec![];
    for stored in page.items {
        let manifest = manifest(view, &stored.clone().typed().map_err(Failure::internal)?)?;
        let line = ExportedReceipt { receipt: stored, manifest };
        serde_json::to_writer(&mut text, &line).map_err(Failure::internal)?;
        text.push(b'\n');
    }
    Ok((text, page.next.map(|next| Selection { after: Some(next), ..wanted })))
}

/// What was to run: of its release, or of what it still carries. `None` once its app is gone.
fn manifest(view: &dyn View, receipt: &Receipt) -> Result<Option<Manifest>, StoreError> {
    let spec: &ReceiptSpec = &receipt.spec;
    match (spec.release, spec.queued.as_ref().map(|queued| &queued.wish)) {
        (Some(release), _) => Ok(view.find::<ReleaseSpec>(release)?.map(|release| release.spec.manifest)),
        (None, Some(Wish::Deploy { manifest, .. })) => Ok(Some((**manifest).clone())),
        _ => Ok(None),
    }
}
