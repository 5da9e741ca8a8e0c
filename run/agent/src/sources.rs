//! Whose log a directory holds: kept beside the lines, so that they can be found when the instance and
//! everything that the control plane knew of it are gone.

use freehold_model::{AnyId, EnvId, Instance, InstanceId, Name};
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

const FILE: &str = "source.json";

/// An instance whose log is on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSource {
    /// The instance.
    pub instance: InstanceId,
    /// The env that it belonged to.
    pub env: EnvId,
    /// The process that it ran.
    pub process: Name,
}

/// Notes whose log `log_dir` will hold.
pub(crate) fn note(log_dir: &Path, instance: &Instance) -> io::Result<()> {
    let Some(Ok(env)) = instance.parent.map(|parent: AnyId| EnvId::try_from(parent)) else { return Ok(()) };
    let source = LogSource { instance: instance.id, env, process: instance.spec.process.clone() };
    fs::create_dir_all(log_dir)?;
    let draft = log_dir.join("source.new");
    fs::write(&draft, serde_json::to_vec(&source)?)?;
    fs::rename(draft, log_dir.join(FILE))
}

/// Every log under `logs`, in the order of their instances' ids. What cannot be read is passed over.
pub(crate) fn list(logs: &Path) -> Vec<LogSource> {
    let entries = fs::read_dir(logs).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read(entry.path().join(FILE)).ok());
    let mut sources: Vec<LogSource> = texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect();
    sources.sort_by_key(|source| source.instance);
    sources
}
