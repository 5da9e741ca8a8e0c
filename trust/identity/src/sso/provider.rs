//! Identity providers as the owner of the house sets them.
//!
//! Called by the API. Invariants: no two have one issuer; the client's secret comes here sealed, and an old one is
//! never kept for a new issuer; and a change that would leave somebody without a way to sign in is refused unless it
//! is forced.

use super::link::ways_without;
use crate::{
    Asker,
    error::{PeopleError, invalid, not_found},
};
use freehold_model::{
    Code, IdentityProvider, IdentityProviderId, IdentityProviderSpec, Name, Problem, PublicUrl, Resource,
    SealedValue, SessionSpec, Txn, UserSpec, Waits,
    sso::{IdentityProviderSummary, SetIdentityProvider},
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use serde_json::json;

/// The scope of claims that keep issuers unique.
const ISSUER: &str = "identity-provider";
/// So many may be set: each is a button on the sign-in page.
const MOST: usize = 8;

/// Makes or changes the provider `name`, whose id is `id` where it is new; `sealed` is the client's secret, if one was given.
///
/// # Errors
/// When something of it cannot be, or somebody would be left without a way to sign in.
pub fn set_provider(
    view: &dyn View,
    asker: &Asker,
    name: &Name,
    wanted: &SetIdentityProvider,
    id: IdentityProviderId,
    sealed: Option<SealedValue>,
) -> Result<(Txn, IdentityProvider), PeopleError> {
    check(wanted)?;
    let mut txn = Txn::new(asker.principal.actor(), format!("set identity provider {name}"), &asker.request);
    let found = view.named::<IdentityProviderSpec>(None, name.as_str())?;
    let other = view.claim(ISSUER, &wanted.issuer)?;
    if other.is_some_and(|owner| found.as_ref().is_none_or(|it| owner != it.any_id())) {
        let problem = Problem::new(Code::Conflict, "Another identity provider here has this issuer.");
        return Err(problem.hint("`freehold sso list` shows them. One issuer is set once.").into());
    }
    let spec = |secret| IdentityProviderSpec {
        issuer: wanted.issuer.clone(),
        title: wanted.title.clone(),
        client_id: wanted.client_id.clone(),
        secret,
    };
    let provider = match found {
        Some(mut provider) => {
            let moves = provider.spec.issuer != wanted.issuer;
            if moves {
                refuse_stranding(view, &provider)?;
                txn.release(ISSUER, &provider.spec.issuer).claim(ISSUER, &wanted.issuer, provider.id);
            }
            let kept = provider.spec.secret.take().filter(|_| !moves);
            provider.spec = spec(Some(sealed.or(kept).ok_or_else(no_secret)?));
            txn.put_spec(&provider);
            provider
        }
        None => {
            if view.all::<IdentityProviderSpec>(None)?.len() >= MOST {
                let title = format!("There are {MOST} identity providers already.");
                return Err(invalid(title, "Remove one first: `freehold sso remove NAME`."));
            }
            let spec = spec(Some(sealed.ok_or_else(no_secret)?));
            let provider: IdentityProvider = Resource::new(id, name.as_str(), None, spec, asker.now);
            txn.put(&provider).claim(ISSUER, &wanted.issuer, id);
            provider
        }
    };
    let data = json!({ "name": name, "issuer": wanted.issuer, "client_id": wanted.client_id });
    txn.event(provider.id, "identity_provider.set", data);
    Ok((txn, provider))
}

/// Removes a provider, and what is under way there. Who linked it stays linked to its issuer, should it come back.
///
/// # Errors
/// When there is none of that name; when somebody would be left without a way to sign in, unless `force`.
pub fn remove_provider(
    view: &dyn View,
    asker: &Asker,
    name: &str,
    force: bool,
) -> Result<(Txn, ()), PeopleError> {
    let provider = named(view, name)?;
    if !force {
        refuse_stranding(view, &provider)?;
    }
    let why = format!("remove identity provider {name}");
    let mut txn = Txn::new(asker.principal.actor(), why, &asker.request);
    for session in view.all::<SessionSpec>(None)? {
        if matches!(session.spec.waits, Some(Waits::Provider { provider: it, .. }) if it == provider.id) {
            txn.delete(session.id);
        }
    }
    let data = json!({ "name": name, "issuer": provider.spec.issuer });
    txn.event(provider.id, "identity_provider.removed", data);
    txn.expect(provider.id, provider.version).delete(provider.id);
    Ok((txn, ()))
}

/// Every provider, in order of names.
///
/// # Errors
/// When the view fails.
pub fn providers(view: &dyn View) -> Result<Vec<IdentityProvider>, StoreError> {
    let mut all = view.all::<IdentityProviderSpec>(None)?;
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Every provider as it is told.
///
/// # Errors
/// When the view fails.
pub fn summaries(
    view: &dyn View,
    house: Option<&PublicUrl>,
) -> Result<Vec<IdentityProviderSummary>, StoreError> {
    let users = view.all::<UserSpec>(None)?;
    let one = |provider: IdentityProvider| {
        let is_it = |user: &&freehold_model::User| {
            user.spec.linked.iter().any(|it| it.issuer == provider.spec.issuer)
        };
        IdentityProviderSummary {
            linked: users.iter().filter(is_it).count() as u32,
            id: provider.id,
            title: title(&provider).to_owned(),
            redirect_uri: house.map(|url| redirect_uri(url, &provider.name)),
            name: provider.name,
            issuer: provider.spec.issuer,
            client_id: provider.spec.client_id,
            created: provider.created,
        }
    };
    Ok(providers(view)?.into_iter().map(one).collect())
}

/// The provider of that name, as it is told.
///
/// # Errors
/// When there is none of that name.
pub fn summary(
    view: &dyn View,
    house: Option<&PublicUrl>,
    name: &str,
) -> Result<IdentityProviderSummary, PeopleError> {
    let found = summaries(view, house)?.into_iter().find(|it| it.name == name);
    found.ok_or_else(|| no_provider(name))
}

/// How people call it.
pub fn title(provider: &IdentityProvider) -> &str {
    provider.spec.title.as_deref().unwrap_or(&provider.name)
}

/// Where a provider sends people back to. One each, so that the answer of one is not taken for another's (RFC 9700, 4.4).
pub(super) fn redirect_uri(house: &PublicUrl, name: &str) -> String {
    format!("{house}/signin/with/{name}/callback")
}

pub(super) fn named(view: &dyn View, name: &str) -> Result<IdentityProvider, PeopleError> {
    view.named::<IdentityProviderSpec>(None, name)?.ok_or_else(|| no_provider(name))
}

fn no_provider(name: &str) -> PeopleError {
    let name: String = name.chars().take(63).collect();
    not_found(
        format!("There is no identity provider `{name}`."),
        "`freehold sso list` shows those that are set.",
    )
}

fn no_secret() -> PeopleError {
    invalid(
        "A client secret is needed: this issuer was never given one.",
        "Register this house there as a confidential client, and give its secret with --client-secret-file.",
    )
}

fn refuse_stranding(view: &dyn View, provider: &IdentityProvider) -> Result<(), PeopleError> {
    let mut stranded = vec![];
    for user in view.all::<UserSpec>(None)? {
        let has = user.spec.linked.iter().any(|it| it.issuer == provider.spec.issuer);
        if has && !user.spec.disabled && ways_without(view, &user.spec, &provider.spec.issuer)? == 0 {
            stranded.push(user.name);
        }
    }
    if stranded.is_empty() {
        return Ok(());
    }
    let names = stranded.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    let problem = Problem::new(Code::Conflict, "Some people could not sign in any more.").detail(format!(
        "{} only by {}: {names}",
        stranded.len(),
        provider.name
    ));
    let hint = "Invite them first (`freehold user invite NAME`), or remove it all the same: `freehold sso remove NAME --force`.";
    Err(problem.hint(hint).into())
}

fn check(wanted: &SetIdentityProvider) -> Result<(), PeopleError> {
    super::http::permitted_issuer(&wanted.issuer)
        .map_err(|why| invalid(format!("The issuer {why}."), "As in https://accounts.google.com."))?;
    let printable = |text: &str, most: usize| {
        (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if !printable(&wanted.client_id, 255) {
        return Err(invalid("The client id is empty, too long, or has control characters.", "Copy it anew."));
    }
    if wanted.title.as_ref().is_some_and(|title| !printable(title, 40)) {
        return Err(invalid("A title has 1 to 40 characters.", "It stands on a button: Sign in with …"));
    }
    if wanted.client_secret.as_ref().is_some_and(|it| !printable(it.expose(), 4096)) {
        return Err(invalid(
            "The client secret is empty, too long, or has control characters.",
            "Copy it anew.",
        ));
    }
    Ok(())
}
