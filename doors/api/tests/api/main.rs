//! The API as a caller meets it: every test drives the router, most of them without a socket.

mod access;
mod access_table;
#[path = "../../../../trust/identity/src/people/passkey/authenticator.rs"]
mod authenticator;
mod browser;
mod demands;
mod drills;
mod endpoints;
mod exec;
mod images;
mod logs;
mod oidc;
mod openapi;
mod operations;
mod pages;
mod passkeys;
mod people;
mod quotas;
mod receipts;
mod requirement;
mod resources;
mod second_factor;
mod secrets;
mod tokens;
mod two_orgs;
mod volumes;
mod watch;
mod world;
mod worst;
