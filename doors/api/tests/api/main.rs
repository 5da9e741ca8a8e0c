//! The API as a caller meets it: every test drives the router, most of them without a socket.

mod access;
mod access_table;
mod browser;
mod drills;
mod endpoints;
mod exec;
mod images;
mod logs;
mod oidc;
mod openapi;
mod operations;
mod pages;
mod people;
mod quotas;
mod receipts;
mod resources;
mod second_factor;
mod secrets;
mod tokens;
mod volumes;
mod watch;
mod world;
mod worst;
