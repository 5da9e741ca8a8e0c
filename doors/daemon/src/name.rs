//! The name under which the control plane of a data directory holds leases: `control.json`.
//!
//! Made once, of the machine's name and chance, and kept: whoever starts again over the directory takes up at
//! once what its former life led. Only one process runs over a directory at a time (see [`crate::state`]).

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{fs, io::ErrorKind, path::Path};

#[derive(Serialize, Deserialize)]
struct Control {
    name: String,
}

/// The name of the control plane over `data`.
pub(crate) fn own(data: &Path) -> Result<String> {
    let file = data.join("control.json");
    match fs::read(&file) {
        Ok(text) => {
            let read: Control = serde_json::from_slice(&text).with_context(|| {
                format!("{} is damaged: remove it, and another name is made", file.display())
            })?;
            Ok(read.name)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let chance = ulid::Ulid::new().to_string().to_lowercase();
            let name = format!("{}-{}", crate::bootstrap::host_name(), &chance[chance.len() - 6..]);
            match crate::data::replace(&file, &Control { name: name.clone() }) {
                Ok(()) => {}
                // What ran before must run again all the same.
                Err(error) if crate::up::is_full(&error) => {
                    tracing::error!(error = format!("{error:#}"), "the name is made anew at the next start");
                }
                Err(error) => return Err(error),
            }
            Ok(name)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}
