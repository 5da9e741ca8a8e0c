//! Signing in where there is no browser (RFC 8628): a program asks, and asks again until somebody answered on the
//! page `/device`.

use crate::{
    browser,
    commit::commit,
    error::{Answer, Failure},
    extract::HiddenJson,
    params::{NoParams, Params},
    signing::{self, Attempt},
    state::Api,
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_identity::{self as identity, Polled, TokenHash};
use freehold_model::{
    Code, Problem, Txn,
    device_sign_in::{DeviceAsked, DevicePoll, DevicePolled, DeviceState},
    people::SignedIn,
};

/// Asks that somebody allow the caller to act for them.
#[utoipa::path(post, path = "/v1/session/device", operation_id = "ask_to_sign_in", tag = "people", security(()),
    responses((status = 201, description = "The codes, good for ten minutes", body = DeviceAsked)))]
pub(crate) async fn ask(
    State(api): State<Api>,
    attempt: Attempt,
    _: Params<NoParams>,
) -> Answer<(StatusCode, Sent<DeviceAsked>)> {
    let now = api.clock.now();
    signing::may_try(&api.devices.asked, &attempt, now)?;
    api.devices.asked.failed(attempt.address.0, now);
    let origin = signing::origin(&api, &attempt).await?;
    let codes =
        commit(&api, move |view| identity::ask_to_sign_in(view, &origin, now).map_err(Failure::from)).await?;
    let page = format!("{}/device", browser::own_url(&api, &attempt.headers));
    let asked = DeviceAsked {
        verification_uri_complete: format!("{page}?code={}", codes.user),
        verification_uri: page,
        device_code: codes.device,
        user_code: codes.user,
        expires_in: identity::DEVICE_WAIT.as_secs().unsigned_abs(),
        interval: identity::Polls::INTERVAL.as_secs().unsigned_abs(),
    };
    Ok((StatusCode::CREATED, Sent(asked)))
}

/// What came of it: a session, once somebody allowed it, and only once.
#[utoipa::path(post, path = "/v1/session/device/poll", operation_id = "poll_sign_in", tag = "people", security(()),
    request_body = DevicePoll,
    responses((status = 200, description = "How far it is", body = DevicePolled)))]
pub(crate) async fn poll(
    State(api): State<Api>,
    attempt: Attempt,
    _: Params<NoParams>,
    HiddenJson(wanted): HiddenJson<DevicePoll>,
) -> Answer<Sent<DevicePolled>> {
    let (now, device) = (api.clock.now(), TokenHash::of(wanted.device_code.expose()));
    let request = attempt.request.clone();
    let decide = move |view: &dyn freehold_reconcile::View| {
        Ok(match identity::poll_device(view, &device, &request, now)? {
            Polled::Waiting => (Txn::new(freehold_model::Actor::System, "", ""), Fetched::Nothing),
            Polled::Denied(txn) => (txn, Fetched::Denied),
            Polled::Allowed(txn, opened) => (txn, Fetched::Session(opened)),
        })
    };
    let polled = |state, signed_in| Ok(Sent(DevicePolled { state, signed_in }));
    match commit(&api, decide).await? {
        Fetched::Nothing if api.devices.polls.too_soon(&device, now) => polled(DeviceState::SlowDown, None),
        Fetched::Nothing => polled(DeviceState::AuthorizationPending, None),
        Fetched::Denied => Err(Problem::new(Code::NotAllowed, "Somebody refused this sign-in.")
            .hint("If that was a mistake, start again: `freehold login`.")
            .into()),
        Fetched::Session(opened) => {
            let signed_in = SignedIn { session: opened.summary, token: Some(opened.secret), csrf: None };
            polled(DeviceState::Allowed, Some(signed_in))
        }
    }
}

enum Fetched {
    Nothing,
    Denied,
    Session(Box<identity::Opened>),
}
