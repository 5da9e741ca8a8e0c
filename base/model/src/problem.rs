//! What goes wrong, for people and programs: RFC 9457 problem details with a stable code.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A stable name for a class of failure, with the HTTP status and the exit code that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is wrong as written.
    Invalid,
    /// No valid token.
    NotSignedIn,
    /// The password was right, and it takes a code of the second factor too.
    SecondFactor,
    /// The token does not allow this.
    NotAllowed,
    /// No such thing.
    NotFound,
    /// It was there, and is kept no longer.
    Gone,
    /// Something else is in the way: a name, a port, a running rollout.
    Conflict,
    /// The plan no longer describes what would happen.
    StalePlan,
    /// Over a quota.
    OverQuota,
    /// Too many tries in too short a time.
    RateLimited,
    /// No node can take it.
    Unplaceable,
    /// The release did not become healthy.
    Unhealthy,
    /// Still running when the wait ended.
    Timeout,
    /// The body is larger than the route takes.
    TooLarge,
    /// Recognised, but Freehold cannot do it yet.
    NotYet,
    /// Not now: starting, stopping, or a part is away.
    Unavailable,
    /// A defect of Freehold.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: &'static [Code] = &[
        Code::Invalid,
        Code::NotSignedIn,
        Code::SecondFactor,
        Code::NotAllowed,
        Code::NotFound,
        Code::Gone,
        Code::Conflict,
        Code::StalePlan,
        Code::OverQuota,
        Code::RateLimited,
        Code::Unplaceable,
        Code::Unhealthy,
        Code::Timeout,
        Code::TooLarge,
        Code::NotYet,
        Code::Unavailable,
        Code::Internal,
    ];

    /// The HTTP status of an answer that carries it.
    pub fn http_status(self) -> u16 {
        match self {
            Code::Invalid | Code::NotYet | Code::Unplaceable | Code::Unhealthy => 422,
            Code::NotSignedIn | Code::SecondFactor => 401,
            Code::NotAllowed | Code::OverQuota => 403,
            Code::NotFound => 404,
            Code::Gone => 410,
            Code::Conflict | Code::StalePlan => 409,
            Code::TooLarge => 413,
            Code::RateLimited => 429,
            Code::Timeout => 504,
            Code::Unavailable => 503,
            Code::Internal => 500,
        }
    }

    /// The exit code of a command that ends with it (design, §9).
    pub fn exit_code(self) -> u8 {
        match self {
            Code::Internal | Code::Unavailable => 1,
            Code::Invalid | Code::NotYet | Code::TooLarge => 2,
            Code::NotSignedIn | Code::SecondFactor | Code::NotAllowed => 3,
            Code::NotFound | Code::Gone => 4,
            Code::Conflict | Code::StalePlan => 5,
            Code::OverQuota | Code::RateLimited => 6,
            Code::Unplaceable => 7,
            Code::Unhealthy => 8,
            Code::Timeout => 9,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn retry_helps(self) -> bool {
        matches!(self, Code::Conflict | Code::Timeout | Code::Unavailable | Code::RateLimited)
    }
}

/// A failure as a caller sees it: what, where, and the way out. `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// The class of failure.
    pub code: Code,
    /// What was wrong, in a sentence.
    pub title: String,
    /// Where, and more of it. Several lines where several things are wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// Of `gone`, where events were asked for: the first that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
}

impl Problem {
    /// A problem with a title alone.
    pub fn new(code: Code, title: impl Into<String>) -> Problem {
        Problem {
            code,
            title: title.into(),
            detail: None,
            hint: None,
            status: code.http_status(),
            retry: code.retry_helps(),
            first: None,
        }
    }

    /// Adds where and what more.
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        for more in [&self.detail, &self.hint].into_iter().flatten() {
            write!(f, "\n{more}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
