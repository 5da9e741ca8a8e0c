//! The port through which the API reaches what runs on nodes: logs and exec.
//!
//! The daemon implements it on the agent. Everything else that the API says comes from the store.

use freehold_model::{
    EnvId, InstanceId, Name, Problem,
    exec::ExecRequest,
    logs::{LogLine, LogQuery},
};
use freehold_runtime::ExecSession;
use futures::stream::BoxStream;

/// Whose lines are wanted. Every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSelection {
    /// Of instances of this env.
    pub env: Option<EnvId>,
    /// Of instances of this process.
    pub process: Option<Name>,
    /// Of this instance, whether it still exists or not.
    pub instance: Option<InstanceId>,
}

/// The lines of one instance, in the order of time. Ends after the last one, or, when the query
/// follows, once the instance is gone.
pub type LogLines = BoxStream<'static, Result<LogLine, Problem>>;

/// What nodes do for the API.
#[async_trait::async_trait]
pub trait NodePort: Send + Sync + 'static {
    /// One stream for each instance that fits, gone ones included, all those known now at once. When
    /// `query` follows, the outer stream stays open and brings instances that appear later.
    ///
    /// # Errors
    /// A problem as the caller shall see it.
    async fn logs(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLines>, Problem>;

    /// Runs one more command inside an instance.
    ///
    /// # Errors
    /// A problem as the caller shall see it: the instance does not run here, there is no such program.
    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, Problem>;
}
