//! The messages: one JSON object per line of a file, appended and made durable before a visitor is
//! told that the message is there.
//!
//! Invariant: the file holds whole lines only; half a line, left by a crash, is cut off at the start.

use crate::log;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// How many messages are shown; the file keeps all.
const SHOWN: usize = 500;
/// The longest name and the longest text, in characters.
const LONGEST: (usize, usize) = (60, 1000);

/// What a visitor left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Every message, the oldest first.
pub(crate) struct Book {
    pages: Mutex<Pages>,
}

struct Pages {
    /// `None` where nothing can be written: messages are then kept until the end only.
    file: Option<File>,
    messages: VecDeque<Message>,
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Empty,
    TooLong,
    NotKept(String),
}

impl Book {
    /// Opens the book in `folder`, or in a temporary one where that cannot be written.
    pub(crate) fn open(folder: &Path) -> Book {
        let temporary = std::env::temp_dir().join(format!("guestbook-{}", std::process::id()));
        for (folder, last) in [(folder, false), (&temporary, true)] {
            match Pages::open(folder) {
                Ok(pages) => {
                    log::note(&format!("{} messages in {}", pages.messages.len(), folder.display()));
                    return Book { pages: Mutex::new(pages) };
                }
                Err(error) => {
                    let instead = if last { "in memory" } else { "in a temporary folder" };
                    log::note(&format!(
                        "cannot write to {}: {error}; keeping messages {instead}",
                        folder.display()
                    ));
                }
            }
        }
        Book { pages: Mutex::new(Pages { file: None, messages: VecDeque::new() }) }
    }

    /// The newest messages, the oldest of them first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.pages().messages.iter().cloned().collect()
    }

    /// Keeps a message; when this returns, it is on disk.
    pub(crate) fn add(&self, name: &str, text: &str) -> Result<(), Refused> {
        let (name, text) = (name.trim(), text.trim());
        if text.is_empty() {
            return Err(Refused::Empty);
        }
        if name.chars().count() > LONGEST.0 || text.chars().count() > LONGEST.1 {
            return Err(Refused::TooLong);
        }
        let name = if name.is_empty() { "somebody" } else { name };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let message = Message { at, name: name.into(), text: text.into() };
        self.pages().add(message).map_err(|error| Refused::NotKept(error.to_string()))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Whoever panicked left whole messages: each is added in one step.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn open(folder: &Path) -> io::Result<Pages> {
        fs::create_dir_all(folder)?;
        let path = folder.join("messages.jsonl");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|c| *c == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
        }
        // The entry of a new file is durable only with its folder.
        File::open(folder)?.sync_all()?;
        let lines = bytes[..whole].split(|c| *c == b'\n').filter(|line| !line.is_empty());
        let mut pages = Pages { file: Some(file), messages: VecDeque::new() };
        for message in lines.filter_map(|line| serde_json::from_slice(line).ok()) {
            pages.show(message);
        }
        Ok(pages)
    }

    fn add(&mut self, message: Message) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let end = file.seek(io::SeekFrom::End(0))?;
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
                // A full disk may have taken half of it.
                let _ = file.set_len(end);
                return Err(error);
            }
        }
        self.show(message);
        Ok(())
    }

    fn show(&mut self, message: Message) {
        if self.messages.len() == SHOWN {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_outlive_the_book() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path());
        book.add(" Ada ", "hello\nthere").unwrap();
        book.add("", "hi").unwrap();
        let kept = Book::open(folder.path()).messages();
        assert_eq!(kept, book.messages());
        assert_eq!((kept[0].name.as_str(), kept[0].text.as_str()), ("Ada", "hello\nthere"));
        assert_eq!(kept[1].name, "somebody");
    }

    #[test]
    fn half_a_line_is_cut_off_and_spoils_nothing() {
        let folder = tempfile::tempdir().unwrap();
        Book::open(folder.path()).add("Ada", "one").unwrap();
        let path = folder.path().join("messages.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\":1,\"na").unwrap();
        Book::open(folder.path()).add("Bob", "two").unwrap();
        let texts: Vec<_> = Book::open(folder.path()).messages().into_iter().map(|m| m.text).collect();
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn what_is_empty_or_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path());
        assert_eq!(book.add("Ada", " \n"), Err(Refused::Empty));
        assert_eq!(book.add("Ada", &"x".repeat(1001)), Err(Refused::TooLong));
        assert_eq!(book.add(&"x".repeat(61), "hi"), Err(Refused::TooLong));
        assert!(book.messages().is_empty());
    }

    #[test]
    fn the_newest_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let lines: String =
            (0..SHOWN + 3).map(|n| format!("{{\"at\":{n},\"name\":\"a\",\"text\":\"b\"}}\n")).collect();
        fs::write(folder.path().join("messages.jsonl"), lines).unwrap();
        let shown = Book::open(folder.path()).messages();
        assert_eq!((shown.len(), shown[0].at), (SHOWN, 3));
    }
}
