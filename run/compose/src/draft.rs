//! The manifest in the making: what the conversion fills in and `render` writes.

use freehold_model::{Bytes, Millicores, Millis, Name};
use std::collections::BTreeMap;

/// An app.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) app: Name,
    /// In the order of the file.
    pub(crate) processes: Vec<Process>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) volumes: Vec<Volume>,
}

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) name: Name,
    pub(crate) image: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) count: Option<u32>,
    /// `None` where Compose sets no limit.
    pub(crate) cpu: Option<Millicores>,
    pub(crate) memory: Option<Bytes>,
    pub(crate) pids: Option<u32>,
    pub(crate) stop_timeout: Option<Millis>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) check: Option<Check>,
    pub(crate) after: Vec<Name>,
    /// Whether it may connect anywhere.
    pub(crate) open: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Secret {
    pub(crate) name: String,
    /// The variable, where it is called otherwise.
    pub(crate) env: Option<String>,
    pub(crate) file: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) command: Vec<String>,
    pub(crate) every: Option<Millis>,
    pub(crate) timeout: Option<Millis>,
    pub(crate) unhealthy_after: Option<u32>,
    pub(crate) grace: Option<Millis>,
}

#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) process: Name,
    pub(crate) listen: u16,
    pub(crate) target: u16,
    pub(crate) udp: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) name: Name,
    pub(crate) process: Name,
    pub(crate) path: String,
    /// What it was in Compose, where that was no volume.
    pub(crate) was: Option<String>,
}
