//! What an org asks of its people: a second factor or a passkey, before anything of it is there for them.
//!
//! Asked wherever somebody's roles are read of a session. Invariant: a role at an org that asks for it counts for who
//! has one, from the very next request on and as long as they have; tokens of machines go on as they are.

use crate::{
    Asker, Identity,
    error::{PeopleError, not_found},
};
use freehold_model::{
    Binding, Code, OrgId, OrgSpec, Problem, Txn, User, UserSpec, access::SecondFactorPolicy,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use serde_json::json;

/// What somebody's roles are worth now, and which orgs, by name, withhold theirs.
///
/// # Errors
/// When the view fails.
pub fn counting(view: &dyn View, user: &User) -> Result<(Vec<Binding>, Vec<String>), StoreError> {
    let (mut counting, mut withheld) = (vec![], vec![]);
    if user.spec.proves_twice() {
        return Ok((user.spec.bindings.clone(), withheld));
    }
    for binding in &user.spec.bindings {
        match view.find::<OrgSpec>(binding.org)?.filter(|org| org.spec.require_second_factor) {
            Some(org) if withheld.contains(&org.name) => {}
            Some(org) => withheld.push(org.name),
            None => counting.push(*binding),
        }
    }
    Ok((counting, withheld))
}

/// The transaction by which an org asks for it, or asks no more; and who has none and is kept out by it.
///
/// # Errors
/// When there is no such org, or the asker has none themselves.
pub fn require_second_factor(
    view: &dyn View,
    asker: &Asker,
    id: OrgId,
    required: bool,
) -> Result<(Txn, SecondFactorPolicy), PeopleError> {
    let none = || not_found("There is no such org.", "`freehold org list` shows those that there are.");
    let mut org = view.find::<OrgSpec>(id)?.ok_or_else(none)?;
    if let (true, Identity::User { user, .. }) = (required, asker.principal.identity)
        && view.find::<UserSpec>(user)?.is_none_or(|user| !user.spec.proves_twice())
    {
        let title = "You have neither a second factor nor a passkey: you would keep yourself out.";
        return Err(Problem::new(Code::Conflict, title).hint("Add one on the page /account first.").into());
    }
    let mut without: Vec<String> = view
        .all::<UserSpec>(None)?
        .into_iter()
        .filter(|user| !user.spec.proves_twice() && user.spec.bindings.iter().any(|it| it.org == id))
        .map(|user| user.name)
        .collect();
    without.sort();
    let told = SecondFactorPolicy { required, without };
    let mut txn =
        Txn::new(asker.principal.actor(), format!("second factors in {}", org.name), &asker.request);
    if org.spec.require_second_factor != required {
        org.spec.require_second_factor = required;
        let what = if required { "org.second_factor_required" } else { "org.second_factor_optional" };
        txn.put_spec(&org).event(id, what, json!({ "name": org.name, "without": told.without }));
    }
    Ok((txn, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Access, Action, Place, Principal, TokenHash, admit, create_user, decide,
        people::session::accept_invite, testing::House,
    };
    use freehold_model::{Passkey, Role, access::NamedBinding, people::CreateUser};

    /// Ada, a developer of the project `default`, and what her session is.
    fn ada(house: &House) -> (User, TokenHash) {
        let binding = NamedBinding { role: Role::Developer, org: None, project: None };
        let wanted = CreateUser { name: "ada".parse().unwrap(), full_name: None, bindings: vec![binding] };
        let (txn, made) = create_user(&*house.view(), &house.root(), &wanted).unwrap();
        house.store.commit_now(txn).unwrap();
        let shown = TokenHash::of(made.invite.expose());
        let (txn, opened) =
            accept_invite(&*house.view(), &shown, "hashed", &Default::default(), house.now).unwrap();
        house.store.commit_now(txn).unwrap();
        let user = house.view().find::<UserSpec>(made.user.id).unwrap().unwrap();
        (user, TokenHash::of(opened.secret.expose()))
    }

    fn require(house: &House, required: bool) -> SecondFactorPolicy {
        let (txn, told) = require_second_factor(&*house.view(), &house.root(), house.org, required).unwrap();
        if !txn.is_empty() {
            house.store.commit_now(txn).unwrap();
        }
        told
    }

    #[test]
    fn who_has_neither_is_kept_out_until_they_have_and_keeps_their_account() {
        let house = House::new();
        let (mut user, session) = ada(&house);
        let admitted = || admit(&*house.view(), &session, house.now).unwrap().unwrap();
        let place = Place::Project { org: house.org, project: house.project };
        let may = |action, place| decide(Some(&admitted().principal), action, place) == Access::Granted;
        assert!(may(Action::Deploy, place) && admitted().withheld.is_empty());
        assert_eq!(require(&house, true), SecondFactorPolicy { required: true, without: vec!["ada".into()] });
        assert!(!may(Action::Deploy, place) && !may(Action::Read, Place::Anywhere), "she is let in");
        assert_eq!(admitted().withheld, ["home"]);
        assert!(may(Action::Account, Place::Anywhere), "she cannot add one");
        user.spec.passkeys.push(Passkey {
            hash: "00".into(),
            name: "phone".into(),
            credential: json!({}),
            created: house.now,
            last_used: None,
        });
        house.commit(|txn| {
            txn.put_spec(&user);
        });
        assert!(may(Action::Deploy, place) && admitted().withheld.is_empty());
        assert!(require(&house, true).without.is_empty());
        let events = house.view().events(0, 1000, None).unwrap();
        assert_eq!(events.iter().filter(|it| it.what == "org.second_factor_required").count(), 1);
    }

    #[test]
    fn nobody_keeps_themselves_out_and_it_can_be_taken_back() {
        let house = House::new();
        let (user, session) = ada(&house);
        let principal = admit(&*house.view(), &session, house.now).unwrap().unwrap().principal;
        let asker = crate::Asker { principal, ..house.root() };
        assert!(require_second_factor(&*house.view(), &asker, house.org, true).is_err());
        require(&house, true);
        require(&house, false);
        assert_eq!(counting(&*house.view(), &user).unwrap(), (user.spec.bindings.clone(), vec![]));
        let (txn, _) = require_second_factor(&*house.view(), &asker, house.org, false).unwrap();
        assert!(txn.is_empty(), "what is so is written again");
        assert!(Principal::root().is_root());
    }
}
