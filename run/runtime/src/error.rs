//! What can go wrong on the agent's side. Failures inside a shim arrive as text in
//! [`RunState::StartFailed`](crate::RunState).

use freehold_model::InstanceId;
use std::{io, path::PathBuf};

/// A runtime operation that failed; each names the instance or the path.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// An instance is started at most once at a time.
    #[error("{0} already runs on this node; stop it first")]
    AlreadyRunning(InstanceId),
    /// What runs is not removed.
    #[error("{0} still runs; signal it and wait for its exit before removing it")]
    StillRunning(InstanceId),
    /// Only what runs can be signalled or given more commands.
    #[error("{0} does not run")]
    NotRunning(InstanceId),
    /// The launch cannot work as written.
    #[error("{instance} cannot be launched: {reason}")]
    BadLaunch {
        /// Which instance.
        instance: InstanceId,
        /// What is wrong, and what to write instead.
        reason: String,
    },
    /// The shim or the exec helper could not be started.
    #[error("cannot start `{program}`: {source}; is the program still where it was?")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the instance could not be read or written.
    #[error("cannot {verb} {path}: {source}")]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The rules of the instances' network could not be set.
    #[error("the network of instances cannot be guarded: {0}; `freehold doctor` says what is missing")]
    Network(#[source] io::Error),
    /// What surrounds an instance could not be put back.
    #[error("it cannot be put back: {0}")]
    Surroundings(#[source] io::Error),
    /// The shim did not take a command.
    #[error("the shim of {instance} does not answer: {source}")]
    Shim {
        /// Which instance.
        instance: InstanceId,
        /// What the system said.
        source: io::Error,
    },
    /// Something of the instance outlived it.
    #[error("cannot clean up after {instance}: {source}; try again once its processes are gone")]
    Cleanup {
        /// Which instance.
        instance: InstanceId,
        /// What the system said.
        source: io::Error,
    },
}

impl RuntimeError {
    /// For `map_err`: an error of file `path`.
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| RuntimeError::File { verb, path, source }
    }
}
