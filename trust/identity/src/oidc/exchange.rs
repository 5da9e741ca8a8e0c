//! The token endpoint, after the client has proved itself: codes and refresh tokens become tokens.
//!
//! Invariant: a code and a refresh token are good once. One that is shown again was stolen, or what it was exchanged
//! for was: the grant ends, with all that came of it (RFC 6749, 4.1.2; RFC 9700, 4.14.2).

use super::{
    REFRESH, TOKEN,
    claims::{PersonClaims, claims},
    client::Client,
    error::{OidcError, Undecided},
    grant::{Person, fits, make, named, person, until},
    params::OidcParams,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_model::{Actor, Grant, SessionId, Txn, secrets::Hidden};
use freehold_reconcile::View;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What a client is given.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For userinfo.
    pub access: Hidden,
    /// For the next tokens, if it asked for such.
    pub refresh: Option<Hidden>,
    /// What was given.
    pub scopes: Vec<String>,
    /// Who it is.
    pub person: PersonClaims,
    pub(super) session: SessionId,
    pub(super) signed_in: Timestamp,
    pub(super) nonce: Option<String>,
}

/// A transaction, and what is answered once it is committed: even a refusal may change something.
#[derive(Debug)]
pub struct Exchanged {
    /// To be committed.
    pub txn: Txn,
    /// To be answered.
    pub answer: Result<Tokens, OidcError>,
}

/// Decides what `client`, who proved to be that, gets for what it shows.
///
/// # Errors
/// When the request is wrong, and nothing changes; or the view fails.
pub fn exchange(
    view: &dyn View,
    client: &Client,
    params: &OidcParams,
    caller: &str,
    now: Timestamp,
) -> Result<Exchanged, Undecided> {
    match params.required("grant_type")? {
        "authorization_code" => by_code(view, client, params, caller, now),
        "refresh_token" => by_refresh(view, client, params, caller, now),
        _ => {
            let why = "The grant types are authorization_code and refresh_token.";
            Err(OidcError::new("unsupported_grant_type", why).into())
        }
    }
}

fn by_code(
    view: &dyn View,
    client: &Client,
    params: &OidcParams,
    caller: &str,
    now: Timestamp,
) -> Result<Exchanged, Undecided> {
    let wrong = || OidcError::grant("The code is wrong, expired or of another client.");
    let (code, redirect) = (params.required("code")?, params.required("redirect_uri")?);
    let verifier = params.required("code_verifier")?;
    let grant = named(view, code)?.filter(|grant| of(grant, client)).ok_or_else(wrong)?;
    if !fits(Some(&grant.spec.code), code) {
        return Err(wrong().into());
    }
    if grant.status.used {
        return Ok(end(&grant, "a code was used twice", caller));
    }
    if grant.spec.code.expires <= now {
        return Err(wrong().into());
    }
    if grant.spec.redirect != redirect {
        return Err(OidcError::grant("redirect_uri is not the one that the code was asked with.").into());
    }
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    if !(43..=128).contains(&verifier.len()) || challenge != grant.spec.challenge {
        return Err(OidcError::grant("code_verifier does not fit the code_challenge.").into());
    }
    let person = person(view, &grant, client, now)?.ok_or_else(wrong)?;
    let scopes = grant.spec.scopes.clone();
    Ok(give(grant, &person, scopes, caller, now))
}

fn by_refresh(
    view: &dyn View,
    client: &Client,
    params: &OidcParams,
    caller: &str,
    now: Timestamp,
) -> Result<Exchanged, Undecided> {
    let wrong = || OidcError::grant("The refresh token is wrong, expired, revoked or of another client.");
    let shown = params.required("refresh_token")?;
    let grant = named(view, shown)?.filter(|grant| of(grant, client)).ok_or_else(wrong)?;
    let Some(kept) = &grant.status.refresh else { return Err(wrong().into()) };
    if !fits(Some(kept), shown) {
        // Only who has had a token of this grant knows its id.
        return Ok(end(&grant, "a refresh token was used twice", caller));
    }
    if kept.expires <= now {
        return Err(wrong().into());
    }
    let person = person(view, &grant, client, now)?.ok_or_else(wrong)?;
    let scopes = match params.get("scope") {
        None => grant.spec.scopes.clone(),
        Some(asked) => {
            let asked: Vec<String> = asked.split_whitespace().map(Into::into).collect();
            if !asked.iter().all(|scope| grant.spec.scopes.contains(scope)) {
                return Err(OidcError::new("invalid_scope", "More is asked for than was given.").into());
            }
            asked
        }
    };
    Ok(give(grant, &person, scopes, caller, now))
}

fn of(grant: &Grant, client: &Client) -> bool {
    grant.spec.client == client.id && grant.spec.env == client.env.id
}

fn give(mut grant: Grant, who: &Person, scopes: Vec<String>, caller: &str, now: Timestamp) -> Exchanged {
    let first = !grant.status.used;
    let (access, kept) = make(grant.id, until(now, TOKEN, &who.session));
    grant.status.access = Some(kept);
    let lasting = grant.spec.scopes.iter().any(|scope| scope == "offline_access");
    let refresh = lasting.then(|| make(grant.id, until(now, REFRESH, &who.session)));
    let refresh = refresh.map(|(refresh, kept)| {
        grant.status.refresh = Some(kept);
        refresh
    });
    grant.status.used = true;
    grant.status.refreshed += u32::from(!first);
    let what = if first { "exchange a code" } else { "refresh" };
    let mut txn = Txn::new(Actor::System, format!("{what} of {}", grant.spec.client), caller);
    // Whoever signs out or is removed meanwhile gets nothing more.
    txn.expect(who.session.id, who.session.version).expect(who.user.id, who.user.version);
    txn.put_status(&grant);
    let person = claims(who, &scopes);
    let (session, signed_in, nonce) =
        (who.session.id, grant.spec.signed_in, grant.spec.nonce.filter(|_| first));
    Exchanged { txn, answer: Ok(Tokens { access, refresh, scopes, person, session, signed_in, nonce }) }
}

fn end(grant: &Grant, why: &str, caller: &str) -> Exchanged {
    let mut txn = Txn::new(Actor::System, format!("end a sign-in: {why}"), caller);
    let data = json!({ "client": grant.spec.client, "user": grant.spec.user, "why": why });
    txn.event(grant.id, "grant.revoked", data);
    txn.expect(grant.id, grant.version).delete(grant.id);
    Exchanged {
        txn,
        answer: Err(OidcError::grant("It was used already, so everything that came of it has ended.")),
    }
}
