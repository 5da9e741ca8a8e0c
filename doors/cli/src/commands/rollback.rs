//! `freehold rollback`: makes an earlier release run again.

use super::operation::{self, Options, WaitArgs};
use crate::{failure::Outcome, session::Session};
use freehold_model::api::Change;

/// Flags of `rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The earlier release is deployed whole, after the same plan as any deploy.

Examples:
  freehold rollback                   to the release before the present one
  freehold rollback --to v3 -a shop   to a certain one; `freehold releases` lists them")]
pub(crate) struct Args {
    /// The release: `3` or `v3`.
    #[arg(long, value_name = "N", value_parser = release_number)]
    to: Option<u32>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Accepted for scripts; a rollback never asks.
    #[arg(short = 'y', long)]
    yes: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let change = Change::Rollback {
        app: session.app()?,
        env: session.globals.env.clone(),
        project: session.globals.project.clone(),
        to: args.to,
    };
    operation::perform(session, change, Options { plan: None, wait: args.wait }).await
}

fn release_number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    match digits.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("releases are numbered 1, 2, 3, …; write `3` or `v3`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::release_number;

    #[test]
    fn releases_are_numbers_with_or_without_a_v() {
        assert_eq!((release_number("3"), release_number("v12")), (Ok(3), Ok(12)));
        for bad in ["", "0", "v", "-1", "latest"] {
            assert!(release_number(bad).is_err(), "{bad}");
        }
    }
}
