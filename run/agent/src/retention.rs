//! Removes old logs of instances that are gone: the daemon would fill the disk otherwise.
//!
//! Invariant: the log of an instance that this node still knows is never touched.

use jiff::Timestamp;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Logs of what is gone are kept so long.
const AGE: Duration = Duration::from_secs(7 * 86_400);
/// And never more than this in all; the oldest go first.
const TOTAL: u64 = 1 << 30;

/// The log of one instance that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    path: PathBuf,
    bytes: u64,
    newest: Timestamp,
}

/// Removes what is too old or too much under `logs`, sparing what `known` knows by directory name.
pub(crate) fn sweep(logs: &Path, known: impl Fn(&str) -> bool, now: Timestamp) {
    let Ok(entries) = fs::read_dir(logs) else { return };
    let gone = entries.flatten().filter(|entry| !known(&entry.file_name().to_string_lossy()));
    let kept = gone.filter_map(|entry| measure(entry.path()).ok()).collect();
    for path in expired(kept, now) {
        tracing::info!(path = %path.display(), "an old log is removed");
        if let Err(error) = freehold_tree::remove(&path) {
            tracing::warn!(path = %path.display(), %error, "an old log cannot be removed");
        }
    }
}

fn measure(path: PathBuf) -> io::Result<Kept> {
    let (mut bytes, mut newest) = (0, Timestamp::UNIX_EPOCH);
    for file in fs::read_dir(&path)? {
        let file = file?.metadata()?;
        bytes += file.len();
        newest = newest.max(Timestamp::try_from(file.modified()?).unwrap_or(newest));
    }
    Ok(Kept { path, bytes, newest })
}

fn expired(mut kept: Vec<Kept>, now: Timestamp) -> Vec<PathBuf> {
    kept.sort_by_key(|log| std::cmp::Reverse(log.newest));
    let mut total = 0;
    let too_much = |log: &Kept| {
        total += log.bytes;
        log.newest + AGE < now || total > TOTAL
    };
    kept.into_iter()
        .filter({
            let mut too_much = too_much;
            move |log| too_much(log)
        })
        .map(|log| log.path)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str, bytes: u64, day: i64) -> Kept {
        Kept { path: name.into(), bytes, newest: at(day) }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    #[test]
    fn the_old_and_the_excess_go() {
        let half = TOTAL / 2;
        let kept = vec![log("old", 1, 2), log("a", half, 9), log("b", half, 8), log("c", 1, 7)];
        assert_eq!(expired(kept, at(10)), [PathBuf::from("c"), PathBuf::from("old")]);
    }

    #[test]
    fn known_instances_are_spared() {
        let logs = tempfile::tempdir().unwrap();
        for name in ["ins_known", "ins_gone"] {
            fs::create_dir(logs.path().join(name)).unwrap();
            fs::write(logs.path().join(name).join("0.log"), "x").unwrap();
        }
        let later = Timestamp::now() + Duration::from_secs(8 * 86_400);
        sweep(logs.path(), |name| name == "ins_known", later);
        assert!(logs.path().join("ins_known").exists() && !logs.path().join("ins_gone").exists());
    }
}
