//! `freehold doctor`: what the machine can do, and what to install for the rest.

use super::up;
use crate::{
    args::Globals,
    failure::Outcome,
    output::{Out, Paint},
    session::Session,
};
use freehold_model::{api::Doctor, manifest::Driver};

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold doctor                     the server's machine
  freehold doctor --local             this machine, as before the first `freehold up`")]
pub(crate) struct Args {
    /// Looks at this machine, without a server.
    #[arg(long)]
    pub(crate) local: bool,
}

pub(crate) async fn run(session: &Session) -> Outcome {
    let doctor = session.client.doctor().await?;
    session.out.show(&doctor, |doctor| render(doctor, session.out.paint))
}

/// Looks at this machine.
pub(crate) fn run_here(globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    let doctor = freehold_runtime::doctor::examine(&up::data_folder(None)?);
    out.show(&doctor, |doctor| render(doctor, out.paint))
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
    let drivers: Vec<_> = doctor.drivers.iter().map(|driver| driver_name(*driver)).collect();
    lines.push(match drivers.is_empty() {
        true => paint.bad("No driver works here: nothing can run."),
        false => format!("Drivers that work: {}.", drivers.join(", ")),
    });
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
        };
        let doctor = Doctor {
            drivers: vec![Driver::Process],
            findings: vec![finding("a", true), finding("b", false)],
        };
        let text = render(&doctor, Paint::plain());
        assert_eq!(text.matches("apt install it").count(), 1);
        assert!(text.starts_with("✓ a") && text.contains("\n✗ b"), "{text}");
        assert!(text.ends_with("Drivers that work: process."), "{text}");
    }
}
