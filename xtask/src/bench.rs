//! Measures Freehold beside its peers.
use anyhow::Result;
pub(crate) fn run() -> Result<()> { anyhow::bail!("not yet") }
