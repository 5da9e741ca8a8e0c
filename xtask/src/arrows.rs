//! Proves that dependencies between crates run downward only (docs/design.md, §1).
//!
//! base/model ← base/reconcile ← trust ← {base/store, base/client} ← capabilities ← doors, and
//! capabilities do not import each other. Arrows inside a folder are listed here one by one.

use crate::workspace::{self, Package};
use anyhow::{Result, bail};

/// Arrows inside one folder that the design finds natural.
const INSIDE: &[(&str, &str)] = &[
    ("run/agent", "run/runtime"),
    ("trust/identity", "trust/secrets"),
    ("run/agent", "run/image"),
    ("run/deploy", "run/schedule"),
    ("doors/daemon", "doors/api"),
    ("doors/cli", "doors/daemon"),
    ("base/store", "base/reconcile"),
    ("base/reconcile", "base/model"),
];

/// Crates that decide, and so know no IO: none of these may be linked.
const PURE: &[&str] = &["base/model", "run/schedule", "run/compose"];
const IO: &[&str] = &["tokio", "reqwest", "rusqlite", "axum", "hyper", "rustix", "nix", "libcontainer"];

/// How far up a crate stands; `None` for what stands outside the house.
fn floor(folder: &str) -> Option<u8> {
    Some(match folder {
        "base/model" => 0,
        "base/reconcile" => 1,
        _ => match folder.split('/').next()? {
            "trust" => 2,
            "base" => 3,
            "run" | "reach" | "watch" | "keep" => 4,
            "doors" => 5,
            "apps" => 6,
            _ => return None,
        },
    })
}

/// Why `from` may not depend on `to`; `None` when it may.
fn fault(from: &str, to: &str) -> Option<String> {
    if INSIDE.contains(&(from, to)) {
        return None;
    }
    let (Some(above), Some(below)) = (floor(from), floor(to)) else {
        return Some(format!("{from} → {to}: {to} is no part of the house that others may build on"));
    };
    if from.starts_with("apps/") && !matches!(to, "base/client" | "base/model") {
        return Some(format!("{from} → {to}: apps reach the platform only through base/client"));
    }
    match above.cmp(&below) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal => Some(format!("{from} → {to}: same floor; meet in resources and events")),
        std::cmp::Ordering::Less => Some(format!("{from} → {to}: the arrow points up")),
    }
}

fn faults(package: &Package) -> impl Iterator<Item = String> {
    let arrows = package.uses.iter().filter_map(|to| fault(&package.folder, to));
    let impure = package
        .dependencies
        .iter()
        .filter(|name| PURE.contains(&package.folder.as_str()) && IO.contains(&name.as_str()))
        .map(|name| format!("{} → {name}: this crate decides and must not do IO", package.folder));
    arrows.chain(impure)
}

/// Fails with every arrow that points the wrong way.
pub(crate) fn check() -> Result<()> {
    let (_, packages) = workspace::read()?;
    let inside = packages.values().filter(|package| floor(&package.folder).is_some());
    let faults: Vec<String> = inside.clone().flat_map(faults).collect();
    if faults.is_empty() {
        println!("arrows: {} crates, every arrow points down", inside.count());
        return Ok(());
    }
    bail!("{} wrong arrows:\n  {}", faults.len(), faults.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_run_downward_only() {
        assert_eq!(fault("run/deploy", "base/model"), None);
        assert_eq!(fault("doors/api", "run/deploy"), None);
        assert_eq!(fault("run/deploy", "run/schedule"), None);
        for (from, to) in [
            ("base/model", "base/reconcile"),
            ("run/deploy", "reach/edge"),
            ("run/schedule", "run/deploy"),
            ("base/client", "base/store"),
            ("apps/library", "base/store"),
            ("run/agent", "xtask"),
        ] {
            assert!(fault(from, to).is_some(), "{from} → {to}");
        }
    }

    #[test]
    fn a_pure_crate_links_no_io() {
        let package =
            Package { folder: "run/schedule".into(), uses: vec![], dependencies: vec!["tokio".into()] };
        assert_eq!(faults(&package).count(), 1);
    }
}
