//! What commands write: JSON or tables on standard output, progress on standard error.

pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod event;
pub(crate) mod logs;
mod paint;
pub(crate) mod people;
pub(crate) mod placement;
pub(crate) mod plan;
pub(crate) mod printable;
mod progress;
pub(crate) mod receipt;
mod secret;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod traffic;
pub(crate) mod volume;
mod writer;

pub(crate) use paint::{Paint, Tone};
pub(crate) use progress::Progress;
pub(crate) use writer::Out;
