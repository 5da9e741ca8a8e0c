//! One process for each data directory: a lock on `<data>/lock`, held until it is dropped. The kernel gives it
//! back when its holder dies, however it dies.

use anyhow::{Context, Result, bail};
use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// The right to run over a data directory.
pub(crate) struct Lock(File);

impl Lock {
    /// Takes it, or says that somebody has it.
    pub(crate) fn take(data: &Path) -> Result<Lock> {
        let path = data.join("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => bail!(
                "{} is in use by another Freehold: stop that one first, or give this one a directory of its own with --data",
                data.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}

impl Drop for Lock {
    /// Closing the file would do, were it not that a child being started may hold a copy until its exec.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).err().expect("it is taken").to_string();
        assert!(refused.contains("--data"), "{refused}");
        drop(first);
        Lock::take(folder.path()).unwrap();
    }
}
