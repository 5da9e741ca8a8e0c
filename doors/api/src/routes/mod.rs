//! The handlers, one file per noun.

pub(crate) mod authority;
pub(crate) mod controls;
pub(crate) mod diffs;
pub(crate) mod doctor;
pub(crate) mod drills;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod join;
pub(crate) mod join_tokens;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod operations;
pub(crate) mod quotas;
pub(crate) mod receipt_list;
pub(crate) mod receipts;
pub(crate) mod resources;
pub(crate) mod secrets;
pub(crate) mod summaries;
pub(crate) mod tenancy;
pub(crate) mod tokens;
pub(crate) mod volumes;
pub(crate) mod whoami;
