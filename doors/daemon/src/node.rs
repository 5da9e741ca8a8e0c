//! This machine's node: what it tells the control plane of itself, and its door for logs and exec.

use anyhow::{Context, Result};
use async_trait::async_trait;
use freehold_agent::{Agent, AgentError, LogSource};
use freehold_api::{LogSelection, LogTrail, NodePort};
use freehold_model::{
    Actor, Bytes, Capacity, Code, CommitError, Condition, InstanceId, Millicores, NodeId, NodeSpec,
    NodeStatus, Problem, Txn, api::Doctor, drill::EgressTry, exec::ExecRequest, logs::LogQuery,
};
use freehold_reconcile::Store;
use freehold_runtime::{ExecSession, RuntimeError, logs::Patterns, rootless};
use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use std::{fs, sync::Arc};

/// Writes what the machine has to give into the node's status.
pub(crate) async fn register(store: &dyn Store, node: NodeId, doctor: &Doctor, now: Timestamp) -> Result<()> {
    let works = !doctor.drivers.is_empty();
    let missing = doctor.findings.iter().find(|finding| !finding.ok);
    let status = NodeStatus {
        capacity: capacity()?,
        drivers: doctor.drivers.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: Some(now),
        lowest_port: rootless::lowest_port(),
        remote: false,
        heard_by: Default::default(),
        conditions: [
            Some(Condition {
                kind: "Ready".into(),
                state: works,
                reason: if works { "DriversWork" } else { "NoDriver" }.into(),
                message: match missing {
                    Some(finding) if !works => format!("{}: {}", finding.name, finding.found),
                    _ => "takes instances".into(),
                },
                since: now,
            }),
            no_egress(now),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let mut txn = Txn::new(Actor::Node(node.to_string()), "start", "agent");
    txn.observe::<NodeSpec>(node, &status);
    match store.commit(txn).await {
        // What ran before must run again all the same.
        Err(error @ CommitError::Full) => {
            tracing::error!(%error, "the node starts as it was known last: make room");
            Ok(())
        }
        done => done.context("cannot register the node").map(drop),
    }
}

/// Said where nothing outside can be reached, for those who plan.
fn no_egress(now: Timestamp) -> Option<Condition> {
    rootless::is_rootless().then(|| Condition {
        kind: NodeStatus::EGRESS.into(),
        state: false,
        reason: "Rootless".into(),
        message: rootless::EGRESS.into(),
        since: now,
    })
}

/// Once at every start, so that nobody trusts in what is not there.
pub(crate) fn say_what_root_would_have() {
    tracing::warn!("running without root: {}; {}", rootless::LIMITS, rootless::EGRESS);
    if let Some(lack) = rootless::lack() {
        tracing::warn!("images with other users than root do not run: {lack}");
    }
}

pub(crate) fn capacity() -> Result<Capacity> {
    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    let meminfo = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kib: u64 = total.and_then(|text| text.parse().ok()).context("no MemTotal in /proc/meminfo")?;
    Ok(Capacity { cpu: Millicores(cores * 1000), memory: Bytes(kib * 1024) })
}

/// The agent as the API reaches it.
pub(crate) struct Door {
    agent: Arc<Agent>,
    /// The port of the API, where it is on this node.
    port: Option<u16>,
}

impl Door {
    pub(crate) fn new(agent: Arc<Agent>, port: u16) -> Door {
        Door { agent, port: Some(port) }
    }

    /// Where the API is elsewhere.
    pub(crate) fn far(agent: Arc<Agent>) -> Door {
        Door { agent, port: None }
    }

    /// Whose logs of the selected env are here.
    pub(crate) async fn sources(&self, selection: &LogSelection) -> Vec<LogSource> {
        let agent = self.agent.clone();
        let sources = tokio::task::spawn_blocking(move || agent.log_sources()).await;
        sources.unwrap_or_default().into_iter().filter(|source| in_env(selection, source)).collect()
    }

    /// The logs here that fit; perhaps none.
    pub(crate) async fn trails(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogTrail>, Problem> {
        let patterns =
            Patterns::new(&query.grep).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        let trails = self.agent.logs(move |source| fits(&selection, source), query, patterns).await;
        let trails = trails.map(|trail| {
            let lines = trail
                .lines
                .map(|batch| batch.map_err(|error| Problem::new(Code::Internal, error.to_string())));
            LogTrail { starts: trail.starts, lines: lines.boxed() }
        });
        Ok(trails.boxed())
    }
}

/// A defect, or something of this machine that failed.
pub(crate) fn internal(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a node was not asked");
    Problem::new(Code::Internal, "Freehold failed to do this.").hint("The server's log says why.")
}

#[async_trait]
impl NodePort for Door {
    async fn logs(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogTrail>, Problem> {
        whole(&selection, &self.sources(&selection).await)?;
        self.trails(selection, query).await
    }

    async fn drill_egress(
        &self,
        instances: Vec<InstanceId>,
        ports: Vec<(u16, String)>,
    ) -> Result<Vec<EgressTry>, Problem> {
        let api = self.port.map(|port| (port, "the node's API and registry".to_owned()));
        let ports: Vec<(u16, String)> = api.into_iter().chain(ports).collect();
        let tried = instances.into_iter().map(|instance| self.agent.drill_egress(instance, ports.clone()));
        let mut all = vec![];
        for tried in futures::future::join_all(tried).await {
            all.extend(
                tried.map_err(|why| Problem::new(Code::Conflict, why).hint("Try again once it runs."))?,
            );
        }
        Ok(all)
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

/// Refuses a name that nothing has, where there is something to name.
pub(crate) fn whole(wanted: &LogSelection, sources: &[LogSource]) -> Result<(), Problem> {
    let env: Vec<&LogSource> = sources.iter().filter(|source| in_env(wanted, source)).collect();
    let mut known: Vec<&str> = env.iter().map(|source| source.process.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    for process in &wanted.processes {
        if !known.is_empty() && !known.contains(&process.as_str()) {
            let title = format!("No process `{process}` has printed anything there.");
            return Err(
                Problem::new(Code::NotFound, title).hint(format!("Those that have: {}.", known.join(", ")))
            );
        }
    }
    for text in &wanted.instances {
        let fitting =
            env.iter().filter(|source| source.instance.to_string().ends_with(text.as_str())).count();
        let whole = text.parse::<InstanceId>().is_ok();
        if !whole && fitting != 1 {
            let how_many = if fitting == 0 { "no instance".into() } else { format!("{fitting} instances") };
            let problem =
                Problem::new(Code::NotFound, format!("The ids of {how_many} with logs end with `{text}`."));
            return Err(
                problem.hint("Give more of the id, or all of it; `freehold status` shows those that run.")
            );
        }
    }
    Ok(())
}

fn in_env(wanted: &LogSelection, source: &LogSource) -> bool {
    wanted.env.is_none_or(|env| env == source.env)
}

fn fits(wanted: &LogSelection, source: &LogSource) -> bool {
    let id = source.instance.to_string();
    in_env(wanted, source)
        && (wanted.processes.is_empty() || wanted.processes.contains(&source.process))
        && (wanted.instances.is_empty() || wanted.instances.iter().any(|end| id.ends_with(end.as_str())))
}
