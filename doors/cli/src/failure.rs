//! How a command fails: what it says on standard error, and its exit code (design, §9).

use crate::output::{Paint, printable::printable};
use freehold_client::ClientError;
use freehold_model::{Code, Problem};
use std::{io, process::ExitCode};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to be said.
    Problem(Problem),
    /// Everything was said already; only the exit code remains.
    Said(u8),
    /// Nobody reads standard output any more, as after `| head`: no reason to complain.
    ReaderGone,
}

/// What commands answer with.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A mistake of the person who typed the command.
    pub(crate) fn usage(title: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Problem(Problem::new(Code::Invalid, title).hint(hint))
    }

    /// Something that is not there.
    pub(crate) fn not_found(title: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Problem(Problem::new(Code::NotFound, title).hint(hint))
    }

    /// What this machine refused to do.
    pub(crate) fn local(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
        Failure::Problem(Problem::new(Code::Internal, format!("cannot {doing}: {error}")))
    }

    /// Says it on standard error, as JSON if that is what the caller reads, and gives the exit code.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        match self {
            Failure::Said(code) => ExitCode::from(code),
            Failure::ReaderGone => ExitCode::SUCCESS,
            Failure::Problem(problem) => {
                let text =
                    if json { as_json(&problem) } else { printable(&as_text(&problem, Paint::stderr())) };
                eprintln!("{text}");
                ExitCode::from(problem.code.exit_code())
            }
        }
    }
}

fn as_json(problem: &Problem) -> String {
    serde_json::to_string(problem).unwrap_or_else(|_| problem.title.clone())
}

fn as_text(problem: &Problem, paint: Paint) -> String {
    let mut text = format!("{} {}", paint.bad("error:"), problem.title);
    if let Some(detail) = &problem.detail {
        for line in detail.lines() {
            text.push_str(format!("\n  {line}").trim_end_matches(' '));
        }
    }
    if let Some(hint) = &problem.hint {
        text.push_str(&format!("\n{} {hint}", paint.note("hint:")));
    }
    text
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let problem = error.into_problem();
        // The API speaks of headers; who types commands signs in by one.
        Failure::Problem(match problem.code {
            Code::NotSignedIn => {
                problem.hint("`freehold login` signs in; a program gives its token as FREEHOLD_TOKEN.")
            }
            _ => problem,
        })
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Problem(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::local("write to standard output", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_said_with_its_detail_and_its_way_out() {
        let problem =
            Problem::new(Code::Invalid, "the manifest has 2 errors").detail("a\nb").hint("mend them");
        let text = as_text(&problem, Paint::plain());
        assert_eq!(text, "error: the manifest has 2 errors\n  a\n  b\nhint: mend them");
        let read: Problem = serde_json::from_str(&as_json(&problem)).unwrap();
        assert_eq!(read, problem);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(failure, Failure::ReaderGone));
    }
}
