//! The image store and its registry, driven through the public API, over HTTP, and by the clients that
//! other people use (skopeo, podman, umoci: found at start, skipped with a line when absent).

mod build;
mod clients;
mod collect;
mod conformance;
mod dialects;
mod full;
mod owners;
mod protocol;
mod remote;
mod support;
mod unpack;
