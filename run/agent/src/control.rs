//! The port to the control plane: what the node should run, and where it says what it sees.

use async_trait::async_trait;
use freehold_model::{Instance, InstanceId, InstanceStatus, Volume, VolumeId, VolumeStatus};
use freehold_secrets::{Delivered, Recipient};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The control plane as one node sees it. In process it is the store; from afar it is the network.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Every instance whose node is this one, to be run or to be stopped.
    ///
    /// # Errors
    /// When the control plane does not answer; the node goes on with what it knows.
    async fn assigned(&self) -> Result<Vec<Instance>, ControlError>;

    /// Changes whenever the assignments may have changed. A hint: the agent asks from time to time as well.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Every secret of an instance's template, sealed for the node with this key.
    ///
    /// # Errors
    /// When the control plane does not answer or refuses; the agent tries again later.
    async fn secrets(&self, id: InstanceId, node: &Recipient) -> Result<Vec<Delivered>, ControlError>;

    /// Records what was observed of an instance.
    ///
    /// # Errors
    /// [`ControlError::Gone`] when nobody knows the instance any more; otherwise the agent tries again.
    async fn report(&self, id: InstanceId, status: &InstanceStatus) -> Result<(), ControlError>;

    /// Every volume whose node is this one, to be kept or to be removed.
    ///
    /// # Errors
    /// When the control plane does not answer; likewise below.
    async fn volumes(&self) -> Result<Vec<Volume>, ControlError>;

    /// Records what was observed of a volume, with an event that says what is special about it.
    async fn report_volume(
        &self,
        id: VolumeId,
        status: &VolumeStatus,
        event: Option<&'static str>,
    ) -> Result<(), ControlError>;

    /// A volume that was to be removed is gone from the node: its resource can go too.
    async fn volume_gone(&self, id: VolumeId) -> Result<(), ControlError>;

    /// Records what became of the node's own surroundings.
    async fn report_node(&self, report: &NodeReport) -> Result<(), ControlError>;
}

/// What a node says of what surrounds its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// Why instances are not kept apart, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unguarded: Option<String>,
    /// What cannot be put back, and why, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// Who else uses the range of instances' addresses on the node, where somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_used: Option<String>,
    /// What others had taken away and is there again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub healed: Vec<Healed>,
}

/// Something that others had taken away and is there again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// What was wrong, for people.
    pub what: String,
    /// How that was noticed.
    pub noticed: Noticed,
    /// For how long at most it was so, in milliseconds: since it was last seen to be well.
    pub gone: u64,
    /// How often, since the last that was told of.
    pub times: u32,
}

/// How something was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noticed {
    /// The kernel told of a change.
    Notified,
    /// It was looked for, as it is from time to time.
    Looked,
}

/// Why the control plane did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// It does not answer; later it may.
    #[error("the control plane does not answer: {0}")]
    Unavailable(String),
    /// There is no such instance any more.
    #[error("{0} is unknown to the control plane")]
    Gone(InstanceId),
    /// It will not, and says why.
    #[error("{0}")]
    Refused(String),
}
