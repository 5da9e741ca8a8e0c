//! This machine's node: what it tells the control plane of itself, and its door for logs and exec.

use anyhow::{Context, Result};
use async_trait::async_trait;
use freehold_agent::{Agent, AgentError, LogSource};
use freehold_api::{LogLines, LogSelection, NodePort};
use freehold_model::{
    Actor, Bytes, Capacity, Code, Condition, InstanceId, Millicores, NodeId, NodeSpec, NodeStatus, Problem,
    Txn, api::Doctor, exec::ExecRequest, logs::LogQuery,
};
use freehold_reconcile::Store;
use freehold_runtime::{ExecSession, RuntimeError};
use futures::{StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

/// Instances that appear while a log is followed are looked for so often.
const NEWCOMERS: Duration = Duration::from_millis(500);

/// Writes what the machine has to give into the node's status.
pub(crate) async fn register(store: &dyn Store, node: NodeId, doctor: &Doctor, now: Timestamp) -> Result<()> {
    let works = !doctor.drivers.is_empty();
    let missing = doctor.findings.iter().find(|finding| !finding.ok);
    let status = NodeStatus {
        capacity: capacity()?,
        drivers: doctor.drivers.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: Some(now),
        conditions: vec![Condition {
            kind: "Ready".into(),
            state: works,
            reason: if works { "DriversWork" } else { "NoDriver" }.into(),
            message: match missing {
                Some(finding) if !works => format!("{}: {}", finding.name, finding.found),
                _ => "takes instances".into(),
            },
            since: now,
        }],
    };
    let mut txn = Txn::new(Actor::Node(node.to_string()), "start", "agent");
    txn.observe::<NodeSpec>(node, &status);
    store.commit(txn).await.context("cannot register the node").map(drop)
}

fn capacity() -> Result<Capacity> {
    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    let meminfo = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kib: u64 = total.and_then(|text| text.parse().ok()).context("no MemTotal in /proc/meminfo")?;
    Ok(Capacity { cpu: Millicores(cores * 1000), memory: Bytes(kib * 1024) })
}

/// The agent as the API reaches it.
pub(crate) struct Door {
    agent: Arc<Agent>,
}

impl Door {
    pub(crate) fn new(agent: Arc<Agent>) -> Door {
        Door { agent }
    }
}

#[async_trait]
impl NodePort for Door {
    async fn logs(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLines>, Problem> {
        let search = Search { agent: self.agent.clone(), selection, query, seen: BTreeSet::new() };
        let follow = search.query.follow;
        let rounds = stream::unfold((search, true), move |(mut search, first)| async move {
            if !first {
                if !follow {
                    return None;
                }
                tokio::time::sleep(NEWCOMERS).await;
            }
            let found = tokio::task::block_in_place(|| search.newcomers());
            Some((stream::iter(found), (search, false)))
        });
        Ok(rounds.flatten().boxed())
    }

    async fn exec(&self, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, Problem> {
        self.agent.exec(instance, &request).await.map_err(|error| {
            let code = match &error {
                AgentError::NotRunning(_) | AgentError::Runtime(RuntimeError::NotRunning { .. }) => {
                    Code::Conflict
                }
                _ => Code::Internal,
            };
            Problem::new(code, error.to_string())
        })
    }
}

/// A search for logs that is made again and again while they are followed.
struct Search {
    agent: Arc<Agent>,
    selection: LogSelection,
    query: LogQuery,
    seen: BTreeSet<InstanceId>,
}

impl Search {
    /// The logs that fit and were not found before.
    fn newcomers(&mut self) -> Vec<LogLines> {
        let sources = self.agent.log_sources();
        let fitting = sources.into_iter().filter(|source| fits(&self.selection, source));
        let new: Vec<LogSource> = fitting.filter(|source| self.seen.insert(source.instance)).collect();
        new.iter().map(|source| self.lines(source)).collect()
    }

    fn lines(&self, source: &LogSource) -> LogLines {
        let lines = self.agent.logs(source.instance, &source.process, &self.query);
        lines.map(|line| line.map_err(|error| Problem::new(Code::Internal, error.to_string()))).boxed()
    }
}

fn fits(wanted: &LogSelection, source: &LogSource) -> bool {
    wanted.env.is_none_or(|env| env == source.env)
        && wanted.process.as_ref().is_none_or(|process| *process == source.process)
        && wanted.instance.is_none_or(|instance| instance == source.instance)
}
