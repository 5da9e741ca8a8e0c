//! Background tasks of a control plane as people see them: what each does, how it went, and whether it hangs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Every background task of one control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackgroundTasks {
    /// The control plane's name.
    pub control: String,
    /// In order of names.
    pub items: Vec<BackgroundTask>,
}

/// One background task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackgroundTask {
    /// Its name; a reconciler's is that of its lease.
    pub name: String,
    /// What it does, in one sentence.
    pub purpose: String,
    /// Whether it works, waits or is broken.
    pub state: TaskState,
    /// How often it runs by itself, in seconds; absent where only events wake it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// The run under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<TaskRun>,
    /// The last run that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<TaskResult>,
    /// Runs that ended since this control plane started.
    pub runs: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How often it panicked, hung or ended too early, and was started again.
    pub restarts: u64,
    /// What last made it start again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How many events of the log it has not looked at yet; absent where it does not follow the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// How a background task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// A run is under way.
    Running,
    /// It waits for its time or for an event.
    Idle,
    /// Another control plane leads, or none does yet.
    Follower,
    /// It broke and is about to be started again.
    Restarting,
    /// It does not end, even when asked to: its lease was given up. Only a restart of the program mends it.
    Stuck,
}

/// A run that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskRun {
    /// What it is about: a resource's id, or what woke it.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskResult {
    /// What it was about.
    pub reason: String,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub ended: Timestamp,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// Why it failed; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
