//! Measures, copies and removes trees of files that strangers wrote, whatever their shape.
//!
//! Instances write anything into their layers and volumes, and images bring any files. Called by the image
//! store, the runtime and the agent. Invariants, for a tree of any shape: nothing recurses; at most
//! [`OPEN`] descriptors of each tree are open; memory does not grow with the number of files, and by 24
//! bytes for each level of depth; no path is longer than one name; no symbolic link is followed, so nothing
//! outside the tree is read, written or removed.

mod copy;
mod cursor;
mod measure;
mod remove;
#[cfg(test)]
mod testing;

pub use copy::{GoesOn, copy, copy_dir};
pub use cursor::{DEEPEST, OPEN};
pub use measure::measure;
pub use remove::{empty, remove, remove_at};
