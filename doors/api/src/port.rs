//! The port through which the API reaches what runs on nodes: logs and exec.
//!
//! The daemon implements it on the agent. Everything else that the API says comes from the store.

use freehold_model::{
    EnvId, InstanceId, Name, Problem,
    exec::{ExecRequest, TtySize},
    logs::{LogLine, LogQuery},
};
use futures::stream::BoxStream;
use tokio::sync::mpsc;

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

/// A command that runs inside an instance. Dropping it ends the command.
#[derive(Debug)]
pub struct ExecSession {
    /// What the caller sends.
    pub input: mpsc::Sender<ExecInput>,
    /// What the command prints, and last how it ended.
    pub output: mpsc::Receiver<ExecOutput>,
}

/// What the caller of a running command sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Bytes of standard input.
    Bytes(Vec<u8>),
    /// Standard input has ended.
    Eof,
    /// The terminal has another size.
    Resize(TtySize),
    /// A signal, by number.
    Signal(i32),
}

/// What a running command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Bytes of standard output, or of the terminal.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
    /// It ended with this code (128 + n when signal n killed it). The last message.
    Exit(i32),
    /// It could not be run, for this reason. The last message.
    Failed(String),
}
