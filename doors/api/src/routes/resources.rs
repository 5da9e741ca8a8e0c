//! Listing, reading and explaining resources of every kind.

use crate::{
    describe,
    error::{Answer, Failure},
    extract::{Id, excerpt},
    params::{FromParams, Keys, NoParams, Params},
    redact,
    state::Api,
    veil::Veil,
    who::{Sight, Who, not_allowed, reading},
};
use axum::{Json, extract::State};
use freehold_identity::{Access, Place, decide};
use freehold_model::{
    AnyId, AnyResource, Code, EndpointId, Kind, Page, Problem, Query,
    api::{Description, ResourceList},
};
use freehold_reconcile::{StoreError, View};
use std::{collections::BTreeMap, str::FromStr};
use utoipa::IntoParams;

/// How many resources a page has when nothing is said.
const PAGE: u64 = 100;

/// Which resources are wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `from_params` reads into a query.
pub(crate) struct ListParams {
    /// Of this kind.
    kind: Kind,
    /// Belonging to the resource of this id.
    parent: Option<String>,
    /// With exactly this name.
    name: Option<String>,
    /// `key=value`; repeat it for more labels, all of which must be there.
    label: Option<Vec<String>>,
    /// After the resource of this id, in the order asked for: the `next` of the page before.
    after: Option<String>,
    /// `oldest` (when not given) or `newest` first.
    #[param(inline)]
    order: Option<Order>,
    /// At most so many; 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The query that `ListParams` describes.
pub(crate) struct Listing(Query);

impl FromParams for Listing {
    fn from_params(keys: &mut Keys) -> Self {
        let kind = keys.required::<KindName>("kind", &format!("say one of {}", kinds()));
        let mut query = Query::of(kind.map_or(Kind::Org, |kind| kind.0));
        query.parent = keys.optional::<AnyId>("parent");
        query.name = keys.optional("name");
        query.labels = labels(keys);
        query.after = keys.optional::<AnyId>("after");
        query.newest_first = matches!(keys.optional("order"), Some(Order::Newest));
        query.limit = keys.number("limit", 1..=Query::MAX_LIMIT as u64).unwrap_or(PAGE) as usize;
        Listing(query)
    }
}

fn labels(keys: &mut Keys) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for text in keys.many("label") {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => drop(labels.insert(key.to_owned(), value.to_owned())),
            _ => keys.mistake("label", format!("`{}`: must be key=value", excerpt(&text))),
        }
    }
    labels
}

/// Which end of a listing comes first.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
enum Order {
    /// In order of ids.
    Oldest,
    /// In reverse.
    Newest,
}

impl FromStr for Order {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "oldest" => Ok(Order::Oldest),
            "newest" => Ok(Order::Newest),
            _ => Err("must be `oldest` or `newest`".into()),
        }
    }
}

struct KindName(Kind);

impl FromStr for KindName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Kind::from_name(text).map(KindName).ok_or_else(|| format!("must be one of {}", kinds()))
    }
}

fn kinds() -> String {
    Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// Lists resources of a kind, a page at a time.
#[utoipa::path(get, path = "/v1/resources", operation_id = "list_resources", tag = "state", params(ListParams),
    responses((status = 200, description = "A page, in order of ids", body = ResourceList)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Params(query): Params<Listing>,
) -> Answer<Json<ResourceList>> {
    let action = reading(query.0.kind);
    if decide(Some(&who.principal), action, Place::Anywhere) != Access::Granted {
        return Err(not_allowed(action).into());
    }
    let page = api.read(move |view| Ok(page(view, &mut who.sight(), query.0)?)).await?;
    Ok(Json(ResourceList { items: redact::all_public(page.items), next: page.next }))
}

/// As many as are wanted of those that the caller sees.
fn page(view: &dyn View, sight: &mut Sight, mut query: Query) -> Result<Page, StoreError> {
    if sight.is_whole() {
        return view.list(&query);
    }
    let wanted = std::mem::replace(&mut query.limit, Query::MAX_LIMIT);
    let mut items = vec![];
    loop {
        let read = view.list(&query)?;
        let last = read.items.last().map(|item| item.id);
        for item in read.items {
            let (id, sees) = (item.id, sight.sees_it(view, &item)?);
            if !sees {
                continue;
            }
            items.push(item);
            if items.len() == wanted {
                let more = read.next.is_some() || last != Some(id);
                return Ok(Page { items, next: more.then_some(id) });
            }
        }
        query.after = read.next;
        if query.after.is_none() {
            return Ok(Page { items, next: None });
        }
    }
}

/// Reads one resource.
#[utoipa::path(get, path = "/v1/resources/{id}", operation_id = "get_resource", tag = "state",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The resource", body = AnyResource)))]
pub(crate) async fn get(
    State(api): State<Api>,
    Id(id): Id<AnyId>,
    _: Params<NoParams>,
) -> Answer<Json<AnyResource>> {
    let found = api.read(move |view| Ok(view.get(id)?)).await?;
    found.map(redact::public).map(Json).ok_or_else(|| missing(id))
}

/// Explains one resource: desired beside observed, why it is not yet so, its family, its last events.
#[utoipa::path(get, path = "/v1/resources/{id}/description", operation_id = "describe_resource", tag = "state",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "Everything that explains it", body = Description)))]
pub(crate) async fn description(
    State(api): State<Api>,
    Id(id): Id<AnyId>,
    who: Who,
    _: Params<NoParams>,
) -> Answer<Json<Description>> {
    let describe = move |view: &dyn View| {
        let (veil, found) = (Veil::of(view, &who)?, describe::describe(view, &mut who.sight(), id)?);
        Ok(found.map(|found| Description { reason: found.reason.map(|text| veil.text(&text)), ..found }))
    };
    let found = api.read(describe).await?;
    let mut description = found.map(redact::description).ok_or_else(|| missing(id))?;
    description.traffic = EndpointId::try_from(id).ok().and_then(|endpoint| api.edge.traffic(endpoint));
    Ok(Json(description))
}

/// The answer to an id of nothing.
pub(crate) fn missing(id: impl Into<AnyId>) -> Failure {
    let id = id.into();
    Problem::new(Code::NotFound, format!("There is no {} {id}.", id.kind))
        .hint(format!(
            "It may be gone: `freehold {0} list` (GET /v1/resources?kind={0}) lists what there is.",
            id.kind
        ))
        .into()
}
