//! Making, changing and deleting volumes. They are listed and read like every resource.

use crate::{
    commit::change,
    error::Answer,
    extract::{Id, Json},
    params::{NoParams, Params},
    planning::or_default,
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_deploy::{
    Asker, cancel_volume_task, change_volume, create_volume, delete_volume, new_volume_demands,
    recreate_volume, volume_demands,
};
use freehold_identity::{Action, Place};
use freehold_model::{AnyResource, VolumeAction, VolumeId, api::CreateVolume};
use freehold_reconcile::{SystemIds, View};

/// Makes a volume, empty or as a copy of another. Its status says when it is ready.
#[utoipa::path(post, path = "/v1/volumes", operation_id = "create_volume", tag = "run", request_body = CreateVolume,
    responses((status = 202, description = "Accepted: the volume, not ready yet", body = AnyResource)))]
pub(crate) async fn create(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<CreateVolume>,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let (project, from) = (or_default(wanted.project.clone()), wanted.from.clone());
    let (app, env, volume) = (wanted.app.clone(), wanted.env.clone(), wanted.volume.clone());
    let may = move |view: &dyn View| {
        who.in_project(view, Action::ManageVolume, &project)?;
        who.meets(new_volume_demands(view, (&project, &app, &env), &volume)?)?;
        let Some(from) = from.map(|source| source.volume).filter(|_| !who.principal.is_root()) else {
            return Ok(());
        };
        // To copy a volume is to read all of it.
        let place = Place::of(view, from.into())?;
        match place.is_some_and(|place| who.may(Action::ManageVolume, place)) {
            true => Ok(()),
            false => Err(super::resources::missing(from)),
        }
    };
    api.read(may).await?;
    let decide = move |view: &dyn View, asker: &Asker| create_volume(view, &wanted, asker, &mut SystemIds);
    accepted(change(&api, caller, decide).await)
}

/// Has the volume's node take a snapshot, restore one, or remove one. The status's `task` says how it goes.
#[utoipa::path(post, path = "/v1/volumes/{id}/tasks", operation_id = "change_volume", tag = "run",
    params(("id" = String, Path, description = "The volume's id")), request_body = VolumeAction,
    responses((status = 202, description = "Accepted: the volume, with the task in its spec", body = AnyResource)))]
pub(crate) async fn task(
    State(api): State<Api>,
    Id(id): Id<VolumeId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(action): Json<VolumeAction>,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    if matches!(action, VolumeAction::Restore(_)) {
        api.read(move |view| who.meets(volume_demands(view, id)?)).await?;
    }
    let decide =
        move |view: &dyn View, asker: &Asker| change_volume(view, id, action.clone(), asker, &mut SystemIds);
    accepted(change(&api, caller, decide).await)
}

/// Calls off what the volume's node is doing with it. The status's `task` says how that ended: it may be too late.
#[utoipa::path(post, path = "/v1/volumes/{id}/cancel", operation_id = "cancel_volume_task", tag = "run",
    params(("id" = String, Path, description = "The volume's id")),
    responses((status = 202, description = "Accepted: the volume, its task marked as called off", body = AnyResource)))]
pub(crate) async fn cancel(
    State(api): State<Api>,
    Id(id): Id<VolumeId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    accepted(change(&api, caller, move |view, asker| cancel_volume_task(view, id, asker)).await)
}

/// Has a volume whose data is gone from its node made anew, empty.
#[utoipa::path(post, path = "/v1/volumes/{id}/recreate", operation_id = "recreate_volume", tag = "run",
    params(("id" = String, Path, description = "The volume's id")),
    responses((status = 202, description = "Accepted: the volume, not ready yet", body = AnyResource)))]
pub(crate) async fn recreate(
    State(api): State<Api>,
    Id(id): Id<VolumeId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    // What waits for it begins then.
    api.read(move |view| who.meets(volume_demands(view, id)?)).await?;
    accepted(change(&api, caller, move |view, asker| recreate_volume(view, id, asker)).await)
}

/// Deletes a volume that no instance has, with all it holds and all its snapshots.
#[utoipa::path(delete, path = "/v1/volumes/{id}", operation_id = "delete_volume", tag = "run",
    params(("id" = String, Path, description = "The volume's id")),
    responses((status = 202, description = "Accepted: it is gone once its node has removed it", body = AnyResource)))]
pub(crate) async fn delete(
    State(api): State<Api>,
    Id(id): Id<VolumeId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    accepted(change(&api, caller, move |view, asker| delete_volume(view, id, asker)).await)
}

fn accepted(volume: Answer<AnyResource>) -> Answer<(StatusCode, Sent<AnyResource>)> {
    volume.map(|volume| (StatusCode::ACCEPTED, Sent(volume)))
}
