//! The thread that writes access logs: a batch at a time, one write for each endpoint in it.

use super::{Shared, path};
use freehold_model::{EndpointId, traffic::AccessLine};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    thread,
    time::Duration,
};

/// Lines that come within so long are written together.
const GATHER: Duration = Duration::from_millis(50);
/// A file that has become so long makes room for a new one; the one before it is kept.
const LONGEST: u64 = 16 << 20;
/// Files that nobody has written to for so long are removed.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How many files are held open.
const OPEN: usize = 64;

/// Writes until the queue is closed and empty.
pub(super) fn run(shared: &Shared, folder: &Path) {
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        tracing::error!(%error, folder = %folder.display(), "access logs cannot be written");
    }
    remove_old(folder);
    let mut files = BTreeMap::new();
    loop {
        let (lines, is_closed) = {
            let mut queue = shared.queue();
            (std::mem::take(&mut queue.lines), queue.is_closed)
        };
        if !lines.is_empty() {
            write_all(shared, folder, &lines, &mut files);
        } else if is_closed {
            return;
        } else {
            thread::park();
            if !shared.queue().is_closed {
                thread::sleep(GATHER);
            }
        }
    }
}

fn write_all(
    shared: &Shared,
    folder: &Path,
    lines: &[AccessLine],
    files: &mut BTreeMap<EndpointId, (File, u64)>,
) {
    let mut texts: BTreeMap<EndpointId, (Vec<u8>, u64)> = BTreeMap::new();
    for line in lines {
        let (text, count) = texts.entry(line.endpoint).or_default();
        if serde_json::to_writer(&mut *text, line).is_ok() {
            text.push(b'\n');
            *count += 1;
        }
    }
    if files.len() > OPEN {
        files.clear();
    }
    for (endpoint, (text, count)) in texts {
        if let Err(error) = write(folder, endpoint, &text, files) {
            tracing::warn!(%error, %endpoint, lines = count, "lines of an access log are lost");
            files.remove(&endpoint);
            shared.lose(endpoint, count);
        }
    }
}

fn write(
    folder: &Path,
    endpoint: EndpointId,
    text: &[u8],
    files: &mut BTreeMap<EndpointId, (File, u64)>,
) -> io::Result<()> {
    let now = path(folder, endpoint, false);
    let (file, length) = match files.entry(endpoint) {
        Entry::Occupied(open) => open.into_mut(),
        Entry::Vacant(place) => place.insert(open(&now)?),
    };
    if *length > 0 && *length + text.len() as u64 > LONGEST {
        fs::rename(&now, path(folder, endpoint, true))?;
        (*file, *length) = open(&now)?;
    }
    file.write_all(text)?;
    *length += text.len() as u64;
    Ok(())
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().create(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn remove_old(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
