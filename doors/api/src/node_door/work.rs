//! What a node is told: its instances, its volumes, their secrets, and when to ask again.

use super::{Door, guard::Caller};
use crate::{
    error::{Answer, Failure},
    extract::{Id, Json},
    params::{FromParams, Keys, Params},
};
use axum::{Json as Sent, extract::State};
use freehold_agent::{
    ControlError,
    remote::protocol::{Assignments, Changes, RoutingView, Secrets, SecretsWanted, Volumes, items},
};
use freehold_model::{Code, InstanceId, Problem};
use freehold_secrets::Recipient;
use std::time::Duration;
use tokio::time::timeout;

/// A poll that brings nothing is answered after so long.
const POLL: Duration = Duration::from_secs(20);

/// What the node knows of; one that has just started knows nothing.
pub(super) struct Known(Option<Changes>);

impl FromParams for Known {
    fn from_params(keys: &mut Keys) -> Self {
        let assignments = keys.number("assignments", 0..=u64::MAX);
        let routing = keys.number("routing", 0..=u64::MAX);
        Known(assignments.zip(routing).map(|(assignments, routing)| Changes { assignments, routing }))
    }
}

/// Answers when there is something else than the node knows of.
pub(super) async fn changes(
    State(door): State<Door>,
    Caller(node): Caller,
    Params(Known(known)): Params<Known>,
) -> Sent<Changes> {
    let mut changes = door.hall.changes(node);
    let (mut news, mut ready) = (changes.clone(), door.ready.clone());
    let any = async {
        tokio::select! {
            _ = news.wait_for(|now| Some(*now) != known) => {}
            _ = ready.wait_for(|ready| !*ready) => {}
        }
    };
    let _ = timeout(POLL, any).await;
    let now = *changes.borrow_and_update();
    Sent(now)
}

/// Every instance of the node.
pub(super) async fn assignments(State(door): State<Door>, Caller(node): Caller) -> Answer<Sent<Assignments>> {
    let all = door.hall.control(node).assigned().await.map_err(failure)?;
    Ok(Sent(Assignments { instances: items(all) }))
}

/// Every volume of the node.
pub(super) async fn volumes(State(door): State<Door>, Caller(node): Caller) -> Answer<Sent<Volumes>> {
    let all = door.hall.control(node).volumes().await.map_err(failure)?;
    Ok(Sent(Volumes { volumes: items(all) }))
}

/// What the node's edge routes by.
pub(super) async fn routing(State(door): State<Door>, Caller(node): Caller) -> Answer<Sent<RoutingView>> {
    Ok(Sent(door.hall.routing(node).await?))
}

/// The secrets of an instance of the node, sealed for it.
pub(super) async fn secrets(
    State(door): State<Door>,
    Caller(node): Caller,
    Id(id): Id<InstanceId>,
    Json(wanted): Json<SecretsWanted>,
) -> Answer<Sent<Secrets>> {
    let recipient: Recipient = wanted.recipient.parse().map_err(|error| {
        Problem::new(Code::Invalid, "The request's body is not as expected.")
            .detail(format!("recipient: {error}"))
    })?;
    let secrets = door.hall.control(node).secrets(id, &recipient).await.map_err(failure)?;
    Ok(Sent(Secrets { secrets }))
}

/// What the agent's port says, as a problem.
pub(super) fn failure(error: ControlError) -> Failure {
    match error {
        ControlError::Gone(id) => Problem::new(Code::NotFound, format!("This node has no {id}.")).into(),
        ControlError::Refused(why) => Problem::new(Code::Conflict, why).into(),
        ControlError::Unavailable(why) => {
            tracing::warn!(why, "a node was not answered");
            Problem::new(Code::Unavailable, "The store does not answer.").into()
        }
    }
}
