//! Writes a template's files: all of them or none, and nothing over what was there unless told so.

use super::{
    detect::has_program,
    render::{Choices, render},
    stack::Stack,
};
use crate::failure::{Failure, Outcome};
use serde::Serialize;
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    Written,
    Replaced,
    Kept,
}

impl What {
    pub(super) fn word(self) -> &'static str {
        match self {
            What::Written => "wrote",
            What::Replaced => "replaced",
            What::Kept => "kept",
        }
    }
}

/// A file of the template.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// Writes the files of `stack` into `dir`.
pub(super) fn all(stack: &Stack, dir: &Path, choices: &Choices, force: bool) -> Outcome<Vec<Written>> {
    let there: Vec<String> = stack
        .config
        .iter()
        .map(|(path, _)| dir.join(path))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !there.is_empty() && !force {
        let title = format!("there already: {}; nothing was written", there.join(", "));
        return Err(Failure::usage(title, "Use --force to replace what is there, or name another folder."));
    }
    let own_program = has_program(stack.name, dir);
    let mut plan: Vec<(&str, String, What)> = vec![];
    for (path, text) in stack.config {
        let what = if dir.join(path).exists() { What::Replaced } else { What::Written };
        plan.push((path, render(stack, path, text, choices), what));
    }
    for (path, text) in stack.program.iter().filter(|_| !own_program) {
        let what = if dir.join(path).symlink_metadata().is_ok() { What::Kept } else { What::Written };
        plan.push((path, render(stack, path, text, choices), what));
    }
    stage(dir, &plan)?;
    Ok(plan.into_iter().map(|(path, _, what)| Written { path: path.into(), what }).collect())
}

/// Writes everything beside its place first, so that a full disk leaves nothing half done.
fn stage(dir: &Path, plan: &[(&str, String, What)]) -> Outcome {
    let failed =
        |path: &Path, error: std::io::Error| Failure::local(format!("write {}", path.display()), error);
    let mut staged = vec![];
    for (path, text, what) in plan.iter().filter(|(_, _, what)| *what != What::Kept) {
        let path = dir.join(path);
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(|error| failed(&path, error))?;
        file.write_all(text.as_bytes()).map_err(|error| failed(&path, error))?;
        let readable = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(|error| failed(&path, error))?;
        staged.push((file, path, *what));
    }
    for (file, path, what) in staged {
        let placed = match what {
            What::Replaced => file.persist(&path),
            _ => file.persist_noclobber(&path),
        };
        placed.map_err(|error| failed(&path, error.error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{detect::Fit, stack::named},
        *,
    };
    use std::collections::BTreeMap;

    fn choices() -> Choices {
        let app = "shop".parse().unwrap();
        Choices { app, port: None, images: BTreeMap::new(), fit: Fit::default() }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_is_not_touched_without_force() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("freehold.toml"), "mine").unwrap();
        let node = named("node").unwrap();
        let refused = format!("{:?}", all(node, dir.path(), &choices(), false).unwrap_err());
        assert!(refused.contains("--force") && refused.contains("freehold.toml"), "{refused}");
        assert_eq!(names(dir.path()), ["freehold.toml"]);
        assert_eq!(fs::read_to_string(dir.path().join("freehold.toml")).unwrap(), "mine");

        fs::write(dir.path().join("server.js"), "mine").unwrap();
        let written = all(node, dir.path(), &choices(), true).unwrap();
        let what: Vec<_> = written.iter().map(|file| file.what).collect();
        assert_eq!(what, [What::Replaced, What::Written, What::Written, What::Kept]);
        assert_eq!(fs::read_to_string(dir.path().join("server.js")).unwrap(), "mine");
    }

    #[test]
    fn a_program_is_written_only_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("package.json"), "{}").unwrap();
        all(named("node").unwrap(), dir.path(), &choices(), false).unwrap();
        assert_eq!(names(dir.path()), ["freehold-image.toml", "freehold.toml", "package.json"]);
        let new = dir.path().join("new/folder");
        all(named("rust").unwrap(), &new, &choices(), false).unwrap();
        assert_eq!(names(&new), ["Cargo.toml", "freehold-image.toml", "freehold.toml", "src"]);
    }
}
