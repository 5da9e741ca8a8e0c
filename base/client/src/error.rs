//! What can go wrong between a client and its server, and the exit code that goes with it.

use freehold_model::{Code, Problem};
use std::error::Error;

/// A request that did not get the answer it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem.
    #[error("{0}")]
    Problem(Problem),
    /// The server did not answer, or stopped in the middle of its answer.
    #[error("cannot reach Freehold at {url}: {}", innermost(.source))]
    Unreachable {
        /// The server.
        url: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// A connection that was to last until a command ends did not.
    #[error(
        "the connection to Freehold at {url} broke before the command ended ({what}); the command is ended with it"
    )]
    Broken {
        /// The server.
        url: String,
        /// How it broke.
        what: String,
    },
    /// The answer is not one that Freehold gives.
    #[error("{url} answered with something unexpected: {what}")]
    Protocol {
        /// The request.
        url: String,
        /// What came instead.
        what: String,
    },
    /// The address of a server cannot be used.
    #[error("`{url}` is not the address of a server: {reason}")]
    Address {
        /// As it was given, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// The exit code of a command that ends with it (design, §9).
    pub fn exit_code(&self) -> u8 {
        self.code().exit_code()
    }

    /// The class of failure.
    pub fn code(&self) -> Code {
        match self {
            ClientError::Problem(problem) => problem.code,
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => Code::Unavailable,
            ClientError::Protocol { .. } => Code::Internal,
            ClientError::Address { .. } => Code::Invalid,
        }
    }

    /// Whether the same request may succeed when the server is back.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Problem(problem) => problem.code == Code::Unavailable && problem.retry,
            other => other.code() == Code::Unavailable,
        }
    }

    /// The same failure as a problem, to be shown like those of the server.
    pub fn into_problem(self) -> Problem {
        let code = self.code();
        match self {
            ClientError::Problem(problem) => problem,
            other => {
                let problem = Problem::new(code, other.to_string());
                match other {
                    ClientError::Unreachable { .. } => problem.hint(
                        "Is it running? `freehold up` starts it; --url or FREEHOLD_URL names another server.",
                    ),
                    ClientError::Broken { .. } => problem.hint(
                        "Freehold was stopped, or the network is gone: `freehold status` tells. Then run it again.",
                    ),
                    ClientError::Address { .. } => problem.hint("Write it like http://127.0.0.1:7117."),
                    ClientError::Protocol { .. } => {
                        problem.hint("Is that address a Freehold server of the same version?")
                    }
                    ClientError::Problem(_) => problem,
                }
            }
        }
    }
}

/// The cause of all causes: `Connection refused`, where the outer ones say only `error sending request`.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_problem() {
        for code in Code::ALL {
            let error = ClientError::Problem(Problem::new(*code, "x"));
            assert_eq!(error.exit_code(), code.exit_code());
        }
        let protocol = ClientError::Protocol { url: "http://x".into(), what: "a page".into() };
        assert_eq!(protocol.exit_code(), 1);
        let address = ClientError::Address { url: "x".into(), reason: "no scheme".into() };
        assert_eq!(address.exit_code(), 2);
    }
}
