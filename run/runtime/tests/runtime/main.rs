//! The drivers against the real kernel. Needs root and busybox; without, every test says that it was
//! skipped. What each test makes (groups, links, processes, mounts) is its own, so they run together.

mod adoption;
mod container;
mod doctor;
mod exec;
mod installation;
mod logs;
mod machine;
mod network;
mod peer;
mod process;
mod refused;
mod volume;
mod walls;
mod world;
