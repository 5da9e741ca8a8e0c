//! The agent's port to a control plane that is far: each call is a request. When to ask is told by the lines
//! for calls; where none tells, by a long poll.

use super::{
    link::{Link, LinkError},
    news::{Follower, Told},
    protocol::{
        Assignments, Changes, EndpointReport, RoutingView, Secrets, SecretsWanted, VolumeReport, Volumes,
        resources,
    },
};
use crate::control::{Control, ControlError, NodeReport};
use async_trait::async_trait;
use freehold_model::{
    EndpointId, EndpointStatus, Instance, InstanceId, InstanceStatus, Volume, VolumeId, VolumeStatus,
};
use freehold_secrets::{Delivered, Recipient};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Lists are long.
const PATIENCE: Duration = Duration::from_secs(30);
/// The control plane answers a poll after half of this at the latest.
const POLL: Duration = Duration::from_secs(40);

/// The control plane over the network.
pub struct RemoteControl {
    link: Arc<Link>,
    assignments: watch::Receiver<u64>,
    routing: watch::Receiver<u64>,
    _following: AbortOnDropHandle<()>,
}

impl RemoteControl {
    /// Follows the control planes of `link` until it is dropped.
    pub fn new(link: Arc<Link>) -> RemoteControl {
        let (said, assignments) = watch::channel(0);
        let (routes, routing) = watch::channel(0);
        let following = AbortOnDropHandle::new(tokio::spawn(follow(Arc::clone(&link), said, routes)));
        RemoteControl { link, assignments, routing, _following: following }
    }

    /// Changes whenever what the edge routes by may have changed.
    pub fn routing_changed(&self) -> watch::Receiver<u64> {
        self.routing.clone()
    }

    /// What the edge routes by.
    ///
    /// # Errors
    /// When no control plane answers, or it refuses; likewise below.
    pub async fn routing(&self) -> Result<RoutingView, ControlError> {
        Ok(self.link.get("v1/node/routing", PATIENCE).await?)
    }

    /// Tells what became of endpoints.
    pub async fn report_endpoints(
        &self,
        endpoints: BTreeMap<EndpointId, EndpointStatus>,
    ) -> Result<(), ControlError> {
        Ok(self.link.post("v1/node/endpoints", &EndpointReport { endpoints }).await?)
    }
}

/// Follows changes until nobody listens. After each failure everything may have changed.
async fn follow(link: Arc<Link>, assignments: watch::Sender<u64>, routing: watch::Sender<u64>) {
    let mut news = link.news().follow();
    let mut known: Option<Told> = None;
    while !assignments.is_closed() || !routing.is_closed() {
        let now = match next(&link, &mut news, known).await {
            Ok(now) => now,
            Err(error) => {
                if known.take().is_some() {
                    tracing::warn!(%error, "the control plane is away; what runs here goes on");
                }
                // What is refused would be refused at once again.
                let pause = Duration::from_secs(1).mul_f64(rand::random_range(0.5..1.5));
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        let before = known.replace(now);
        if before.is_none() {
            tracing::info!("the control plane answers");
        }
        let same = before.filter(|before| before.began == now.began).map(|before| before.changes);
        if same.is_none_or(|before| before.assignments != now.changes.assignments) {
            assignments.send_modify(|n| *n += 1);
        }
        if same.is_none_or(|before| before.routing != now.changes.routing) {
            routing.send_modify(|n| *n += 1);
        }
    }
}

/// What is so once it differs from what is known: as a line tells it, or else as the control plane answers.
async fn next(link: &Link, news: &mut Follower, known: Option<Told>) -> Result<Told, LinkError> {
    loop {
        match news.now() {
            Some(told) if Some(told) != known => return Ok(told),
            Some(_) => news.changed().await,
            None => {
                let polled = async {
                    link.may_try().await;
                    poll(link, known).await
                };
                tokio::select! {
                    polled = polled => return polled,
                    () = news.changed() => {}
                }
            }
        }
    }
}

/// Asks for changes; the answer takes a while where there are none.
async fn poll(link: &Link, known: Option<Told>) -> Result<Told, LinkError> {
    let asked = match known {
        Some(Told { changes: Changes { assignments, routing }, .. }) => {
            format!("v1/node/changes?assignments={assignments}&routing={routing}")
        }
        None => "v1/node/changes".into(),
    };
    let changes = link.get::<Changes>(&asked, POLL).await?;
    Ok(Told { began: known.map_or(0, |known| known.began), changes })
}

#[async_trait]
impl Control for RemoteControl {
    async fn assigned(&self) -> Result<Vec<Instance>, ControlError> {
        let all: Assignments = self.link.get("v1/node/assignments", PATIENCE).await?;
        whole(all.instances)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.assignments.clone()
    }

    async fn secrets(&self, id: InstanceId, node: &Recipient) -> Result<Vec<Delivered>, ControlError> {
        let wanted = SecretsWanted { recipient: node.to_string() };
        let answer = self.link.post::<Secrets>(&format!("v1/node/instances/{id}/secrets"), &wanted).await;
        Ok(answer.map_err(|error| error.about(id))?.secrets)
    }

    async fn report(&self, id: InstanceId, status: &InstanceStatus) -> Result<(), ControlError> {
        let told = self.link.post(&format!("v1/node/instances/{id}/status"), status).await;
        told.map_err(|error| error.about(id))
    }

    async fn volumes(&self) -> Result<Vec<Volume>, ControlError> {
        let all: Volumes = self.link.get("v1/node/volumes", PATIENCE).await?;
        whole(all.volumes)
    }

    async fn report_volume(
        &self,
        id: VolumeId,
        status: &VolumeStatus,
        event: Option<&'static str>,
    ) -> Result<(), ControlError> {
        let report = VolumeReport { status: status.clone(), event: event.map(str::to_owned) };
        Ok(self.link.post(&format!("v1/node/volumes/{id}/status"), &report).await?)
    }

    async fn volume_gone(&self, id: VolumeId) -> Result<(), ControlError> {
        Ok(self.link.delete(&format!("v1/node/volumes/{id}")).await?)
    }

    async fn report_node(&self, report: &NodeReport) -> Result<(), ControlError> {
        Ok(self.link.post("v1/node/report", report).await?)
    }
}

/// Everything or nothing: what a list does not name would be stopped.
fn whole<S: freehold_model::Spec>(
    items: Vec<super::protocol::Item<S>>,
) -> Result<Vec<freehold_model::Resource<S>>, ControlError> {
    let count = items.len();
    let read = resources(items);
    match read.len() == count {
        true => Ok(read),
        false => Err(ControlError::Refused("the list holds what this version cannot read".into())),
    }
}
