//! The ports through which the API reaches what runs on nodes: logs and exec, and what endpoints carry.
//!
//! The daemon implements them on the agent and the edge. Everything else that the API says comes from the store.

use freehold_model::{
    EndpointId, EnvId, InstanceId, Name, Problem,
    drill::EgressTry,
    exec::ExecRequest,
    logs::LogQuery,
    manifest::Protocol,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use freehold_runtime::{ExecSession, logs::LogBatch};
use futures::stream::BoxStream;
use jiff::Timestamp;

/// Whose lines are wanted. Every given condition must hold; of several names one must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSelection {
    /// Of instances of this env.
    pub env: Option<EnvId>,
    /// Of instances of these processes.
    pub processes: Vec<Name>,
    /// Of these instances, named by their ids or the ends of them, whether they still exist or not.
    pub instances: Vec<String>,
}

/// The lines of one instance, in the order of time. Ends after the last one, or, when the query
/// follows, once the instance is gone.
pub type LogLines = BoxStream<'static, Result<LogBatch, Problem>>;

/// The log of one instance.
pub struct LogTrail {
    /// No line of it is older: it need not be read before. Unknown where it has no line.
    pub starts: Option<Timestamp>,
    /// Its lines.
    pub lines: LogLines,
}

/// What nodes do for the API.
#[async_trait::async_trait]
pub trait NodePort: Send + Sync + 'static {
    /// The log of each instance that fits, gone ones included, all those known now at once. When
    /// `query` follows, the stream stays open and brings instances that appear later.
    ///
    /// # Errors
    /// A problem as the caller shall see it.
    async fn logs(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogTrail>, Problem>;

    /// Tries from inside each of `instances` where it can connect to; `ports` are the node's endpoints.
    ///
    /// # Errors
    /// A problem as the caller shall see it.
    async fn drill_egress(
        &self,
        instances: Vec<InstanceId>,
        ports: Vec<(u16, String)>,
    ) -> Result<Vec<EgressTry>, Problem>;

    /// Runs one more command inside an instance.
    ///
    /// # Errors
    /// A problem as the caller shall see it: the instance does not run here, there is no such program.
    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, Problem>;
}

/// Lines of an access log, the oldest first, in chunks.
pub type AccessLines = BoxStream<'static, Result<Vec<AccessLine>, Problem>>;

/// A port that an endpoint could not have now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedPort {
    /// Why, and who has it, in a sentence.
    pub reason: String,
    /// Freehold itself has it, and may be about to let it go.
    pub is_ours: bool,
    /// Somebody has it; otherwise it can't be had at all.
    pub is_taken: bool,
}

/// What the edge tells the API.
pub trait EdgePort: Send + Sync + 'static {
    /// Tries whether an endpoint could listen on `port` of this machine.
    ///
    /// # Errors
    /// When it could not now.
    fn try_port(&self, protocol: Protocol, port: u16) -> Result<(), ClosedPort>;

    /// What an endpoint has carried; `None` if the edge does not know it.
    fn traffic(&self, endpoint: EndpointId) -> Option<EndpointTraffic>;

    /// The lines of an endpoint's access log that `query` wants.
    fn access(&self, endpoint: EndpointId, query: AccessQuery) -> AccessLines;
}
