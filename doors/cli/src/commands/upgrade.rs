//! `freehold upgrade`: puts another version in the place of the one that runs here, and keeps instances
//! running meanwhile.
//!
//! The program file is replaced in one step and the running process starts the new one in its own place
//! (SIGUSR2), so that a service manager sees one process throughout. A new version that does not become
//! ready is undone.

use super::up;
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::Out,
};
use freehold_daemon::{Format, Running};
use freehold_model::{Code, Problem};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Flags of `upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Instances go on running. Endpoints answer no new connections for the moment it takes to start, usually
well under a second; open ones get five seconds to end. If the new version does not become ready,
the one before is put back and started again. It is kept beside the new one as `freehold.previous`.

Run it as the user that runs Freehold, on its machine.

Examples:
  freehold upgrade ./freehold-0.2.0
  freehold upgrade /usr/bin/freehold.previous      back again")]
pub(crate) struct Args {
    /// The program file of the other version.
    #[arg(value_name = "PROGRAM", required_unless_present = "probe")]
    program: Option<PathBuf>,
    /// Where the running Freehold keeps its state, as for `freehold up`.
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// Gives the new version so many seconds to become ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Only says which version and which format of the data directory this program has.
    #[arg(long, hide = true)]
    probe: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Upgraded {
    from: String,
    to: String,
    program: PathBuf,
    previous: PathBuf,
}

/// What a program says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Probe {
    freehold: Format,
}

pub(crate) fn run(args: Args, globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    let Some(given) = args.program.filter(|_| !args.probe) else {
        return out.show(&Probe { freehold: Format::own() }, |probe| probe.freehold.version.clone());
    };
    let data = up::data_folder(args.data)?;
    let running = Running::over(&data).ok_or_else(|| {
        Failure::not_found(
            format!("no Freehold runs over {}", data.display()),
            "Name its directory with --data; where nothing runs, just replace the program.",
        )
    })?;
    let new = std::path::absolute(&given).map_err(|error| Failure::local("find the program", error))?;
    let probed = probe(&new)?;
    fits(&data, &probed)?;

    let patience = Duration::from_secs(args.patience);
    let previous = previous_of(&running.program);
    put(&new, &running.program, &previous)?;
    match renew(&data, &running, patience) {
        Ok(()) => {}
        Err(failure) => return Err(undo(&data, &running, &previous, patience, failure)),
    }
    let done = Upgraded { from: running.version, to: probed.version, program: running.program, previous };
    out.show(&done, |done| format!("Freehold {} runs, {} before; instances went on.", done.to, done.from))
}

/// Asks the program itself what it is: whatever cannot answer is not put into place.
fn probe(program: &Path) -> Outcome<Format> {
    let refused = |why: String| {
        Failure::usage(
            format!("{} is not a Freehold that can run here: {why}", program.display()),
            "Give the file of a version made for this machine, with its execute permission set.",
        )
    };
    let mut command = Command::new(program);
    command.args(["upgrade", "--probe", "--json"]).env_clear().stdin(std::process::Stdio::null());
    let answer = command.output().map_err(|error| refused(error.to_string()))?;
    let probe: Probe = serde_json::from_slice(&answer.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&answer.stderr);
        refused(said.lines().next().unwrap_or("it does not say its version").to_owned())
    })?;
    Ok(probe.freehold)
}

/// Whether the new version can read what is there.
fn fits(data: &Path, new: &Format) -> Outcome {
    let found = Format::of(data).map_err(|error| Failure::local("look at the data", format!("{error:#}")))?;
    match found {
        Some(found) if found.format > new.format => Err(Failure::Problem(
            Problem::new(
                Code::Conflict,
                format!(
                    "{} has format {}, and Freehold {} reads formats up to {}",
                    data.display(),
                    found.format,
                    new.version,
                    new.format
                ),
            )
            .hint("There is no way back over a migration but a backup of the directory."),
        )),
        _ => Ok(()),
    }
}

fn previous_of(program: &Path) -> PathBuf {
    let mut name = program.file_name().unwrap_or_default().to_owned();
    name.push(".previous");
    program.with_file_name(name)
}

/// Puts `new` in the place of `program`, which stays as `previous`. Whoever opens `program` finds the
/// one or the other, whole.
fn put(new: &Path, program: &Path, previous: &Path) -> Outcome {
    let staged = program.with_file_name(".freehold.new");
    let placed = (|| {
        fs::copy(new, &staged)?;
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o755))?;
        fs::File::open(&staged)?.sync_all()?;
        if new != previous {
            match fs::remove_file(previous) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::hard_link(program, previous)?;
        }
        fs::rename(&staged, program)
    })();
    placed.map_err(|error| {
        let _ = fs::remove_file(&staged);
        Failure::local(format!("put the new version in place of {}", program.display()), error)
    })
}

/// Has the running process start what is in its place now, and waits until that is ready.
fn renew(data: &Path, running: &Running, patience: Duration) -> Outcome {
    let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::local("find the running Freehold", "its process id is damaged"))?;
    kill_process(pid, Signal::USR2)
        .map_err(|error| Failure::local(format!("ask process {} to renew itself", running.pid), error))?;
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if !Path::new("/proc").join(running.pid.to_string()).exists() {
            return Err(Failure::local("start the new version", "it ended; its log says why"));
        }
        if Running::over(data).is_some_and(|now| now.since > running.since) && runs(running) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::local("start the new version", format!("it is not ready after {} s", patience.as_secs())))
}

/// Whether the process runs the file that is in the program's place.
fn runs(running: &Running) -> bool {
    let of = |path: PathBuf| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let process = of(PathBuf::from(format!("/proc/{}/exe", running.pid)));
    process.is_some() && process == of(running.program.clone())
}

/// Puts the version before back; what is answered says what came of it.
fn undo(data: &Path, running: &Running, previous: &Path, patience: Duration, failure: Failure) -> Failure {
    let Failure::Problem(problem) = failure else { return failure };
    let back = fs::rename(previous, &running.program);
    let lives = Path::new("/proc").join(running.pid.to_string()).exists();
    let hint = match back {
        Err(error) => {
            format!("The version before could not be put back ({error}): it is {}.", previous.display())
        }
        Ok(()) if !lives => "The version before is in its place again: start it.".to_owned(),
        Ok(()) => match renew(data, running, patience) {
            Ok(()) => "The version before runs again.".to_owned(),
            Err(_) => "The version before is in its place again: start it, unless a service manager does."
                .to_owned(),
        },
    };
    Failure::Problem(problem.hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_before_is_kept_and_can_be_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::write(file("freehold"), "old").unwrap();
        fs::write(file("new"), "new").unwrap();
        let previous = previous_of(&file("freehold"));
        put(&file("new"), &file("freehold"), &previous).unwrap();
        assert_eq!(fs::read_to_string(file("freehold")).unwrap(), "new");
        assert_eq!(fs::read_to_string(&previous).unwrap(), "old");
        put(&previous, &file("freehold"), &previous).unwrap();
        assert_eq!(fs::read_to_string(file("freehold")).unwrap(), "old");
    }

    #[test]
    fn what_is_no_freehold_is_not_put_into_place() {
        let said = |program: &str| match probe(Path::new(program)) {
            Err(Failure::Problem(problem)) => problem.title,
            other => panic!("{other:?}"),
        };
        assert!(said("/bin/true").contains("does not say its version"));
        assert!(said("/etc/passwd").contains("ermission"));
        assert!(said("/no/such/file").contains("No such file"));
    }
}
