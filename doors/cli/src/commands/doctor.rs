//! `freehold doctor`: what the machine can do, what to install for the rest, and, with `--fix`, doing so.

use super::up;
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::{Out, Paint},
    session::Session,
};
use freehold_model::{api::Doctor, manifest::Driver};
use freehold_runtime::{doctor, rootless};
use std::{
    io,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold doctor                     the server's machine
  freehold doctor --local             this machine, as before the first `freehold up`
  sudo freehold doctor --fix          mends what needs no choice of yours, and says what it does")]
pub(crate) struct Args {
    /// Looks at this machine, without a server.
    #[arg(long)]
    local: bool,
    /// Mends this machine where that needs no choice: says each command, runs it, looks again.
    #[arg(long)]
    fix: bool,
    /// The data folder of this machine; default: that of `freehold up`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Args {
    /// Whether it is about this machine, and no server is asked.
    pub(crate) fn is_local(&self) -> bool {
        self.local || self.fix || self.data.is_some()
    }
}

pub(crate) async fn run(session: &Session) -> Outcome {
    let doctor = session.client.doctor().await?;
    session.out.show(&doctor, |doctor| render(doctor, session.out.paint))?;
    verdict(&doctor)
}

/// Fails where instances cannot run as they are promised to: a check of a script must not pass then.
fn verdict(doctor: &Doctor) -> Outcome {
    match doctor.drivers.contains(&Driver::Container) {
        true => Ok(()),
        false => Err(Failure::Said(1)),
    }
}

/// Looks at this machine, and mends it if that is asked.
pub(crate) fn run_here(args: Args, globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    let noted = || std::env::var_os("FREEHOLD_DATA").filter(|it| !it.is_empty()).map(PathBuf::from);
    let data = up::data_folder(args.data.or_else(noted))?;
    // As `freehold up` would: an ordinary user has what there is in a namespace of that user's own.
    let doctor = match rootless::enter(&data) {
        Ok(()) => doctor::examine(&data),
        Err(error) => doctor::refused(&error),
    };
    if !args.fix {
        out.show(&doctor, |doctor| render(doctor, out.paint))?;
        return verdict(&doctor);
    }
    let failed = mend(&doctor)?;
    let doctor = doctor::examine(&data);
    out.show(&doctor, |doctor| render(doctor, out.paint))?;
    match failed {
        0 => verdict(&doctor),
        n => Err(Failure::local(format!("run {n} of the commands"), "they say why above")),
    }
}

/// Runs the commands of every finding that has some; answers how many failed.
fn mend(doctor: &Doctor) -> Outcome<usize> {
    let sick = || doctor.findings.iter().filter(|finding| !finding.fix.is_empty());
    if sick().next().is_some() && !rootless::is_started_by_root() {
        let commands: Vec<_> = sick().flat_map(|it| &it.fix).map(|it| format!("  {it}")).collect();
        let title = "mending this machine takes root";
        return Err(Failure::usage(title, format!("As root, run\n{}", commands.join("\n"))));
    }
    let mut failed = 0;
    for finding in sick() {
        eprintln!("{}: {}", finding.name, finding.found);
        for command in &finding.fix {
            eprintln!("  {command}");
            let done =
                Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(io::stderr()).status();
            failed += usize::from(!done.is_ok_and(|status| status.success()));
        }
    }
    Ok(failed)
}

fn render(doctor: &Doctor, paint: Paint) -> String {
    let mut lines = vec![];
    let width = doctor.findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    for finding in &doctor.findings {
        let mark = if finding.ok { paint.good("✓") } else { paint.bad("✗") };
        lines.push(format!("{mark} {:<width$}  {}", finding.name, finding.found));
        let remedy = finding.remedy.iter().filter(|_| !finding.ok).flat_map(|text| text.lines());
        lines.extend(remedy.map(|line| format!("    {line}")));
    }
    let easy = doctor.findings.iter().filter(|finding| !finding.fix.is_empty()).map(|it| it.name.as_str());
    let easy: Vec<_> = easy.collect();
    if !easy.is_empty() {
        lines.push(format!("`sudo freehold doctor --fix` mends: {}.", easy.join(", ")));
    }
    let drivers: Vec<_> = doctor.drivers.iter().map(|driver| driver_name(*driver)).collect();
    lines.push(match drivers.is_empty() {
        true => paint.bad("No driver works here: nothing can run."),
        false => format!("Drivers that work: {}.", drivers.join(", ")),
    });
    if !drivers.is_empty() && !doctor.drivers.contains(&Driver::Container) {
        lines.push(
            paint.bad("Containers do not work here: images cannot be deployed as they are meant to be."),
        );
    }
    lines.join("\n")
}

fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Container => "container",
        Driver::Process => "process",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::api::Finding;

    #[test]
    fn what_is_missing_comes_with_its_remedy() {
        let finding = |name: &str, ok| Finding {
            name: name.into(),
            ok,
            found: "seen".into(),
            remedy: Some("apt install it".into()),
            fix: vec![],
        };
        let doctor = Doctor {
            drivers: vec![Driver::Process],
            findings: vec![finding("a", true), finding("b", false)],
        };
        let text = render(&doctor, Paint::plain());
        assert_eq!(text.matches("apt install it").count(), 1);
        assert!(!text.contains("--fix"), "{text}");
        assert!(text.starts_with("✓ a") && text.contains("\n✗ b"), "{text}");
        assert!(text.contains("Drivers that work: process.\nContainers do not work here"), "{text}");
        assert!(verdict(&doctor).is_err());

        let mut doctor = doctor;
        doctor.findings[1].fix = vec!["apt install it".into()];
        assert!(render(&doctor, Paint::plain()).contains("doctor --fix` mends: b.\n"));
    }
}
