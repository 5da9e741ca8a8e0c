//! The file that keeps the admin token for whoever owns the machine: `<data>/token`, mode 0600.
//!
//! The daemon opens it at each start; the first start makes it. Invariant: no other user of the machine
//! can ever read it, and a crash leaves either no file or a whole token.

use crate::token::{Token, TokenError};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The admin token, as the file has it.
#[derive(Debug, Clone)]
pub struct TokenFile {
    /// The token.
    pub token: Token,
    /// Whether it was made just now, so that it is shown once.
    pub is_new: bool,
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// Other users could have read the token.
    #[error(
        "{path} can be read by other users (mode {mode:04o}): if none of them may have the token, \
         `chmod 600 {path}`; otherwise delete it, and the next start makes a new one", path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file has something else in it.
    #[error("{path} is {source}; delete it, and the next start makes a new token", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What a token looks like.
        source: TokenError,
    },
    /// The file cannot be read or made.
    #[error("the token file {path} cannot be {what}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl TokenFile {
    /// Reads the token, or makes one if there is no file yet. Of two callers at once, both get the same token.
    ///
    /// # Errors
    /// When other users may read the file, when it holds no token, or when it cannot be read or made.
    pub fn open(path: &Path) -> Result<TokenFile, TokenFileError> {
        if let Some(token) = read(path)? {
            return Ok(TokenFile { token, is_new: false });
        }
        let token = Token::generate();
        match create(path, &token) {
            Ok(()) => Ok(TokenFile { token, is_new: true }),
            // Another process was faster: its token is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read(path)? {
                Some(token) => Ok(TokenFile { token, is_new: false }),
                None => Err(io_error(path, "made")(error)),
            },
            Err(error) => Err(io_error(path, "made")(error)),
        }
    }
}

/// The token in the file, or `None` if there is no file. Looks at the mode of the very file it reads.
fn read(path: &Path) -> Result<Option<Token>, TokenFileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error(path, "opened"))?,
    };
    let mode = file.metadata().map_err(io_error(path, "inspected"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::Exposed { path: path.into(), mode });
    }
    let text = io::read_to_string(file).map_err(io_error(path, "read"))?;
    let token = text.trim_end().parse();
    token.map(Some).map_err(|source| TokenFileError::Malformed { path: path.into(), source })
}

/// Makes the whole file appear at once, never over another: written beside, synced, linked into place.
fn create(path: &Path, token: &Token) -> io::Result<()> {
    let draft = path.with_extension(format!("new.{}", std::process::id()));
    // What a killed process of the same number may have left.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let made = writeln!(file, "{}", token.reveal())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    made?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> TokenFileError {
    move |source| TokenFileError::Io { path: path.into(), what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_first_open_makes_it_and_later_ones_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let first = TokenFile::open(&path).unwrap();
        let second = TokenFile::open(&path).unwrap();
        assert!(first.is_new && !second.is_new);
        assert_eq!(first.token, second.token);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        TokenFile::open(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = TokenFile::open(&path).unwrap_err();
            assert!(matches!(error, TokenFileError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(TokenFile::open(&path).is_ok());
    }

    #[test]
    fn other_contents_are_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "s3cret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = TokenFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("64 hex digits") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = TokenFile::open(Path::new("/nonexistent/freehold/token")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/freehold/token"), "{error}");
    }

    #[test]
    fn racing_starts_agree_on_one_token() {
        // Threads share a process number, so each works as a process of its own would: by `create`.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let (one, other) = (Token::generate(), Token::generate());
        create(&path, &one).unwrap();
        let late = create(&path, &other).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(TokenFile::open(&path).unwrap().token, one);
    }
}
