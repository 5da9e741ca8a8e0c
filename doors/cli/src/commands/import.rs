//! `freehold import compose`: turns a Compose file into a manifest. Needs no server.
//!
//! Invariant: what could not be carried is said on standard error and in JSON, and tells in the exit code.

use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::{Out, Paint, printable::printable},
};
use freehold_compose::{ComposeError, Import, Lost, Options, Outside, SecretToSet};
use freehold_model::Name;
use serde::Serialize;
use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The exit code when keys were left behind (design, §9).
const NOT_WHOLE: u8 = 11;
/// No file that is read is larger: none is written by hand.
const LARGEST: u64 = 1 << 20;
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

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
  freehold import compose stack.yml -o apps/shop/freehold.toml --app shop")]
pub(crate) struct ComposeArgs {
    /// The Compose file, its folder, or `-` for standard input.
    #[arg(default_value = ".")]
    source: PathBuf,
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
    let import = freehold_compose::import(&source.name, &source.text, &options, &source).map_err(failure)?;
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
    for secret in &import.secrets {
        let app = &import.app;
        let set = format!("freehold secret set -a {app} {}", secret.name);
        let file = secret.file.as_ref().filter(|file| is_plain(file));
        lines.push(match (file, &secret.same_as) {
            (Some(file), _) => format!("{set} < {file}"),
            (None, Some(other)) => format!("{set}    # the same value as {other}"),
            (None, None) => format!("{set}    # its value: {}", secret.at),
        });
    }
    let file = if output == Path::new("freehold.toml") || output == Path::new("-") {
        String::new()
    } else {
        format!(" -f {}", output.display())
    };
    lines.push(format!("freehold deploy{file}"));
    lines
}

/// Whether a path can stand in a shell's line as it is.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|c| c.is_ascii_alphanumeric() || b"./_-".contains(&c)) && !path.starts_with('-')
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

/// The Compose file, and what lies around it.
struct Source {
    /// As people would write it.
    name: String,
    text: String,
    folder: PathBuf,
}

impl Source {
    fn open(source: &Path) -> Outcome<Source> {
        if source == Path::new("-") {
            let mut text = String::new();
            let read = io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text);
            read.map_err(|error| Failure::local("read standard input", error))?;
            return Ok(Source { name: "stdin".into(), text, folder: ".".into() });
        }
        let path = match source.is_dir() {
            true => {
                NAMES.iter().map(|name| source.join(name)).find(|path| path.is_file()).ok_or_else(|| {
                    let title = format!("there is no Compose file in {}", source.display());
                    Failure::usage(title, format!("Name it. Looked for: {}.", NAMES.join(", ")))
                })?
            }
            false => source.to_owned(),
        };
        let text = read_text(&path).map_err(|reason| {
            Failure::usage(format!("cannot read {}: {reason}", path.display()), "Name the Compose file.")
        })?;
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let name = path.strip_prefix("./").unwrap_or(&path).display().to_string();
        Ok(Source { name, text, folder: folder.to_owned() })
    }

    fn folder_name(&self) -> String {
        let full = self.folder.canonicalize().unwrap_or_default();
        full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Outside for Source {
    fn read(&self, path: &str) -> Result<String, String> {
        read_text(&self.folder.join(path))
    }

    fn is_file(&self, path: &str) -> Option<bool> {
        self.folder.join(path).metadata().ok().map(|meta| !meta.is_dir())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let mut text = String::new();
    match file.take(LARGEST + 1).read_to_string(&mut text) {
        Err(_) => Err("it is no text in UTF-8".into()),
        Ok(read) if read as u64 > LARGEST => Err("it is larger than 1 MiB".into()),
        Ok(_) => Ok(text),
    }
}
