//! Machines that join, and their certificates: what the node door serves. People's side of it is in
//! `join_tokens`.
//!
//! Invariant: a join token comes in and goes out in no answer, event or log; what was sent in the wrong shape
//! is not repeated.

use crate::{
    error::{Answer, Failure},
    extract::{HiddenJson, Json as Body},
    params::{NoParams, Params},
    request::RequestId,
    state::Api,
};
use axum::{Extension, Json, extract::State};
use freehold_identity::{AuthorityError, Peer};
use freehold_model::{
    Code, MachineKind,
    join::{
        CertificateAdvice, JoinRequest, Joined, MachineCertificate, MachineSelf, RejoinRequest, RenewRequest,
    },
};

/// The largest body of these routes.
pub(crate) const MAX_BODY: usize = 32 << 10;

/// Lets a machine join: uses the join token up, makes the node, certifies its key. The same token with the
/// same key answers again. On the node door alone, without a client certificate.
#[utoipa::path(post, path = "/v1/join", operation_id = "join", tag = "machines", security(()), request_body = JoinRequest,
    responses((status = 200, description = "The node, and its certificate", body = Joined)))]
pub(crate) async fn join(
    State(api): State<Api>,
    _: Params<NoParams>,
    Extension(request): Extension<RequestId>,
    HiddenJson(wanted): HiddenJson<JoinRequest>,
) -> Answer<Json<Joined>> {
    api.authority.join(&request.0, &wanted).await.map(Json).map_err(failure)
}

/// Certifies the key of a node anew, as for one that was off until its certificate had ended: of use only to
/// whoever has the key. On the node door alone, without a client certificate.
#[utoipa::path(post, path = "/v1/join/renewal", operation_id = "rejoin", tag = "machines", security(()),
    request_body = RejoinRequest, responses((status = 200, description = "The certificate", body = MachineCertificate)))]
pub(crate) async fn rejoin(
    State(api): State<Api>,
    _: Params<NoParams>,
    Extension(request): Extension<RequestId>,
    Body(wanted): Body<RejoinRequest>,
) -> Answer<Json<MachineCertificate>> {
    api.authority.rejoin(&request.0, wanted.machine, &wanted.csr).await.map(Json).map_err(failure)
}

/// Says whether the calling node should renew its certificate before its time, as while the authority is
/// rotated. On the node door alone.
#[utoipa::path(get, path = "/v1/node/certificate", operation_id = "certificate_advice", tag = "machines", security(("certificate" = [])),
    responses((status = 200, description = "What to do", body = CertificateAdvice)))]
pub(crate) async fn advice(
    State(api): State<Api>,
    _: Params<NoParams>,
    Extension(peer): Extension<Peer>,
) -> Json<CertificateAdvice> {
    let live = api.authority.live().borrow().clone();
    Json(CertificateAdvice { renew: live.is_some_and(|live| live.advises_renewal(&peer)) })
}

/// The next certificate of the calling node, for the same key, and whom to trust from now on. On the node
/// door alone.
#[utoipa::path(post, path = "/v1/node/certificate", operation_id = "renew_certificate", tag = "machines", security(("certificate" = [])),
    request_body = RenewRequest, responses((status = 200, description = "The certificate", body = MachineCertificate)))]
pub(crate) async fn renew(
    State(api): State<Api>,
    _: Params<NoParams>,
    Extension(peer): Extension<Peer>,
    Extension(request): Extension<RequestId>,
    Body(wanted): Body<RenewRequest>,
) -> Answer<Json<MachineCertificate>> {
    api.authority.renew(&request.0, &peer, &wanted.csr).await.map(Json).map_err(failure)
}

/// Who the calling machine is, as its certificate proves: a node, a gateway or a device. On the door for
/// machines alone.
#[utoipa::path(get, path = "/v1/machine", operation_id = "machine_self", tag = "machines", security(("certificate" = [])),
    responses((status = 200, description = "Who it is", body = MachineSelf)))]
pub(crate) async fn whoami(
    State(api): State<Api>,
    _: Params<NoParams>,
    Extension(peer): Extension<Peer>,
) -> Answer<Json<MachineSelf>> {
    let id = peer.machine;
    let found = api.read(move |view| Ok(view.get(id)?)).await?;
    let name = found.ok_or_else(|| super::resources::missing(id))?.name;
    let machine = MachineKind::of(id).ok_or_else(|| super::resources::missing(id))?;
    Ok(Json(MachineSelf { id, machine, name }))
}

/// What callers are told; what failed inside is for the log.
pub(crate) fn failure(error: AuthorityError) -> Failure {
    let problem = error.problem();
    match problem.code {
        Code::Internal | Code::Unavailable => Failure::internal(error),
        _ => Failure(problem),
    }
}
