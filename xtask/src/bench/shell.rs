//! Running the programs that are measured.

use anyhow::{Context, Result, ensure};
use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Runs a command to its end; an exit code other than 0 is an error with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output: Output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds an example of a package as it is measured.
pub(crate) fn build(package: &str, example: &str) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--package", package, "--example", example]);
    // What cargo tells this program of its own package: build scripts that ask for it would run again, and all
    // that stands on their crates be built again.
    let of_ours = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars().map(|(name, _)| name).filter(of_ours) {
        cargo.env_remove(name);
    }
    run(&mut cargo).map(|_| ())
}

/// Waits until `condition` holds, looking every two milliseconds.
pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        ensure!(Instant::now() < deadline, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
