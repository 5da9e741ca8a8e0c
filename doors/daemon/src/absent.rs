//! What the API of a control plane without a node says when it is asked for what only a node knows.

use async_trait::async_trait;
use freehold_api::{AccessLines, ClosedPort, EdgePort, LogSelection, LogTrail, NodePort};
use freehold_model::{
    Code, EndpointId, InstanceId, InstanceSpec, NodeSpec, Problem,
    drill::EgressTry,
    exec::ExecRequest,
    logs::LogQuery,
    manifest::Protocol,
    traffic::{AccessQuery, EndpointTraffic},
};
use freehold_reconcile::{Store, ViewExt as _};
use freehold_runtime::ExecSession;
use futures::{StreamExt, stream, stream::BoxStream};
use std::sync::Arc;

/// Refuses, and names the node that would know.
pub(crate) struct Absent(pub(crate) Arc<dyn Store>);

impl Absent {
    pub(crate) async fn problem(&self, instance: Option<InstanceId>) -> Problem {
        match self.node_of(instance).await {
            Some(node) => absent(&format!("node `{node}` is not connected to this control plane")),
            None => absent("no node is connected to this control plane"),
        }
    }

    async fn node_of(&self, instance: Option<InstanceId>) -> Option<String> {
        let view = self.0.view().await.ok()?;
        let instance = view.find::<InstanceSpec>(instance?).ok()??;
        Some(view.find::<NodeSpec>(instance.spec.node).ok()??.name)
    }
}

fn absent(title: &str) -> Problem {
    Problem::new(Code::Unavailable, title).hint(
        "ask the control plane that the node runs with: `freehold control list` shows where each is reached",
    )
}

#[async_trait]
impl NodePort for Absent {
    async fn logs(&self, _: LogSelection, _: LogQuery) -> Result<BoxStream<'static, LogTrail>, Problem> {
        Err(self.problem(None).await)
    }

    async fn drill_egress(
        &self,
        instances: Vec<InstanceId>,
        _: Vec<(u16, String)>,
    ) -> Result<Vec<EgressTry>, Problem> {
        Err(self.problem(instances.first().copied()).await)
    }

    async fn exec(&self, instance: InstanceId, _: ExecRequest) -> Result<ExecSession, Problem> {
        Err(self.problem(Some(instance)).await)
    }
}

impl EdgePort for Absent {
    /// There is no machine here to try it on: it is tried when the deploy begins.
    fn try_port(&self, _: Protocol, _: u16) -> Result<(), ClosedPort> {
        Ok(())
    }

    fn traffic(&self, _: EndpointId) -> Option<EndpointTraffic> {
        None
    }

    fn access(&self, _: EndpointId, _: AccessQuery) -> AccessLines {
        stream::iter([Err(absent("no node is connected to this control plane"))]).boxed()
    }
}
