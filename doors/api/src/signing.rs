//! Signing in: what the API's route and the pages' forms do alike. A name and a password, or an invite, become a
//! session; what fails is counted.
//!
//! Invariants: a try costs the same work whoever is named; at most [`AT_ONCE`] tries are worked on at once, so
//! that they cannot take the machine's memory; what was sent is repeated in no answer, event or log.

use crate::{
    browser,
    client_address::ClientAddress,
    commit::commit,
    error::{Answer, Failure},
    request::RequestId,
    state::Api,
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use freehold_identity::{
    self as identity, Attempts, Identity, Opened, Origin, PeopleError, Proof, TokenHash, hash_password,
    verify_password,
};
use freehold_model::{Code, Problem, SessionId, User, secrets::Hidden};
use freehold_reconcile::View;
use jiff::Timestamp;
use std::convert::Infallible;
use tokio::sync::Semaphore;

/// Each try takes 19 MiB.
const AT_ONCE: usize = 2;
static WORK: Semaphore = Semaphore::const_new(AT_ONCE);

/// Somebody who tries: from where, and with what before.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) address: ClientAddress,
    pub(crate) headers: HeaderMap,
    pub(crate) request: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Attempt {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let address = ClientAddress::from_request_parts(parts, state).await?;
        let request = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Attempt { address, headers: parts.headers.clone(), request })
    }
}

/// From a name, a password and, if need be, a code to a session.
///
/// # Errors
/// In the same words whatever was wrong; when this address has failed too often; when a code is needed too.
pub(crate) async fn with_password(
    api: &Api,
    attempt: &Attempt,
    name: &str,
    password: Hidden,
    code: Option<Hidden>,
) -> Answer<Opened> {
    let user = try_password(api, attempt, name, password).await?;
    if !user.spec.has_second_factor() {
        return opened(api, attempt, user).await;
    }
    let code = code.ok_or_else(|| code_needed("It takes a code of your second factor too."))?;
    check_code(api, attempt, user, None, code.expose()).await
}

/// From a name and a password to a session, or to one that waits for a code.
///
/// # Errors
/// As [`with_password`].
pub(crate) async fn begin(api: &Api, attempt: &Attempt, name: &str, password: Hidden) -> Answer<Opened> {
    let user = try_password(api, attempt, name, password).await?;
    opened(api, attempt, user).await
}

/// From the session that waits, in a browser's cookie, and a code to one that lets in.
///
/// # Errors
/// When nothing waits (any more), or the code is wrong.
pub(crate) async fn with_code(api: &Api, attempt: &Attempt, code: &str) -> Answer<Opened> {
    may_try(&api.attempts, attempt, api.clock.now())?;
    let late = || {
        Problem::new(Code::NotSignedIn, "That took too long, or it was done already.")
            .hint("Start again with your name and password.")
    };
    let cookie = browser::cookie(&attempt.headers, browser::SESSION_COOKIE).ok_or_else(late)?;
    let (shown, now) = (TokenHash::of(&cookie), api.clock.now());
    let found = api.read(move |view| Ok(identity::half_signed_in(view, &shown, now)?)).await?;
    let (user, half) = found.ok_or_else(late)?;
    check_code(api, attempt, user, Some(half), code).await
}

async fn opened(api: &Api, attempt: &Attempt, user: User) -> Answer<Opened> {
    let (origin, now) = (origin(api, attempt).await?, api.clock.now());
    commit(api, move |view| identity::sign_in(view, &user, &origin, now).map_err(Failure::from)).await
}

/// What is answered where a password alone is not enough.
pub(crate) fn code_needed(title: &str) -> Problem {
    Problem::new(Code::SecondFactor, title).hint(
        "Send the code that your authenticator shows, or a recovery code, as `code` beside the password.",
    )
}

async fn check_code(
    api: &Api,
    attempt: &Attempt,
    user: User,
    half: Option<SessionId>,
    code: &str,
) -> Answer<Opened> {
    let (now, origin) = (api.clock.now(), origin(api, attempt).await?);
    let (name, from, code) = (user.name.clone(), origin.clone(), code.to_owned());
    let sealed = user.spec.second_factor.as_ref().map(|it| it.sealed.clone()).unwrap_or_default();
    let secret = api.vault.open_second_factor(user.id, &sealed).map_err(Failure::internal)?;
    let decide = move |view: &dyn View| {
        let (password, secret) = (user.spec.password.as_deref(), secret.expose());
        let proof = Proof { user: user.id, password, secret, code: &code, half };
        identity::sign_in_with_code(view, &proof, &origin, now).map_err(Failure::from)
    };
    match commit(api, decide).await {
        Err(Failure(problem)) if problem.code == Code::NotSignedIn => {
            wrong(api, &name, from, attempt.address).await?;
            let hint =
                "Each code is good once. After five wrong ones the account takes none for some minutes.";
            Err(Problem::new(
                problem.code,
                "The code is wrong or was used, or the account is locked for a while.",
            )
            .hint(hint)
            .into())
        }
        other => other,
    }
}

