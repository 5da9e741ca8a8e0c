//! What differs between two releases, or between a release and what is observed.

use super::operations::failure;
use crate::{
    error::Answer,
    params::{FromParams, Keys, Params},
    planning::{or_default, or_prod},
    state::Api,
    who::Who,
};
use axum::{Json, extract::State};
use freehold_deploy::{Where, diff_releases, drift};
use freehold_identity::Action;
use freehold_model::{Name, api::Diff};
use std::str::FromStr;
use utoipa::IntoParams;

/// What is compared.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `from_params` reads.
pub(crate) struct DiffParams {
    /// The project; `default` when not given.
    project: Option<String>,
    /// The app.
    app: String,
    /// The env; `prod` when not given.
    env: Option<String>,
    /// `v3`, or `current` (when not given): the release that runs.
    from: Option<String>,
    /// The same, or `observed` for what really runs; that is compared with the current release alone.
    to: Option<String>,
}

/// One side of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Release(u32),
    Current,
    Observed,
}

impl FromStr for Side {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix('v').unwrap_or(text).parse()) {
            ("current", _) => Ok(Side::Current),
            ("observed", _) => Ok(Side::Observed),
            (_, Ok(number)) if number > 0 => Ok(Side::Release(number)),
            _ => Err("must be a release such as `v3`, `current`, or `observed`".into()),
        }
    }
}

/// What `DiffParams` describe.
pub(crate) struct Wanted {
    project: Name,
    app: Option<Name>,
    env: Name,
    from: Side,
    to: Side,
}

impl FromParams for Wanted {
    fn from_params(keys: &mut Keys) -> Self {
        let wanted = Wanted {
            project: or_default(keys.optional("project")),
            app: keys.required("app", "say which"),
            env: or_prod(keys.optional("env")),
            from: keys.optional("from").unwrap_or(Side::Current),
            to: keys.optional("to").unwrap_or(Side::Current),
        };
        if wanted.from == Side::Observed {
            keys.mistake("from", "what is observed can only be compared to, not from");
        }
        if wanted.to == Side::Observed && wanted.from != Side::Current {
            keys.mistake("from", "only the current release can be compared with what is observed");
        }
        wanted
    }
}

/// Compares two releases of an env, or its current release with what is observed to run.
#[utoipa::path(get, path = "/v1/diffs", operation_id = "diff_releases", tag = "run", params(DiffParams),
    responses((status = 200, description = "What differs", body = Diff)))]
pub(crate) async fn get(
    State(api): State<Api>,
    who: Who,
    Params(wanted): Params<Wanted>,
) -> Answer<Json<Diff>> {
    let number = |side: Side| if let Side::Release(number) = side { Some(number) } else { None };
    let read = move |view: &dyn freehold_reconcile::View| {
        who.in_project(view, Action::Read, &wanted.project)?;
        let app = wanted.app.as_ref().expect("a missing app was refused");
        let place = Where { project: &wanted.project, app, env: &wanted.env };
        match wanted.to {
            Side::Observed => drift(view, place),
            to => diff_releases(view, place, number(wanted.from), number(to)),
        }
        .map_err(failure)
    };
    api.read(read).await.map(Json)
}
