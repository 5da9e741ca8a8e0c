//! What the machine can do.

use crate::{
    error::{Answer, Failure},
    params::{NoParams, Params},
    state::Api,
};
use axum::{Json, extract::State};
use freehold_model::{
    Node, NodeSpec, NodeStatus,
    api::{Doctor, Finding},
};
use freehold_reconcile::ViewExt as _;

/// Says what this machine can do, what it lacks, and how to mend that.
#[utoipa::path(get, path = "/v1/doctor", operation_id = "doctor", tag = "server",
    responses((status = 200, description = "What was found", body = Doctor)))]
pub(crate) async fn doctor(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<Doctor>> {
    let look = api.doctor.clone();
    let mut doctor = tokio::task::spawn_blocking(move || look()).await.map_err(Failure::internal)?;
    let view = api.store.view().await?;
    let nodes = view.all::<NodeSpec>(None)?;
    doctor.findings.extend(nodes.iter().flat_map(surroundings));
    Ok(Json(doctor))
}

/// What a node says of itself that trying things here does not show.
fn surroundings(node: &Node) -> impl Iterator<Item = Finding> {
    node.status.warnings().filter_map(|warning| {
        let (what, remedy) = match warning.kind.as_str() {
            NodeStatus::ISOLATION => ("isolation", UNGUARDED),
            NodeStatus::RANGE => ("range", RANGE_USED),
            NodeStatus::NETWORK => ("network", NOT_PUT_BACK),
            _ => return None,
        };
        Some(Finding {
            name: format!("{what} on {}", node.name),
            ok: false,
            found: warning.message.clone(),
            remedy: Some(remedy.into()),
            fix: vec![],
        })
    })
}

const RANGE_USED: &str = "packets for instances and for those others may go astray: give those others another network, \
    or delete what runs and start `freehold up` again, which chooses a free range, or the one that --instances-range names";
const NOT_PUT_BACK: &str = "Freehold puts back what is its own and leaves what is not: look for the route, the rule (`ip rule`) or \
    the program there that takes it away";
const UNGUARDED: &str = "instances are not kept apart there, and none starts: Freehold puts it back by itself; if \
    something takes it away again and again, `nft monitor` on that machine shows when, and the log of what \
    reloads the firewall there says who";