/// Whose name and password these are.
///
/// # Errors
/// In the same words whatever was wrong; when this address has failed too often.
pub(crate) async fn try_password(api: &Api, attempt: &Attempt, name: &str, password: Hidden) -> Answer<User> {
    let now = api.clock.now();
    may_try(&api.attempts, attempt, now)?;
    let named = name.to_owned();
    let found = api.read(move |view| Ok(identity::find_user(view, &named, now)?)).await?;
    let (user, open) = found.map_or((None, false), |(user, open)| (Some(user), open));
    let has_none = user.as_ref().is_some_and(|user| user.spec.password.is_none());
    let kept = user.as_ref().filter(|_| open).and_then(|user| user.spec.password.clone());
    let origin = origin(api, attempt).await?;
    let fits = work(move || verify_password(kept.as_deref(), password.expose())).await?;
    match user.filter(|_| fits) {
        Some(user) => Ok(user),
        // There is nothing to guess, and whoever knows the name shall not lock their other ways in.
        None if has_none => {
            let floor = tokio::time::sleep(FLOOR);
            api.attempts.failed(attempt.address.0, now);
            floor.await;
            Err(PeopleError::wrong().into())
        }
        None => Err(wrong(api, name, origin, attempt.address).await?),
    }
}

/// From an invite and a password of one's choice to a session; every older one ends.
///
/// # Errors
/// When the invite is not good, or the password is not.
pub(crate) async fn with_invite(
    api: &Api,
    attempt: &Attempt,
    invite: &Hidden,
    password: Hidden,
) -> Answer<Opened> {
    may_try(&api.attempts, attempt, api.clock.now())?;
    let (now, shown) = (api.clock.now(), TokenHash::of(invite.expose()));
    let Some(user) = api.read(move |view| Ok(identity::invited(view, &shown, now)?)).await? else {
        api.attempts.failed(attempt.address.0, now);
        return Err(identity::bad_invite().into());
    };
    identity::check_password(&user, password.expose())?;
    let hashed = work(move || hash_password(password.expose())).await?;
    let origin = origin(api, attempt).await?;
    let decide = move |view: &dyn View| {
        identity::accept_invite(view, &shown, &hashed, &origin, now).map_err(Failure::from)
    };
    commit(api, decide).await
}

/// Whether this address may try, by what it did of late.
pub(crate) fn may_try(attempts: &Attempts, attempt: &Attempt, now: Timestamp) -> Answer<()> {
    attempts.may_try(attempt.address.0, now).map_err(|until| {
        Problem::new(Code::RateLimited, "Too many sign-ins from your address have failed, or were begun.")
            .hint(format!("Try again after {}.", until.strftime("%H:%M:%S UTC")))
            .into()
    })
}

/// How long the answer to a wrong password takes at least, after the password was looked at.
const FLOOR: std::time::Duration = std::time::Duration::from_millis(30);

/// Notes a wrong password, and answers in the same words whatever was wrong.
///
/// Only for a name that somebody has is there something to commit: the answer waits for longer than that takes,
/// whether there was or not, or the time would tell which names there are.
async fn wrong(api: &Api, name: &str, origin: Origin, address: ClientAddress) -> Answer<Failure> {
    let (now, floor) = (api.clock.now(), tokio::time::sleep(FLOOR));
    api.attempts.failed(address.0, now);
    let name = name.to_owned();
    // Those who fail at once are all counted, or the lock could be outrun.
    for _ in 0..8 {
        let (name, origin) = (name.clone(), origin.clone());
        let decide = move |view: &dyn View| match identity::find_user(view, &name, now)? {
            Some((user, _)) => Ok(identity::refused(view, user.id, &origin, now)?),
            None => Ok(None),
        };
        let Some(txn) = api.read(decide).await? else { break };
        match api.store.commit(txn).await {
            Err(conflict) if conflict.is_conflict() => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    floor.await;
    Ok(PeopleError::wrong().into())
}

/// Where the request comes from, and which session it would replace.
pub(crate) async fn origin(api: &Api, attempt: &Attempt) -> Answer<Origin> {
    let program = attempt.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let before = match crate::auth::identify(api, &attempt.headers).await? {
        Some(who) => match who.principal.identity {
            Identity::User { session, .. } => Some(session),
            _ => None,
        },
        None => None,
    };
    Ok(Origin {
        address: attempt.address.0.map(|address| address.to_string()),
        program: program.map(|text| text.chars().take(120).collect()),
        request: attempt.request.clone(),
        before,
    })
}

/// Hashing takes memory and time: few at once, and never on a thread that serves others.
async fn work<T: Send + 'static>(hash: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    let _turn = WORK.acquire().await.map_err(Failure::internal)?;
    tokio::task::spawn_blocking(hash).await.map_err(Failure::internal)
}
