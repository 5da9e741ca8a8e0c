//! What Cargo says of the workspace: its packages, where they stand and what they depend on.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, process::Command};

/// One package of the workspace.
pub(crate) struct Package {
    /// Its folder, relative to the root: `run/agent`.
    pub(crate) folder: String,
    /// The folders of the workspace's packages that it depends on, tests aside.
    pub(crate) uses: Vec<String>,
    /// The names of all packages that it depends on directly, tests aside.
    pub(crate) dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct RawPackage {
    manifest_path: PathBuf,
    dependencies: Vec<RawDependency>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

/// The root of the workspace and its packages by folder.
pub(crate) fn read() -> Result<(PathBuf, BTreeMap<String, Package>)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata's answer")?;
    let root = metadata.workspace_root;
    let folder = |path: &std::path::Path| {
        path.strip_prefix(&root).map(|inside| inside.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let packages = metadata.packages.iter().map(|raw| {
        let linked = raw.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        let package = Package {
            folder: folder(raw.manifest_path.parent().unwrap_or(&root)),
            uses: linked.clone().filter_map(|dependency| dependency.path.as_deref()).map(folder).collect(),
            dependencies: linked.map(|dependency| dependency.name.clone()).collect(),
        };
        (package.folder.clone(), package)
    });
    let packages = packages.collect();
    Ok((root, packages))
}
