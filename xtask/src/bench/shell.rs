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

/// Waits until `condition` holds, looking every two milliseconds.
pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        ensure!(Instant::now() < deadline, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
