//! A ceremony under way, which the browser itself keeps: what was asked, of whom, until when, vouched for by the house.
//!
//! So any control plane takes the answer to what another asked, and a flood of strangers who ask fills nothing. Invariant:
//! a ticket is good for the purpose and the browser it was given to; that it is used once, whoever takes it sees to.

use super::{WAIT, challenge_hash};
use crate::TokenHash;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_secrets::Voucher;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    Add,
    SignIn,
}

/// What stands in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ticket<S> {
    purpose: Purpose,
    /// Hex SHA-256 of what tells the browser from others.
    browser: String,
    /// Hex SHA-256 of the challenge.
    pub(super) challenge: String,
    pub(super) until: Timestamp,
    /// As the library wants it back.
    pub(super) state: S,
}

/// The ticket's text. The challenge is in `options`, for everybody to read; so is what else the state holds.
pub(super) fn give<S: Serialize>(
    voucher: &Voucher,
    purpose: Purpose,
    browser: &str,
    options: &serde_json::Value,
    state: S,
    now: Timestamp,
) -> String {
    let challenge = challenge_hash(options["publicKey"]["challenge"].as_str().unwrap_or_default());
    let until = now.checked_add(WAIT).unwrap_or(Timestamp::MAX);
    let ticket = Ticket { purpose, browser: bound(browser), challenge, until, state };
    voucher.seal(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(&ticket).unwrap_or_default()))
}

/// What stands in a ticket, if it is one for this purpose and browser, and good.
pub(super) fn take<S: DeserializeOwned>(
    voucher: &Voucher,
    purpose: Purpose,
    browser: &str,
    text: &str,
    now: Timestamp,
) -> Option<Ticket<S>> {
    let json = URL_SAFE_NO_PAD.decode(voucher.open(text)?).ok()?;
    let ticket: Ticket<S> = serde_json::from_slice(&json).ok()?;
    let good = ticket.purpose == purpose && ticket.browser == bound(browser) && now < ticket.until;
    good.then_some(ticket)
}

fn bound(browser: &str) -> String {
    TokenHash::of(&format!("passkey ticket {browser}")).hex()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ticket_is_good_for_its_purpose_its_browser_and_five_minutes() {
        let (voucher, now) = (Voucher::alone(), Timestamp::UNIX_EPOCH);
        let options = serde_json::json!({ "publicKey": { "challenge": "abc" } });
        let text = give(&voucher, Purpose::SignIn, "mine", &options, 7, now);
        let take = |purpose, browser: &str, now| take::<i32>(&voucher, purpose, browser, &text, now);
        let taken = take(Purpose::SignIn, "mine", now).unwrap();
        assert_eq!((taken.state, taken.challenge), (7, challenge_hash("abc")));
        assert!(take(Purpose::Add, "mine", now).is_none(), "for another purpose");
        assert!(take(Purpose::SignIn, "yours", now).is_none(), "from another browser");
        assert!(take(Purpose::SignIn, "mine", now + WAIT).is_none(), "too late");
        let other = Voucher::alone();
        assert!(super::take::<i32>(&other, Purpose::SignIn, "mine", &text, now).is_none(), "another house's");
    }

    proptest! {
        #[test]
        fn nothing_that_strangers_send_is_a_ticket(text in "\\PC{0,200}", sealed in "\\PC{0,200}") {
            let (voucher, now) = (Voucher::alone(), Timestamp::UNIX_EPOCH);
            prop_assert!(take::<i32>(&voucher, Purpose::Add, "", &text, now).is_none());
            // Not even where the house vouched for something else.
            prop_assert!(take::<i32>(&voucher, Purpose::Add, "", &voucher.seal(&sealed), now).is_none());
        }
    }
}
