//! Making, changing and deleting volumes. They are listed and read like every resource.

use crate::{
    error::{Answer, Failure},
    extract::{Id, Json},
    params::{NoParams, Params},
    planning::or_default,
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_deploy::{Asker, ChangeError, change_volume, create_volume, delete_volume};
use freehold_identity::{Action, Place};
use freehold_model::{AnyResource, Code, Problem, Txn, VolumeAction, VolumeId, api::CreateVolume};
use freehold_reconcile::{SystemIds, View};

/// How often a change is decided again when others commit in between.
const ATTEMPTS: usize = 8;

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
    let may = move |view: &dyn View| {
        who.in_project(view, Action::ManageVolume, &project)?;
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
    change(&api, &caller, move |view, asker| create_volume(view, &wanted, asker, &mut SystemIds)).await
}

/// Has the volume's node take a snapshot, restore one, or remove one. The status's `task` says how it goes.
#[utoipa::path(post, path = "/v1/volumes/{id}/tasks", operation_id = "change_volume", tag = "run",
    params(("id" = String, Path, description = "The volume's id")), request_body = VolumeAction,
    responses((status = 202, description = "Accepted: the volume, with the task in its spec", body = AnyResource)))]
pub(crate) async fn task(
    State(api): State<Api>,
    Id(id): Id<VolumeId>,
    _: Params<NoParams>,
    caller: Caller,
    Json(action): Json<VolumeAction>,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    change(&api, &caller, move |view, asker| change_volume(view, id, action.clone(), asker, &mut SystemIds))
        .await
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
    change(&api, &caller, move |view, asker| delete_volume(view, id, asker)).await
}

/// Decides, commits, and answers with the volume as it is then, or as it was if that removed it.
async fn change(
    api: &Api,
    caller: &Caller,
    decide: impl Fn(&dyn View, &Asker) -> Result<(Txn, VolumeId), ChangeError> + Clone + Send + 'static,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    for _ in 0..ATTEMPTS {
        let (now, decide) = (api.clock.now(), decide.clone());
        let asker = Asker { actor: caller.actor.clone(), request: caller.request.clone(), now };
        let decided = api.read(move |view| {
            let (txn, id) = decide(view, &asker).map_err(failure)?;
            Ok((txn, id, view.get(id.into())?))
        });
        let (txn, id, before) = decided.await?;
        match api.store.commit(txn).await {
            Ok(_) => {
                let after = api.read(move |view| Ok(view.get(id.into())?)).await?;
                let volume = after.or(before).ok_or_else(|| super::resources::missing(id))?;
                return Ok((StatusCode::ACCEPTED, Sent(volume)));
            }
            Err(conflict) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::new(Code::Conflict, "Others keep changing the same volume.")
        .hint("Nothing was changed. Try again in a moment.")
        .into())
}

fn failure(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(problem) => Failure(*problem),
        ChangeError::Store(error) => Failure::internal(error),
    }
}
