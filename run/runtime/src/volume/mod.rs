//! Volumes on this node: their directories, their place in an instance, and copies of what they hold.
//!
//! A volume is `<volumes>/<id>`, readable by nobody but root: `data` is what instances see; `initialised`
//! says that it has had its first content. Instances can write anything into `data`, links to anywhere
//! included, so everything here goes from descriptor to descriptor and follows nothing.

mod freeze;
mod measure;
mod mount;

pub use freeze::Frozen;
pub use measure::measure;
pub(crate) use mount::mount;

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A volume at a path of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's directory.
    pub dir: PathBuf,
    /// Where the instance finds its data.
    pub path: String,
}

/// What instances see of the volume in `dir`.
pub fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// The file that says that the volume in `dir` has had its first content.
pub fn initialised(dir: &Path) -> PathBuf {
    dir.join("initialised")
}
