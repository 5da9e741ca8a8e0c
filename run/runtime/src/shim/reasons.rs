//! Why libcontainer failed. The errors that it returns lose their causes on the way between its processes;
//! what it logs does not. So its errors are written to a file of the run, by whichever of its processes has
//! one, and the first of them, which is nearest to the cause, is told.

use crate::launch::InstanceDir;
use std::{
    fmt::{Debug, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// More than this of one reason helps nobody.
const LONGEST: usize = 2000;

/// From here on errors are noted in the directory of the run.
pub(super) fn note(dir: &InstanceDir) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path(dir))?;
    // One that is set already notes as well.
    let _ = tracing::subscriber::set_global_default(Notes { file });
    Ok(())
}

/// The first that was noted.
pub(super) fn first(dir: &InstanceDir) -> Option<String> {
    let text = fs::read_to_string(path(dir)).ok()?;
    Some(text.lines().next()?.chars().take(LONGEST).collect())
}

fn path(dir: &InstanceDir) -> PathBuf {
    dir.0.join("reasons.log")
}

struct Notes {
    file: File,
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("lib")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}\n", line.message, line.fields).replace(['\r', '\0'], " ");
        // In one piece, whichever process it is.
        let _ = (&self.file).write_all(text.trim_end().replace('\n', " ").as_bytes());
        let _ = (&self.file).write_all(b"\n");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "err" | "error" | "e" => write!(self.fields, ": {value:?}"),
            name => write!(self.fields, ", {name} {value:?}"),
        };
    }
}
