//! What a volume, or the layer of an instance, takes on the disk: strangers' files, counted as such.

pub use freehold_tree::measure;
