//! What a token is worth: what it was given, as far as whoever made it may still give it.
//!
//! Asked at every request by [`crate::authenticate`], and wherever tokens are told. Invariants: a token never
//! outlives its maker, nor what of its maker's rights it was given; a name that is taken again is not its old
//! owner's.

use freehold_model::{Actor, AnyId, Binding, Kind, TokenId, TokenResource, TokenSpec, UserId, UserSpec};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;

/// Tokens make tokens that make tokens: so far and no further.
const DEPTH: usize = 16;

/// What a token is worth now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worth {
    /// It lets its bearer in, to do this.
    Good {
        /// What.
        bindings: Vec<Binding>,
        /// Until it expires, or a token above it does.
        until: Timestamp,
    },
    /// Its time is over.
    Expired,
    /// Whoever made it is gone, or was shut out.
    MakerGone,
    /// Whoever made it has none of the rights any more that it was given.
    MakerLost,
}

/// What `token` is worth at `now`.
///
/// # Errors
/// When the view fails.
pub fn worth(view: &dyn View, token: &TokenResource, now: Timestamp) -> Result<Worth, StoreError> {
    let mut bindings = token.spec.bindings.clone();
    let mut made = token.clone();
    let mut until = token.spec.expires;
    for step in 0..DEPTH {
        if made.spec.expires <= now {
            return Ok(if step == 0 { Worth::Expired } else { Worth::MakerGone });
        }
        until = until.min(made.spec.expires);
        match maker(view, &made)? {
            Maker::Root => return Ok(Worth::Good { bindings, until }),
            Maker::Gone => return Ok(Worth::MakerGone),
            Maker::User(theirs) => {
                bindings = both(&bindings, &theirs);
                let lost = bindings.is_empty();
                return Ok(if lost { Worth::MakerLost } else { Worth::Good { bindings, until } });
            }
            Maker::Token(above) => {
                bindings = both(&bindings, &above.spec.bindings);
                if bindings.is_empty() {
                    return Ok(Worth::MakerLost);
                }
                made = *above;
            }
        }
    }
    Ok(Worth::MakerGone)
}

enum Maker {
    Root,
    User(Vec<Binding>),
    Token(Box<TokenResource>),
    Gone,
}

fn maker(view: &dyn View, made: &TokenResource) -> Result<Maker, StoreError> {
    let user = |found: Option<freehold_model::User>| match found.filter(|user| !user.spec.disabled) {
        Some(user) => Maker::User(user.spec.bindings),
        None => Maker::Gone,
    };
    let token = |found: Option<TokenResource>| found.map_or(Maker::Gone, |it| Maker::Token(Box::new(it)));
    Ok(match (made.spec.maker, &made.spec.creator) {
        (Some(AnyId { kind: Kind::User, ulid }), _) => user(view.find(UserId(ulid))?),
        (Some(AnyId { kind: Kind::Token, ulid }), _) => token(view.find(TokenId(ulid))?),
        (Some(_), _) => Maker::Gone,
        // `admin` is nobody else's name. Tokens from before makers were kept name theirs: whoever has that name
        // now is not them if they came later.
        (None, Actor::User(name)) if name == "admin" => Maker::Root,
        (None, Actor::User(name)) => {
            user(view.named::<UserSpec>(None, name)?.filter(|it| it.created <= made.created))
        }
        (None, Actor::Token(name)) => {
            let found = view.named::<TokenSpec>(None, name)?;
            token(found.filter(|it| it.id != made.id && it.created <= made.created))
        }
        (None, _) => Maker::Root,
    })
}

