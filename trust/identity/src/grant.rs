//! Tokens of machines: made, told and revoked, each in one transaction with its audit event.
//!
//! Called by the API's token routes. Invariant: the token in clear is in the answer to its maker and nowhere
//! else; a token's rights never exceed its maker's: not when it is made, and not later ([`crate::worth`]).

use crate::{
    Access, Action, Asker, Identity, Place, Principal, Token,
    binding::{all_named, given},
    credential::CREDENTIAL,
    decide,
    error::{PeopleError, invalid, not_allowed},
    maker::{Worth, worth},
    place::HOUSE,
};
use freehold_model::{
    AnyId, Binding, Millis, OrgSpec, Rate, Resource, TokenId, TokenResource, TokenSpec, Txn,
    access::{CreateToken, CreatedToken, TokenSummary},
    secrets::Hidden,
};
use freehold_reconcile::{Ids as _, StoreError, SystemIds, View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// How long a token is good when nothing is said.
const USUAL: Millis = Millis(90 * DAY);
/// And at most.
const LONGEST: Millis = Millis(366 * DAY);

/// A new token, and the transaction that makes it good.
///
/// # Errors
/// When it is not the asker's to give, or cannot be as asked for.
pub fn create_token(
    view: &dyn View,
    asker: &Asker,
    wanted: &CreateToken,
) -> Result<(Txn, CreatedToken), PeopleError> {
    let length = wanted.expires_in.unwrap_or(USUAL);
    if !(MINUTE..=LONGEST.0).contains(&length.0) {
        let hint = "Make one for a minute to 366 days, such as 30d, and make another before it ends.";
        return Err(invalid(format!("A token cannot be good for {length}."), hint));
    }
    let bindings = given(view, &asker.principal, Action::ManageTokens, &wanted.bindings)?;
    let expires = asker.now.checked_add(length.signed()).unwrap_or(Timestamp::MAX);
    check_rate(view, asker, wanted.rate)?;
    let maker = match asker.principal.identity {
        Identity::User { user, .. } => Some(user.into()),
        Identity::Token(token) => Some(token.into()),
        Identity::Root | Identity::Node(_) => None,
    };
    let (secret, id) = (Token::generate(), TokenId(SystemIds.ulid()));
    let (hash, creator) = (secret.hash().hex(), asker.principal.actor());
    let rate = wanted.rate;
    let home = home(&asker.principal, &bindings, maker);
    let spec = TokenSpec { hash: hash.clone(), bindings, expires, creator: creator.clone(), maker, rate };
    let token: TokenResource = Resource::new(id, wanted.name.as_str(), home, spec, asker.now);
    let mut txn = Txn::new(creator, format!("make token {}", wanted.name), &asker.request);
    txn.put(&token).claim(CREDENTIAL, hash, id);
    let summary = summary(view, &token, asker.now)?;
    let data = json!({ "name": wanted.name, "bindings": summary.bindings, "expires": expires, "rate": rate });
    txn.event(id, "token.issued", data);
    Ok((txn, CreatedToken { token: Hidden::new(secret.reveal().to_owned()), summary }))
}

/// Where a token has its name to itself: the project or the org that all its bindings are in, so that a name which
/// is taken was taken by one that whoever is refused can see. Where that is more than its maker manages, their
/// own. Tokens of before, and those of several orgs that the house makes, are the house's.
fn home(asker: &Principal, bindings: &[Binding], maker: Option<AnyId>) -> Option<AnyId> {
    let first = bindings.first()?;
    let (at, common) = match first.project {
        Some(project) if bindings.iter().all(|it| it.project == Some(project)) => {
            (place(first), Some(project.into()))
        }
        _ if bindings.iter().all(|it| it.org == first.org) => (Place::Org(first.org), Some(first.org.into())),
        _ => (Place::House, None),
    };
    if decide(Some(asker), Action::ManageTokens, at) == Access::Granted { common } else { maker }
}

/// More than the house gives everybody is the house's to give.
fn check_rate(view: &dyn View, asker: &Asker, wanted: Option<Rate>) -> Result<(), PeopleError> {
    let org = view.named::<OrgSpec>(None, HOUSE)?;
    let usual = org.and_then(|org| org.spec.quota.rate).unwrap_or(Rate::OF_CALLERS);
    let may = decide(Some(&asker.principal), Action::SetQuota, Place::House) == Access::Granted;
    match wanted.filter(|wanted| *wanted > usual && !may) {
        None => Ok(()),
        Some(wanted) => Err(not_allowed(
            format!("A token of yours may make {usual} requests at most, not {wanted}."),
            "An admin of the house can give more: to a token that they make, or to all with \
             `freehold quota set --org home --rate`.",
        )),
    }
}

/// Every token that `principal` may know of: those bound only where they manage tokens.
///
/// # Errors
/// When the view fails.
pub fn token_summaries(
    view: &dyn View,
    principal: &Principal,
    now: Timestamp,
) -> Result<Vec<TokenSummary>, StoreError> {
    let all = view.all::<TokenSpec>(None)?;
    let theirs = all.iter().filter(|token| manages(principal, &token.spec.bindings));
    theirs.map(|token| summary(view, token, now)).collect()
}

/// The token, if `principal` may revoke it.
///
/// # Errors
/// When the view fails.
pub fn may_revoke(
    view: &dyn View,
    principal: &Principal,
    id: TokenId,
) -> Result<Option<TokenResource>, StoreError> {
    let found = view.find::<TokenSpec>(id)?;
    Ok(found.filter(|token| manages(principal, &token.spec.bindings)))
}

/// The transaction after which `token` lets nobody in.
pub fn revoke_token(token: &TokenResource, asker: &Asker) -> Txn {
    let mut txn = Txn::new(asker.principal.actor(), format!("revoke token {}", token.name), &asker.request);
    txn.event(token.id, "token.revoked", json!({ "name": token.name }));
    txn.expect(token.id, token.version).delete(token.id);
    txn
}

/// Whether all the places are theirs to manage. The house's admins manage every token, also those whose
/// places are gone.
fn manages(principal: &Principal, bindings: &[Binding]) -> bool {
    let may = |place| decide(Some(principal), Action::ManageTokens, place) == Access::Granted;
    may(Place::House) || bindings.iter().all(|binding| may(place(binding)))
}

/// Where a binding holds.
pub(crate) fn place(binding: &Binding) -> Place {
    match binding.project {
        Some(project) => Place::Project { org: binding.org, project },
        None => Place::Org(binding.org),
    }
}

fn summary(view: &dyn View, token: &TokenResource, now: Timestamp) -> Result<TokenSummary, StoreError> {
    let ended = match worth(view, token, now)? {
        Worth::Good { .. } | Worth::Expired => None,
        Worth::MakerGone => Some("whoever made it is gone".to_owned()),
        Worth::MakerLost => Some("whoever made it has none of these rights any more".to_owned()),
    };
    Ok(TokenSummary {
        id: token.id,
        name: token.name.clone(),
        bindings: all_named(view, &token.spec.bindings)?,
        creator: token.spec.creator.clone(),
        created: token.created,
        expires: token.spec.expires,
        expired: token.spec.expires <= now,
        ended,
        rate: token.spec.rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenHash, authenticate, testing::House};
    use freehold_model::{OrgId, Role, access::NamedBinding};

    fn wanted(role: Role, org: Option<&str>, project: Option<&str>) -> CreateToken {
        let name = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let binding = NamedBinding { role, org: name(org), project: name(project) };
        CreateToken { name: "ci".parse().unwrap(), bindings: vec![binding], expires_in: None, rate: None }
    }

    #[test]
    fn a_token_lets_in_until_it_expires_or_is_revoked() {
        let house = House::new();
        let asker = house.root();
        let wanted = CreateToken { expires_in: Some(Millis(DAY)), ..wanted(Role::Developer, None, None) };
        let (txn, made) = create_token(&*house.view(), &asker, &wanted).unwrap();
        assert!(!serde_json::to_string(&txn).unwrap().contains(&made.token.expose()[3..]));
        house.store.commit_now(txn).unwrap();
        let hash = TokenHash::of(made.token.expose());
        let at = |hours: i64| house.now + jiff::SignedDuration::from_hours(hours);
        let who = |now| authenticate(&*house.view(), &hash, now).unwrap();
        let principal = who(at(0)).unwrap();
        assert_eq!(principal.actor().to_string(), "token:ci");
        let place = Place::Project { org: house.org, project: house.project };
        assert_eq!(principal.role_at(place), Some(Role::Developer));
        assert_eq!(principal.role_at(Place::House), None);
        assert!(who(at(23)).is_some() && who(at(24)).is_none(), "it outlives its end");
        assert!(authenticate(&*house.view(), &TokenHash::of("fh_0"), at(0)).unwrap().is_none());
        let token = may_revoke(&*house.view(), &asker.principal, made.summary.id).unwrap().unwrap();
        house.store.commit_now(revoke_token(&token, &asker)).unwrap();
        assert!(who(at(0)).is_none(), "a revoked token lets in");
    }

    #[test]
    fn nobody_gives_more_than_they_have_or_learns_what_is_foreign() {
        let house = House::new();
        let asker = |role, project| Asker {
            principal: Principal {
                name: "x".into(),
                identity: crate::Identity::Token(TokenId(ulid::Ulid(9))),
                bindings: vec![Binding { role, org: house.org, project }],
                house: Some(house.org),
            },
            ..house.root()
        };
        let say = |asker: &Asker, wanted: &CreateToken| match create_token(&*house.view(), asker, wanted) {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        let admin = asker(Role::Admin, Some(house.project));
        assert_eq!(say(&admin, &wanted(Role::Admin, None, None)), "done");
        assert!(say(&admin, &wanted(Role::Owner, None, None)).contains("more than yours"));
        assert!(say(&admin, &wanted(Role::Viewer, Some("home"), None)).contains("You may not"));
        let unknown = say(&admin, &wanted(Role::Viewer, None, Some("nowhere")));
        let hidden = say(&admin, &wanted(Role::Viewer, None, Some("foreign")));
        assert_eq!(unknown.replace("nowhere", "foreign"), hidden);
        assert!(hidden.contains("There is no project"), "{hidden}");
        let developer = asker(Role::Developer, None);
        assert!(say(&developer, &wanted(Role::Viewer, None, None)).contains("You may not"));
    }

    #[test]
    fn a_name_is_taken_only_where_it_is_seen() {
        let house = House::new();
        let make = |principal: Principal, places: &[(Option<&str>, Option<&str>)]| {
            let mut all = wanted(Role::Viewer, None, None);
            all.bindings = places
                .iter()
                .map(|(org, project)| wanted(Role::Viewer, *org, *project).bindings.remove(0))
                .collect();
            let (txn, _) = create_token(&*house.view(), &Asker { principal, ..house.root() }, &all).unwrap();
            house.store.commit_now(txn).is_ok()
        };
        let root = || house.root().principal;
        let admin = |of: &[Binding]| Principal {
            name: "x".into(),
            identity: crate::Identity::Token(TokenId(ulid::Ulid(9))),
            bindings: of.to_vec(),
            house: Some(house.org),
        };
        let at = |org, project| Binding { role: Role::Admin, org, project };
        let foreign = house.view().all::<freehold_model::ProjectSpec>(None).unwrap();
        let foreign = foreign.iter().find(|it| it.name == "foreign").unwrap();
        let other = OrgId::try_from(foreign.parent.unwrap()).unwrap();
        let (own, theirs) = (at(house.org, Some(house.project)), at(other, Some(foreign.id)));
        assert!(make(admin(&[own]), &[(None, Some("default"))]));
        assert!(!make(admin(&[own]), &[(None, Some("default"))]), "twice in one place");
        assert!(make(admin(&[theirs]), &[(None, Some("foreign"))]), "taken by what they cannot see");
        let both = [(None, Some("default")), (None, Some("foreign"))];
        assert!(make(root(), &both), "the house's own");
        house.commit(|txn| {
            let spec = TokenSpec {
                hash: "h".into(),
                ..house.view().all::<TokenSpec>(None).unwrap()[0].spec.clone()
            };
            txn.put(&TokenResource::new(
                TokenId(ulid::Ulid(9)),
                "x",
                Some(house.project.into()),
                spec,
                house.now,
            ));
        });
        assert!(make(admin(&[own, theirs]), &both), "taken by the house, which they cannot see");
        assert!(!make(admin(&[own, theirs]), &both));
    }

    #[test]
    fn a_token_is_good_for_a_bounded_time() {
        let house = House::new();
        for (length, good) in [(0, false), (MINUTE, true), (LONGEST.0, true), (LONGEST.0 + 1, false)] {
            let wanted = CreateToken { expires_in: Some(Millis(length)), ..wanted(Role::Viewer, None, None) };
            assert_eq!(create_token(&*house.view(), &house.root(), &wanted).is_ok(), good, "{length}");
        }
    }
}
