//! Prints the sizes that style.md aims at: files, functions, and each crate's share of the code.

use crate::workspace;
use anyhow::Result;
use std::{
    fs,
    path::{Path, PathBuf},
};

const LONG_FILE: usize = 300;
const LONG_FUNCTION: usize = 30;
const LARGE_SHARE: usize = 15;

struct File {
    path: PathBuf,
    lines: usize,
    functions: Vec<(String, usize)>,
}

/// Prints what is larger than it should be, the largest first.
pub(crate) fn print() -> Result<()> {
    let (root, packages) = workspace::read()?;
    let mut shares = vec![];
    let mut files = vec![];
    for folder in packages.keys() {
        let mut own = vec![];
        collect(&root.join(folder), &mut own)?;
        shares.push((own.iter().map(|file| file.lines).sum::<usize>(), folder.clone()));
        files.append(&mut own);
    }
    let total: usize = shares.iter().map(|(lines, _)| lines).sum();
    shares.sort_unstable_by(|a, b| b.cmp(a));
    println!("{total} lines in {} files, {} crates", files.len(), shares.len());
    for (lines, folder) in &shares {
        let share = lines * 100 / total.max(1);
        let mark = if share > LARGE_SHARE { "  <- large" } else { "" };
        println!("{share:>4} % {lines:>6}  {folder}{mark}");
    }
    print_long("files", LONG_FILE, files.iter().map(|file| (file.path.display().to_string(), file.lines)));
    let functions = files.iter().flat_map(|file| {
        file.functions.iter().map(|(name, lines)| (format!("{} {name}", file.path.display()), *lines))
    });
    print_long("functions", LONG_FUNCTION, functions);
    Ok(())
}

fn print_long(what: &str, limit: usize, all: impl Iterator<Item = (String, usize)>) {
    let mut long: Vec<_> = all.filter(|(_, lines)| *lines > limit).collect();
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    println!("\n{} {what} over {limit} lines", long.len());
    for (name, lines) in long.iter().take(20) {
        println!("{lines:>6}  {name}");
    }
}

fn collect(folder: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            files.push(File { lines: text.lines().count(), functions: functions(&text), path });
        }
    }
    Ok(())
}

/// The functions of a file with their lengths. Relies on rustfmt: a function ends at the first `}`
/// that stands as far left as its `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = vec![];
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        if let Some(length) = lines[start..].iter().position(|line| *line == close) {
            found.push((name, length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let code = line.trim_start();
    let at = code.find("fn ")?;
    let qualifiers = code[..at].split_whitespace();
    let known = |word: &str| matches!(word, "async" | "const" | "unsafe") || word.starts_with("pub");
    if !qualifiers.into_iter().all(known) || line.trim_end().ends_with(';') {
        return None;
    }
    let rest = &code[at + 3..];
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_and_measured() {
        let text =
            "impl A {\n    pub async fn one(&self) {\n        two()\n    }\n}\nfn two() {\n}\nfn three();\n";
        assert_eq!(functions(text), [("one".to_owned(), 3), ("two".to_owned(), 2)]);
    }
}
