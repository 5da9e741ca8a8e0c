//! The images of the built-in registry. Pushing them is the registry's own protocol, under `/v2`.

use crate::{
    error::{Answer, Failure},
    extract::Json,
    params::{FromParams, Keys, NoParams, Params},
    state::Api,
    who::{Who, not_allowed},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_deploy::retention::images_in_use;
use freehold_identity::{Access, Action};
use freehold_image::{Collect, ImageError, ImageStore};
use freehold_model::{
    Code,
    api::{CollectRequest, Collected, ImageSummary, PullRequest},
};
use freehold_reconcile::View;
use std::time::Duration;
use utoipa::IntoParams;

/// What came within this time stays when somebody asks for a collection.
const GRACE: Duration = Duration::from_secs(3600);

/// Which image.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// `name:tag`, or `name@digest`.
    reference: String,
}

impl FromParams for Which {
    fn from_params(keys: &mut Keys) -> Self {
        let reference = keys.required("reference", "say which image, such as guestbook:1");
        Which { reference: reference.unwrap_or_default() }
    }
}

/// Lists the images of the built-in registry.
#[utoipa::path(get, path = "/v1/images", operation_id = "list_images", tag = "images",
    responses((status = 200, description = "Every tag", body = Vec<ImageSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
) -> Answer<Sent<Vec<ImageSummary>>> {
    let mut all = api.images.list_all().await.map_err(|error| failure(&error))?;
    if who.principal.is_root() {
        return Ok(Sent(all));
    }
    let filter = move |view: &dyn View| {
        let mut kept = vec![];
        for image in all.drain(..) {
            if who.image(view, Action::PullImage, &image.reference)? == Access::Granted {
                kept.push(image);
            }
        }
        Ok(kept)
    };
    api.read(filter).await.map(Sent)
}

/// Goes on if `who` may; what is hidden from them is answered like what is not there.
async fn may(api: &Api, who: Who, action: Action, reference: &str) -> Answer<()> {
    if who.principal.is_root() {
        return Ok(());
    }
    let text = reference.to_owned();
    match api.read(move |view| who.image(view, action, &text)).await? {
        Access::Granted => Ok(()),
        Access::NotAllowed => Err(not_allowed(action).into()),
        Access::Hidden | Access::NotSignedIn => Err(failure(&ImageError::absent(reference))),
    }
}

/// Shows an image: its digest, manifest and config.
#[utoipa::path(get, path = "/v1/images/inspect", operation_id = "inspect_image", tag = "images", params(Which),
    responses((status = 200, description = "reference, digest, manifest, config", body = Object)))]
pub(crate) async fn inspect(
    State(api): State<Api>,
    who: Who,
    Params(which): Params<Which>,
) -> Answer<Sent<freehold_image::Inspected>> {
    may(&api, who, Action::PullImage, &which.reference).await?;
    api.images.inspect_any(&which.reference).await.map(Sent).map_err(|error| failure(&error))
}

/// Fetches an image from another registry into the built-in one.
#[utoipa::path(post, path = "/v1/images/pull", operation_id = "pull_image", tag = "images",
    request_body = PullRequest, responses((status = 200, description = "As it is here now", body = ImageSummary)))]
pub(crate) async fn pull(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    Json(wanted): Json<PullRequest>,
) -> Answer<Sent<ImageSummary>> {
    who.may_ask(&wanted.reference)?;
    api.images.pull(&wanted.reference, wanted.unpack).await.map(Sent).map_err(|error| failure(&error))
}

/// Removes a tag.
#[utoipa::path(delete, path = "/v1/images", operation_id = "delete_image", tag = "images", params(Which),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn remove(
    State(api): State<Api>,
    who: Who,
    Params(which): Params<Which>,
) -> Answer<StatusCode> {
    may(&api, who, Action::DeleteImage, &which.reference).await?;
    let removed = api.images.remove_everywhere(&which.reference).await;
    removed.map(|()| StatusCode::NO_CONTENT).map_err(|error| failure(&error))
}

/// Removes what no tag, no release that is kept and nobody at work needs.
#[utoipa::path(post, path = "/v1/images/collect", operation_id = "collect_images", tag = "images",
    request_body = CollectRequest, responses((status = 200, description = "What went, or would go", body = Collected)))]
pub(crate) async fn collect(
    State(api): State<Api>,
    _: Params<NoParams>,
    Json(how): Json<CollectRequest>,
) -> Answer<Sent<Collected>> {
    let grace = how.grace.map_or(GRACE, |grace| Duration::from_millis(grace.0));
    if !how.dry_run {
        api.images.follow_house().await.map_err(|error| failure(&error))?;
    }
    // Before the roots are read: what becomes one later is spared because it is new.
    let began = work(&api, |images| Ok(images.begin_collection())).await?;
    let roots = api.read(|view| Ok(images_in_use(view)?)).await?;
    let how = Collect { roots, grace, dry_run: how.dry_run };
    work(&api, move |images| images.collect(began, &how)).await.map(Sent)
}

/// Asks the image store, which reads files, on a thread that may block.
async fn work<T: Send + 'static>(
    api: &Api,
    ask: impl FnOnce(&ImageStore) -> Result<T, ImageError> + Send + 'static,
) -> Answer<T> {
    let images = api.images.clone();
    let asked = tokio::task::spawn_blocking(move || ask(&images)).await.map_err(Failure::internal)?;
    asked.map_err(|error| failure(&error))
}

/// An image error as the caller sees it; what the disk said stays in the log.
pub(crate) fn failure(error: &ImageError) -> Failure {
    let problem = error.problem();
    if problem.code == Code::Internal { Failure::internal(problem) } else { Failure(problem) }
}
