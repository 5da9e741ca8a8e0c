//! What a node says: what it sees of its instances, volumes and endpoints, what it has to give, that it lives.

use super::{Door, guard::Caller, work::failure};
use crate::{
    error::Answer,
    extract::{Id, Json},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_agent::remote::protocol::{
    EndpointReport, Heard, Heartbeat, InstanceReport, NodeReport, Registration, VolumeReport,
};
use freehold_model::{Code, InstanceId, Problem, VolumeId};

/// What can be special about a volume.
const VOLUME_EVENTS: &[&str] = &["volume.over_size", "volume.within_size", "volume.lost"];
/// No report tells of more.
const MOST_HEALED: usize = 64;
/// No text of a registration is longer.
const LONGEST: usize = 4096;

/// Takes the status of an instance.
pub(super) async fn instance(
    State(door): State<Door>,
    Caller(node): Caller,
    Id(id): Id<InstanceId>,
    Json(status): Json<InstanceReport>,
) -> Answer<StatusCode> {
    door.hall.control(node).report(id, &status).await.map_err(failure)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the status of a volume.
pub(super) async fn volume(
    State(door): State<Door>,
    Caller(node): Caller,
    Id(id): Id<VolumeId>,
    Json(report): Json<VolumeReport>,
) -> Answer<StatusCode> {
    // One of a later version tells us nothing.
    let event = report.event.as_deref().and_then(|said| VOLUME_EVENTS.iter().find(|known| **known == said));
    let control = door.hall.control(node);
    control.report_volume(id, &report.status, event.copied()).await.map_err(failure)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A volume that was to be removed is gone.
pub(super) async fn volume_gone(
    State(door): State<Door>,
    Caller(node): Caller,
    Id(id): Id<VolumeId>,
) -> Answer<StatusCode> {
    door.hall.control(node).volume_gone(id).await.map_err(failure)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes what became of endpoints.
pub(super) async fn endpoints(
    State(door): State<Door>,
    Caller(node): Caller,
    Json(report): Json<EndpointReport>,
) -> Answer<StatusCode> {
    door.hall.endpoints(node, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes what the node has to give.
pub(super) async fn registration(
    State(door): State<Door>,
    Caller(node): Caller,
    Json(said): Json<Registration>,
) -> Answer<StatusCode> {
    let texts = [
        ("version", Some(&said.version)),
        ("trouble", said.trouble.as_ref()),
        ("no_egress", said.no_egress.as_ref()),
    ];
    for (field, text) in texts {
        if text.is_some_and(|text| text.len() > LONGEST) {
            return Err(Problem::new(Code::Invalid, "The registration says too much.")
                .detail(format!("{field}: is longer than {LONGEST} bytes"))
                .into());
        }
    }
    door.hall.register(node, said).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes what became of the node's surroundings.
pub(super) async fn node(
    State(door): State<Door>,
    Caller(node): Caller,
    Json(report): Json<NodeReport>,
) -> Answer<StatusCode> {
    let states = [&report.unguarded, &report.lasting, &report.range_used];
    let texts = states.into_iter().flatten().chain(report.healed.iter().map(|healed| &healed.what));
    if report.healed.len() > MOST_HEALED || texts.into_iter().any(|text| text.len() > LONGEST) {
        let detail = format!("healed: at most {MOST_HEALED}; a text: at most {LONGEST} bytes");
        return Err(Problem::new(Code::Invalid, "The report says too much.").detail(detail).into());
    }
    door.hall.control(node).report_node(&report).await.map_err(failure)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The node lives.
pub(super) async fn heartbeat(
    State(door): State<Door>,
    Caller(node): Caller,
    Json(beat): Json<Heartbeat>,
) -> Sent<Heard> {
    Sent(door.hall.heard(node, &beat))
}