/// What both allow: at every place the lesser role.
fn both(one: &[Binding], other: &[Binding]) -> Vec<Binding> {
    let mut shared: Vec<Binding> = vec![];
    for a in one {
        for b in other {
            let project = match (a.project, b.project) {
                (Some(a), Some(b)) if a != b => continue,
                (a, b) => a.or(b),
            };
            if a.org == b.org {
                let binding = Binding { role: a.role.min(b.role), org: a.org, project };
                if !shared.contains(&binding) {
                    shared.push(binding);
                }
            }
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Asker, Place, Principal, TokenHash, authenticate, create_token, testing::House};
    use freehold_model::{
        Role, SessionId, User,
        access::{CreateToken, CreatedToken, NamedBinding},
    };

    const ROLES: [Role; 4] = [Role::Viewer, Role::Developer, Role::Admin, Role::Owner];

    fn user(house: &House, name: &str, bindings: Vec<Binding>) -> User {
        let id = UserId(freehold_reconcile::Ids::ulid(&mut freehold_reconcile::SystemIds));
        User::new(id, name, None, UserSpec { bindings, ..UserSpec::default() }, house.now)
    }

    fn change(house: &House, user: &User, change: impl FnOnce(&mut UserSpec)) {
        let mut user = house.view().find::<UserSpec>(user.id).unwrap().unwrap();
        change(&mut user.spec);
        house.commit(|txn| {
            txn.put_spec(&user);
        });
    }

    fn asker(house: &House, user: &User) -> Asker {
        let identity = crate::Identity::User { user: user.id, session: SessionId(ulid::Ulid(5)) };
        let bindings = user.spec.bindings.clone();
        let principal = Principal { name: user.name.clone(), identity, bindings, house: Some(house.org) };
        Asker { principal, ..house.root() }
    }

    fn make(house: &House, asker: &Asker, name: &str, role: Role) -> Option<CreatedToken> {
        let binding = NamedBinding { role, org: None, project: None };
        let wanted = CreateToken {
            name: name.parse().unwrap(),
            bindings: vec![binding],
            expires_in: None,
            rate: None,
        };
        let (txn, made) = create_token(&*house.view(), asker, &wanted).ok()?;
        house.store.commit_now(txn).unwrap();
        Some(made)
    }

    fn role(house: &House, made: &CreatedToken) -> Option<Role> {
        let hash = TokenHash::of(made.token.expose());
        let found = authenticate(&*house.view(), &hash, house.now).unwrap()?;
        found.role_at(Place::Project { org: house.org, project: house.project })
    }

    fn here(house: &House, role: Role) -> Binding {
        Binding { role, org: house.org, project: Some(house.project) }
    }

    #[test]
    fn a_token_has_at_every_role_what_its_maker_still_has() {
        for maker_was in ROLES {
            for given in ROLES {
                let house = House::new();
                let ada = user(&house, "ada", vec![here(&house, maker_was)]);
                house.commit(|txn| {
                    txn.put(&ada);
                });
                let made = make(&house, &asker(&house, &ada), "ci", given);
                let may = crate::decide(
                    Some(&asker(&house, &ada).principal),
                    Action::ManageTokens,
                    Place::Project { org: house.org, project: house.project },
                ) == crate::Access::Granted;
                assert_eq!(made.is_some(), may && given <= maker_was, "{maker_was} {given}");
                let Some(made) = made else { continue };
                assert_eq!(role(&house, &made), Some(given));
                let below = make(&house, &house.root(), "other", given).unwrap();
                for now in ROLES {
                    change(&house, &ada, |spec| spec.bindings = vec![here(&house, now)]);
                    assert_eq!(role(&house, &made), Some(given.min(now)), "{maker_was} {given} {now}");
                }
                change(&house, &ada, |spec| spec.bindings = vec![]);
                assert_eq!(role(&house, &made), None, "{maker_was} {given}: the maker has nothing any more");
                change(&house, &ada, |spec| {
                    spec.bindings = vec![here(&house, maker_was)];
                    spec.disabled = true;
                });
                assert_eq!(role(&house, &made), None, "{maker_was} {given}: the maker is shut out");
                assert_eq!(role(&house, &below), Some(given), "the owner's own token went along");
            }
        }
    }

    #[test]
    fn whoever_takes_the_name_of_a_maker_is_not_the_maker() {
        let house = House::new();
        let ada = user(&house, "ada", vec![here(&house, Role::Admin)]);
        house.commit(|txn| {
            txn.put(&ada);
        });
        let made = make(&house, &asker(&house, &ada), "ci", Role::Developer).unwrap();
        let grandchild = {
            let id = made.summary.id;
            let identity = crate::Identity::Token(id);
            let bindings = vec![here(&house, Role::Admin)];
            let principal = Principal { name: "ci".into(), identity, bindings, house: Some(house.org) };
            make(&house, &Asker { principal, ..house.root() }, "child", Role::Admin).unwrap()
        };
        assert_eq!(role(&house, &grandchild), Some(Role::Developer), "a token gave more than it had");
        house.commit(|txn| {
            txn.delete(ada.id);
        });
        assert_eq!((role(&house, &made), role(&house, &grandchild)), (None, None));
        let again = user(&house, "ada", vec![here(&house, Role::Owner)]);
        house.commit(|txn| {
            txn.put(&again);
        });
        assert_eq!((role(&house, &made), role(&house, &grandchild)), (None, None), "another ada");
        let token = house.view().find::<TokenSpec>(made.summary.id).unwrap().unwrap();
        // As it was kept before makers were: by name alone.
        let mut old = token.clone();
        old.spec.maker = None;
        let later = User { created: house.now + jiff::SignedDuration::from_secs(1), ..again.clone() };
        house.commit(|txn| {
            txn.delete(again.id).put(&later);
        });
        assert_eq!(worth(&*house.view(), &old, house.now).unwrap(), Worth::MakerGone);
    }

    #[test]
    fn what_both_allow_is_the_lesser_role_in_the_narrower_place() {
        let house = House::new();
        let binding = |role, project| Binding { role, org: house.org, project };
        let project = Some(house.project);
        let shared = both(&[binding(Role::Admin, None)], &[binding(Role::Developer, project)]);
        assert_eq!(shared, [binding(Role::Developer, project)]);
        let shared = both(&[binding(Role::Viewer, project)], &[binding(Role::Owner, None)]);
        assert_eq!(shared, [binding(Role::Viewer, project)]);
        let far = Binding { org: freehold_model::OrgId(ulid::Ulid(3)), ..binding(Role::Owner, None) };
        assert!(both(&[binding(Role::Viewer, None)], &[far]).is_empty());
    }
}
