//! End-to-end tests: the built `freehold`, driven as a person would, with real images, real
//! containers and clients that somebody else wrote. They need root; without it each says so.
//!
//! Every test has a [`world::World`] of its own: a network namespace, a data directory, a client
//! context. So tests run beside each other and beside a Freehold that is in use.

mod broken;
mod browser;
mod cli;
mod control;
mod crash;
mod disks;
mod doors;
mod egress;
mod endpoints;
mod evidence;
mod exec;
mod far;
mod formats;
mod full;
mod hops;
mod hostile;
mod images;
mod import;
mod init;
mod joins;
mod laboratory;
mod limits;
mod logs;
mod nginx;
mod oidc;
mod ordinary;
mod outside;
mod passkeys;
mod people;
mod placement;
mod planted;
mod postgres;
mod preempting;
mod proxied;
mod queue;
mod rates;
mod removed;
mod retention;
mod rootless;
mod runbooks;
mod secrets;
mod signin;
mod sso;
mod surroundings;
mod together;
mod tour;
mod traces;
mod upgrade;
mod volumes;
mod world;
