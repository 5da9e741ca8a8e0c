//! Reads an endpoint's access log: what is there, and what comes.

use super::path;
use freehold_model::{
    EndpointId,
    traffic::{AccessLine, AccessQuery},
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// At most so many lines are asked of the disk at a time.
const CHUNK: usize = 4096;

/// Streams the lines that `query` wants, the oldest first, in chunks.
pub(crate) fn read(
    folder: PathBuf,
    endpoint: EndpointId,
    query: AccessQuery,
) -> mpsc::Receiver<io::Result<Vec<AccessLine>>> {
    let (to, lines) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = send(folder, endpoint, query, &to).await {
            let _ = to.send(Err(error)).await;
        }
    });
    lines
}

async fn send(
    folder: PathBuf,
    endpoint: EndpointId,
    query: AccessQuery,
    to: &mpsc::Sender<io::Result<Vec<AccessLine>>>,
) -> io::Result<()> {
    let mut log = Log::new(folder, endpoint);
    let mut last = query.tail.map(|most| (most, VecDeque::new()));
    loop {
        let (back, lines) = spawn_blocking(move || {
            let lines = log.next();
            (log, lines)
        })
        .await
        .map_err(io::Error::other)?;
        log = back;
        let mut lines = lines?;
        let is_all = lines.is_empty();
        lines.retain(|line| query.since.is_none_or(|since| line.time >= since));
        match &mut last {
            Some((most, kept)) if !is_all => {
                kept.extend(lines);
                kept.drain(..kept.len().saturating_sub(*most));
                continue;
            }
            Some((_, kept)) => {
                lines = kept.drain(..).collect();
                last = None;
            }
            None => {}
        }
        if !lines.is_empty() && to.send(Ok(lines)).await.is_err() {
            return Ok(());
        }
        if is_all && !query.follow {
            return Ok(());
        }
        if is_all {
            tokio::select! {
                () = to.closed() => return Ok(()),
                () = sleep(LOOK) => {}
            }
        }
    }
}

/// A place in the two files of a log.
struct Log {
    now: PathBuf,
    /// The file before the one that is written, and then that one.
    open: Option<BufReader<File>>,
    is_old: bool,
    partial: Vec<u8>,
}

impl Log {
    fn new(folder: PathBuf, endpoint: EndpointId) -> Log {
        let old = File::open(path(&folder, endpoint, true)).ok().map(BufReader::new);
        Log { now: path(&folder, endpoint, false), is_old: old.is_some(), open: old, partial: vec![] }
    }

    /// The next lines; none when there are no more yet.
    fn next(&mut self) -> io::Result<Vec<AccessLine>> {
        let mut lines = vec![];
        while lines.len() < CHUNK {
            if self.open.is_none() {
                self.open = open(&self.now)?.map(BufReader::new);
                self.is_old = false;
            }
            let Some(file) = &mut self.open else { break };
            if file.read_until(b'\n', &mut self.partial)? > 0 {
                if self.partial.ends_with(b"\n") {
                    // A line that a crash cut is no line.
                    lines.extend(serde_json::from_slice(&self.partial).ok());
                    self.partial.clear();
                }
                continue;
            }
            let is_over = self.is_old || was_replaced(file.get_ref(), &self.now)?;
            if !is_over {
                break;
            }
            self.partial.clear();
            self.open = None;
        }
        Ok(lines)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Whether another file is at `path` by now. One that is gone may come back.
fn was_replaced(file: &File, path: &Path) -> io::Result<bool> {
    let Some(there) = open(path)? else { return Ok(false) };
    Ok(there.metadata()?.ino() != file.metadata()?.ino())
}
