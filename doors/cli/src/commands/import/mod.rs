//! `freehold import compose`: turns a Compose file into a manifest. Needs no server.
//!
//! Invariant: what could not be carried is said on standard error and in JSON, and tells in the exit code.

mod source;

use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::{Out, Paint, printable::printable},
};
use freehold_compose::{ComposeError, Import, Lost, Options, Place, SecretToSet};
use freehold_model::Name;
use serde::Serialize;
use source::Source;
use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The exit code when keys were left behind (design, §9).
const NOT_WHOLE: u8 = 11;
/// What can be imported.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Turns a Compose file into a manifest, and names each key that it cannot carry.
    Compose(ComposeArgs),
}

/// Flags of `import compose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 everything was carried; 11 the manifest was written and some keys were not carried
(with --strict nothing is written). docs/compose.md says what becomes of each key.

Values that look like secrets are left out of the manifest: the output says what to set.

Examples:
  freehold import compose
  freehold import compose stack.yml -o apps/shop/freehold.toml --app shop
  freehold import compose compose.yaml compose.prod.yaml    the second laid over the first")]
pub(crate) struct ComposeArgs {
    /// The Compose files, the later laid over the earlier; their folder, or `-` for standard input. In a
    /// folder the files are taken that docker compose takes: its override file, and COMPOSE_FILE, too.
    #[arg(default_value = ".")]
    source: Vec<PathBuf>,
    /// The file to write; `-` is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "freehold.toml")]
    output: PathBuf,
    /// Turns a profile on; `*` is all of them.
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Writes nothing if a key cannot be carried.
    #[arg(long)]
    strict: bool,
    /// Replaces the file, if it is there.
    #[arg(long)]
    force: bool,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Done<'a> {
    app: &'a Name,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Path>,
    /// The manifest, where it went into no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<&'a str>,
    processes: &'a [Name],
    lost: &'a [Lost],
    secrets: &'a [SecretToSet],
    builds: &'a [String],
    notes: &'a [String],
    next: Vec<String>,
}

pub(crate) fn run(command: Command, globals: &Globals) -> Outcome<ExitCode> {
    let Command::Compose(args) = command;
    if globals.file.is_some() {
        let hint = "Name the file to write with --output.";
        return Err(Failure::usage("import compose writes a manifest and takes no --file", hint));
    }
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && args.output.symlink_metadata().is_ok() {
        let title = format!("{} is there already", args.output.display());
        return Err(Failure::usage(title, "Use --force to replace it, or name another file with --output."));
    }
    let source = Source::open(&args.source)?;
    let options =
        Options { app: globals.app.clone(), fallback: source.folder_name(), profiles: args.profile.clone() };
    let mut import = freehold_compose::import(&source.files, &options, &source).map_err(failure)?;
    from_here(&mut import, &source);
    let refused = args.strict && !import.lost.is_empty();
    if !refused && !to_stdout {
        write(&args.output, &import.manifest)?;
    }
    tell(&import, &args, globals, refused)?;
    Ok(if import.lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) })
}

fn tell(import: &Import, args: &ComposeArgs, globals: &Globals, refused: bool) -> Outcome {
    let to_stdout = args.output == Path::new("-");
    let done = Done {
        app: &import.app,
        output: (!refused && !to_stdout).then_some(args.output.as_path()),
        manifest: (refused || to_stdout).then_some(import.manifest.as_str()),
        processes: &import.processes,
        lost: &import.lost,
        secrets: &import.secrets,
        builds: &import.builds,
        notes: &import.notes,
        next: next(import, &args.output),
    };
    let out = Out::new(globals.json);
    if globals.json {
        return out.show(&done, |_| String::new());
    }
    // What is not the result goes to standard error: the result may be piped.
    eprint!("{}", printable(&remarks(import, Paint::stderr())));
    match (refused, to_stdout) {
        (true, _) => {
            eprintln!("\nNothing was written: --strict.");
            Ok(())
        }
        (_, true) => out.text(&import.manifest),
        (_, false) => out.text(&summary(import, &args.output)),
    }
}

fn remarks(import: &Import, paint: Paint) -> String {
    let mut text = String::new();
    for one in &import.lost {
        text.push_str(&format!("{} {} ({}): {}\n", paint.bad("not carried:"), one.path, one.at, one.reason));
        if !one.help.is_empty() {
            text.push_str(&format!("  {} {}\n", paint.note("hint:"), one.help));
        }
    }
    for note in &import.notes {
        text.push_str(&format!("{} {note}\n", paint.note("note:")));
    }
    text
}

fn summary(import: &Import, output: &Path) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut text = format!(
        "{}: wrote {} with {}; {} not carried.\n\nNext:\n",
        import.app,
        output.display(),
        count(import.processes.len(), "process").replace("processs", "processes"),
        count(import.lost.len(), "key"),
    );
    for line in next(import, output) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// Commands, and remarks to them as comments of a shell.
fn next(import: &Import, output: &Path) -> Vec<String> {
    let mut lines = vec![];
    for image in &import.builds {
        lines.push(format!(
            "# build the image and push it as {image}, for one with: freehold image push FILE {image}"
        ));
    }
    lines.extend(import.secrets.iter().map(|secret| set(&import.app, secret)));
    let file = if output == Path::new("freehold.toml") || output == Path::new("-") {
        String::new()
    } else {
        format!(" -f {}", output.display())
    };
    lines.push(format!("freehold deploy{file}"));
    lines
}

/// The command that gives a secret the bytes that Compose gives it.
fn set(app: &Name, secret: &SecretToSet) -> String {
    let set = format!("freehold secret set -a {app} {}", secret.name);
    match secret {
        SecretToSet { file: Some(file), .. } => format!("{set} --exact < {}", shell_path(file)),
        SecretToSet { variable: Some(variable), .. } => format!("printf %s \"${variable}\" | {set} --exact"),
        SecretToSet { several_lines: true, at, .. } => {
            format!("{set} --exact < FILE    # a file with its value, which has several lines: {at}")
        }
        SecretToSet { same_as: Some(other), .. } => format!("{set}    # the same value as {other}"),
        SecretToSet { at, .. } => format!("{set}    # its value: {at}"),
    }
}

/// A path as a word of a shell; `~` stays what it is.
fn shell_path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => format!("~/{}", shell_words::quote(rest)),
        None if path.starts_with('-') => format!("./{}", shell_words::quote(path)),
        None => shell_words::quote(path).into_owned(),
    }
}

/// Paths as seen from where the command was run, and not from the project's folder.
fn from_here(import: &mut Import, source: &Source) {
    let place = |at: &mut Place| {
        if !source.files.iter().any(|file| *file.name == *at.file) {
            at.file = source.seen_from_here(&at.file).into();
        }
    };
    import.lost.iter_mut().for_each(|lost| place(&mut lost.at));
    for secret in &mut import.secrets {
        place(&mut secret.at);
        if let Some(file) = &mut secret.file {
            *file = source.seen_from_here(file);
        }
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    let failed = |error: io::Error| Failure::local(format!("write {}", path.display()), error);
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

fn failure(error: ComposeError) -> Failure {
    let hint = match error {
        ComposeError::Yaml { .. } => "`docker compose config` prints a file as Compose understands it.",
        ComposeError::Shape { .. } => "Mend it and convert again; nothing was written.",
        ComposeError::Invalid(_) => "This is a defect of Freehold: please report it with the file.",
    };
    Failure::usage(error.to_string(), hint)
}
