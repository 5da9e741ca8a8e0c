//! Tells when something was written into a directory of logs (inotify(7)), so that who follows a log need
//! not look again and again. One thread serves the whole process; it sleeps until something happens.

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// Looked at so often whatever is told: not every file system tells.
pub(super) const AT_LEAST: Duration = Duration::from_secs(1);

/// The changes of one directory.
pub(super) struct Watch {
    number: i32,
    changes: watch::Receiver<()>,
}

struct Watcher {
    inotify: OwnedFd,
    /// By the number that inotify gave; a directory has only one, however many watch it.
    watched: Mutex<HashMap<i32, watch::Sender<()>>>,
}

impl Watch {
    /// Watches a directory, from now on.
    pub(super) fn start(dir: &Path) -> io::Result<Watch> {
        let watcher = Watcher::get()?;
        let mut watched = watcher.lock();
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&watcher.inotify, dir, flags)?;
        let changes = watched.entry(number).or_insert_with(|| watch::channel(()).0).subscribe();
        Ok(Watch { number, changes })
    }

    /// Waits until something may have been written since the last time.
    pub(super) async fn changed(&mut self) {
        if let Ok(Err(_)) = tokio::time::timeout(AT_LEAST, self.changes.changed()).await {
            // The directory is gone; there is nobody to tell any more.
            tokio::time::sleep(AT_LEAST).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Ok(watcher) = Watcher::get() else { return };
        let mut watched = watcher.lock();
        // This one still counts.
        if watched.get(&self.number).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.number);
            let _ = inotify::remove_watch(&watcher.inotify, self.number);
        }
    }
}

impl Watcher {
    fn get() -> io::Result<&'static Watcher> {
        static WATCHER: OnceLock<Option<Watcher>> = OnceLock::new();
        let mut new = false;
        let watcher = WATCHER.get_or_init(|| {
            new = true;
            let inotify = inotify::init(CreateFlags::CLOEXEC).ok()?;
            Some(Watcher { inotify, watched: Mutex::default() })
        });
        let watcher = watcher.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        if new {
            thread::Builder::new().name("log-watch".into()).spawn(|| watcher.serve())?;
        }
        Ok(watcher)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::INTR) => continue,
                // Whoever follows a log looks from time to time as well.
                Err(_) => return,
            };
            let mut watched = self.lock();
            if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                watched.values().for_each(|changes| _ = changes.send(()));
            } else if event.events().contains(inotify::ReadFlags::IGNORED) {
                // A directory that was removed. One whose watch ended has gone already.
                watched.remove(&event.wd());
            } else if let Some(changes) = watched.get(&event.wd()) {
                let _ = changes.send(());
            }
        }
    }
}
