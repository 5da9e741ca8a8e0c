//! Refuses who asks too often: a token, all sessions of a person, or an address that shows nothing that is valid.
//!
//! Called by the guard, before anything is done for a request. A stream counts as the one request that it is.

use crate::{client_address::ClientAddress, state::Api, who::Who};
use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use freehold_identity::{RateOf, TooMany};
use freehold_model::{Code, Problem, Rate};
use std::time::Duration;

/// Too many requests.
pub(crate) struct Throttled {
    pub(crate) problem: Problem,
    after: Duration,
}

/// Counts a request of somebody who was let in.
pub(crate) fn count(api: &Api, who: &Who) -> Result<(), Throttled> {
    let Some(of) = RateOf::of(who.principal.identity) else { return Ok(()) };
    api.rates.count(of, who.rate).map_err(|over| {
        let (whose, own) = match of {
            RateOf::Token(_) => (
                format!("The token {}", who.principal.name),
                "; a token is given its own with `freehold token create NAME --rate`",
            ),
            _ => (format!("{}, with all sessions,", who.principal.name), ""),
        };
        let hint = format!(
            "An admin of the house raises the limit of all: `freehold quota set --org home --rate`{own}."
        );
        throttled(&whose, &over, hint)
    })
}

/// Counts a request of nobody in particular.
pub(crate) fn count_stranger(api: &Api, address: ClientAddress) -> Result<(), Throttled> {
    let of = RateOf::address(address.0);
    api.rates.count(of, Rate::OF_STRANGERS).map_err(|over| stranger(&over))
}

/// Refuses, before anything is read for it, what an address shows that has shown too much that is worth nothing.
pub(crate) fn may_guess(api: &Api, address: ClientAddress) -> Result<(), Throttled> {
    let of = RateOf::address(address.0);
    if !api.rates.is_spent(of, Rate::OF_STRANGERS) {
        return Ok(());
    }
    count_stranger(api, address)
}

fn stranger(over: &TooMany) -> Throttled {
    let hint = "Send a token that is valid: each has a limit of its own. This one is nobody's to raise.";
    throttled("Your address, without a valid token,", over, hint.to_owned())
}

fn throttled(whose: &str, over: &TooMany, hint: String) -> Throttled {
    let after = Duration::from_secs(over.retry_after.as_secs() + 1);
    let detail = format!(
        "{whose} may make {} requests, {} of them at once, and has made them. There is room again in {} s.",
        over.limit,
        over.limit.burst(),
        after.as_secs()
    );
    let problem = Problem::new(Code::RateLimited, "Too many requests.").detail(detail).hint(hint);
    Throttled { problem, after }
}

impl Throttled {
    /// As it is answered; `refuse` words problems as the route has them.
    pub(crate) fn answer(self, refuse: impl FnOnce(Problem) -> Response) -> Response {
        let mut response = refuse(self.problem);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(self.after.as_secs()));
        response
    }
}
