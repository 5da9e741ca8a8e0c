//! OCI images: the registry, pulling, unpacking, and building from a folder.
