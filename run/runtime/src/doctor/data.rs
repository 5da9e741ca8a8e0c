//! Whether what the data directory keeps is for its owner alone.

use super::{finding, mended_by};
use freehold_model::api::Finding;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The directory, the token and the keys: who reads them is this house's owner.
pub(super) fn private(data: &Path) -> Finding {
    let open: Vec<PathBuf> = precious(data).into_iter().filter(|path| is_open(path)).collect();
    let Some(first) = open.first() else {
        return finding("private files", Ok("token and keys are their owner's alone".into()), "");
    };
    let more = if open.len() > 1 { format!(" and {} more", open.len() - 1) } else { String::new() };
    let found = io::Error::other(format!("others can read {}{more}", first.display()));
    let command = open
        .iter()
        .fold("chmod go=".to_owned(), |command, path| command + " " + &quoted(&path.to_string_lossy()));
    let remedy = format!(
        "keys that others can read keep Freehold from starting, and a token that they know is theirs: `sudo {command}`, and ask who read them"
    );
    mended_by(&command, finding("private files", Err(found), &remedy))
}

fn precious(data: &Path) -> Vec<PathBuf> {
    let keys = fs::read_dir(data.join("keys")).into_iter().flatten().flatten().map(|entry| entry.path());
    [data.to_owned(), data.join("token"), data.join("keys")].into_iter().chain(keys).collect()
}

fn is_open(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| !found.is_symlink() && found.permissions().mode() & 0o077 != 0)
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_read_is_closed_by_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("it's mine");
        fs::create_dir_all(data.join("keys")).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(data.join("token"), "x").unwrap();
        fs::write(data.join("keys/secrets.key"), "x").unwrap();
        mode(&data, 0o700);
        mode(&data.join("keys"), 0o700);
        mode(&data.join("token"), 0o600);
        mode(&data.join("keys/secrets.key"), 0o640);

        let found = private(&data);
        assert!(!found.ok && found.found.ends_with("secrets.key"), "{found:?}");
        let done = std::process::Command::new("sh").args(["-c", &found.fix[0]]).status().unwrap();
        assert!(done.success());
        let found = private(&data);
        assert!(found.ok && found.fix.is_empty(), "{found:?}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_nobodys_business() {
        assert!(private(Path::new("/no/such/place")).ok);
    }
}
