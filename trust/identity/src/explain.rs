//! Who may do what here, and by which binding: what `freehold access explain` shows.
//!
//! Asks [`decide`], so that what is explained is what is decided.

use crate::{
    Access, Action, Needs, Place, Principal,
    binding::{named, words},
    decide,
};
use freehold_model::access::{Explanation, Standing};
use freehold_reconcile::{StoreError, View};

/// Whether each of `people` may do `action` at `place`, and why.
///
/// # Errors
/// When the view fails.
pub fn explain(
    view: &dyn View,
    action: Action,
    place: Place,
    people: &[Principal],
) -> Result<Explanation, StoreError> {
    let here = words(view, place)?;
    let standings = people.iter().map(|one| standing(view, action, place, &here, one));
    Ok(Explanation {
        action: action.name().into(),
        meaning: format!("to {action}"),
        place: here.clone(),
        needs: match action.needs() {
            Needs::Role(role) => Some(role),
            _ => None,
        },
        people: standings.collect::<Result<_, _>>()?,
    })
}

fn standing(
    view: &dyn View,
    action: Action,
    place: Place,
    here: &str,
    who: &Principal,
) -> Result<Standing, StoreError> {
    let granted = decide(Some(who), action, place) == Access::Granted;
    let by = who.binding_at(place).filter(|_| !who.is_root());
    let role = who.role_at(place);
    let reason = match (action.needs(), role) {
        _ if who.is_root() && granted => "the owner of the data directory may do everything".into(),
        (Needs::Nothing, _) => "anybody may".into(),
        (Needs::SignedIn, _) => "anybody who is signed in may".into(),
        (Needs::Machine, _) => "only machines may, with a certificate of the house".into(),
        (Needs::Control, _) => "only control planes may, with a certificate of the house".into(),
        (Needs::Node, _) => "only nodes may, with a certificate of the house".into(),
        (Needs::JoinToken, _) => "whoever has a join token may, at the node door".into(),
        (Needs::Role(least), Some(role)) if granted => format!("{role} of {here}, and {least} is enough"),
        (Needs::Role(_), None) if granted => format!("they are in a project of {here}"),
        (Needs::Role(least), Some(role)) => format!("{role} of {here}, and it takes {least}"),
        (Needs::Role(least), None) => format!("no role in {here}, and it takes {least}"),
    };
    let by = by.map(|binding| named(view, binding)).transpose()?;
    Ok(Standing { actor: who.actor(), granted, role, by, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, testing::House};
    use freehold_model::{Binding, Role, TokenId};

    #[test]
    fn a_denial_names_what_it_takes_and_a_grant_its_binding() {
        let house = House::new();
        let someone = Principal {
            name: "ci".into(),
            identity: Identity::Token(TokenId(ulid::Ulid(1))),
            bindings: vec![Binding { role: Role::Viewer, org: house.org, project: Some(house.project) }],
            house: Some(house.org),
        };
        let place = Place::Project { org: house.org, project: house.project };
        let say = |action, place| {
            explain(&*house.view(), action, place, &[someone.clone(), Principal::root()]).unwrap()
        };
        let denied = say(Action::Deploy, place);
        assert_eq!(denied.people[0].reason, "viewer of project default, and it takes developer");
        assert!(!denied.people[0].granted && denied.people[1].granted);
        let granted = say(Action::Read, place);
        let by = granted.people[0].by.as_ref().unwrap();
        assert_eq!((by.role, by.project.as_ref().unwrap().as_str()), (Role::Viewer, "default"));
        assert!(say(Action::RotateKey, Place::House).people[0].reason.contains("no role in the house"));
    }
}
