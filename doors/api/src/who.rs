//! Who makes a request, and what of the house they may see and do: every handler that lists, or that acts on
//! what a body or a query names, asks here.
//!
//! Invariant: what is hidden from somebody is answered, byte for byte, like what is not there.

use crate::{
    error::{Answer, Failure},
    request::RequestId,
    state::Api,
};
use axum::{extract::FromRequestParts, http::request::Parts};
use freehold_identity::{Access, Action, Asker, Place, Principal, TokenHash, authenticate, decide};
use freehold_image::Reference;
use freehold_model::{
    Actor, AnyId, AnyResource, Code, Kind, Name, Problem, ProjectSpec, Rate, manifest::Demand,
    secrets::Hidden,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use std::{collections::HashMap, convert::Infallible, time::Duration};

/// How long a credential that was revoked may keep an open stream: the heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// So many places are remembered while a list is filtered.
const REMEMBERED: usize = 10_000;

/// Who makes the request: somebody that the guard let in.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// What they may.
    pub(crate) principal: Principal,
    /// What they showed.
    pub(crate) shown: TokenHash,
    /// Whether a cookie showed it, which browsers send along whoever asks them to.
    pub(crate) by_cookie: bool,
    /// How many requests they may make.
    pub(crate) rate: Rate,
    /// The orgs, by name, that withhold their roles until they have a second factor or a passkey.
    pub(crate) withheld: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let found = parts.extensions.get::<Who>().cloned();
        found.ok_or_else(|| Failure::internal("a route without a row in the access table asks who calls"))
    }
}

/// Who calls, as events and receipts name them, and the request's id.
pub(crate) struct Caller {
    /// Who acts.
    pub(crate) actor: Actor,
    /// Joins what is done with the server's log.
    pub(crate) request: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Who>();
        let actor = known.map_or(Actor::User("anonymous".into()), |who| who.principal.actor());
        let request = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Caller { actor, request })
    }
}

impl Caller {
    /// The same, as those who change people know it.
    pub(crate) fn asker(self, who: &Who, api: &Api) -> Asker {
        Asker { principal: who.principal.clone(), request: self.request, now: api.clock.now() }
    }
}

/// What a request that changes something carries beside a session's cookie: who cannot read the answers of
/// this server cannot know it.
pub(crate) fn csrf(shown: &TokenHash) -> Hidden {
    Hidden::new(TokenHash::of(&format!("csrf {}", shown.hex())).hex())
}

impl Who {
    /// The csrf token of their session.
    pub(crate) fn csrf(&self) -> Hidden {
        csrf(&self.shown)
    }

    /// Whether they may.
    pub(crate) fn may(&self, action: Action, place: Place) -> bool {
        decide(Some(&self.principal), action, place) == Access::Granted
    }

    /// Goes on if they may bring about all of `demands`: what a release asks of the node beyond its project.
    ///
    /// # Errors
    /// Not allowed, with what asks for which right.
    pub(crate) fn meets(&self, demands: impl IntoIterator<Item = Demand>) -> Answer<()> {
        for demand in demands {
            let action = Action::meeting(demand);
            if !self.may(action, Place::House) {
                return Err(not_allowed(action).detail(format!("It needs {demand}.")).into());
            }
        }
        Ok(())
    }

    /// Goes on if they may do `action` in the project of that name.
    ///
    /// # Errors
    /// Not found, in the same words whether it is not there or hidden; not allowed.
    pub(crate) fn in_project(&self, view: &dyn View, action: Action, name: &Name) -> Answer<()> {
        if self.principal.is_root() {
            return Ok(());
        }
        let place = Place::of_project(view, name.as_str())?;
        let access = place.map_or(Access::Hidden, |place| decide(Some(&self.principal), action, place));
        match access {
            Access::Granted => Ok(()),
            Access::Hidden | Access::NotSignedIn => Err(self.no_project(view, name)?),
            Access::NotAllowed => Err(not_allowed(action).into()),
        }
    }

    /// The answer about a project that is not there for them; it names those that are.
    fn no_project(&self, view: &dyn View, name: &Name) -> Answer<Failure> {
        let seen = view
            .all::<ProjectSpec>(None)?
            .into_iter()
            .filter(|project| Place::project(project).is_some_and(|place| self.may(Action::Read, place)));
        let names: Vec<String> = seen.map(|project| project.name).take(20).collect();
        let problem = Problem::new(Code::NotFound, format!("There is no project `{name}`."));
        Ok(Failure(match names.is_empty() {
            true => problem.hint("There is no project here for you: ask an admin for a role in one."),
            false => problem.hint(format!("There are: {}.", names.join(", "))),
        }))
    }

    /// Whether they may do `action` with a repository of the built-in registry. What is the house's is for everybody
    /// to read; for `shop/web`, there must be a project `shop` for them: whether there is one that they do not see
    /// makes no difference.
    pub(crate) fn repository(
        &self,
        view: &dyn View,
        action: Action,
        repository: &str,
    ) -> Result<Access, StoreError> {
        let place = match (Place::of_repository(view, repository)?, action) {
            (Some(Place::House), Action::PullImage) => Place::Anywhere,
            (Some(place), _) => place,
            (None, _) => return Ok(Access::Hidden),
        };
        Ok(decide(Some(&self.principal), action, place))
    }

    /// Refuses to have the server ask a registry inside the networks that it stands in, unless they run the
    /// house: what answers there trusts whoever can reach it.
    pub(crate) fn may_ask(&self, image: &str) -> Result<(), Problem> {
        let inside = image.parse::<Reference>().is_ok_and(|reference| reference.is_inside());
        if !inside || self.may(Action::DeployProcess, Place::House) {
            return Ok(());
        }
        Err(Problem::new(
            Code::NotAllowed,
            "Only admins of the house name a registry at an address that is not public.",
        )
        .hint("Copy the image to the built-in registry, such as with `skopeo copy`, or ask an admin to."))
    }

    /// Whether they may do `action` with an image of that reference, which may be none.
    pub(crate) fn image(&self, view: &dyn View, action: Action, reference: &str) -> Answer<Access> {
        // What is no reference is refused by whoever reads it.
        let Ok(reference) = reference.parse::<Reference>() else { return Ok(Access::Granted) };
        Ok(self.repository(view, action, &reference.name())?)
    }

    /// Resolves once what they showed is worth nothing any more, or something else than it was. For streams,
    /// which are let in once and stay.
    pub(crate) fn dismissed(&self, api: &Api) -> impl Future<Output = ()> + Send + use<> {
        let (who, api) = (self.clone(), api.clone());
        async move {
            if who.principal.is_root() {
                return std::future::pending().await;
            }
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let (shown, now) = (who.shown, api.clock.now());
                let found = api.read(move |view| Ok(authenticate(view, &shown, now)?)).await;
                // A store that is away for a moment revokes nobody.
                if found.is_ok_and(|found| found.as_ref() != Some(&who.principal)) {
                    return;
                }
            }
        }
    }

    /// Their view of lists.
    pub(crate) fn sight(&self) -> Sight {
        Sight { who: self.clone(), seen: HashMap::new() }
    }
}

/// What somebody sees of lists and of the event log; remembers places, since many things share one.
pub(crate) struct Sight {
    who: Who,
    seen: HashMap<(AnyId, Action), bool>,
}

impl Sight {
    /// Whether they see everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.who.principal.is_root()
    }

    /// Whether they see `id`, where that is known without a look.
    pub(crate) fn knows(&self, id: AnyId) -> Option<bool> {
        self.remembers(id, reading(id.kind))
    }

    fn remembers(&self, id: AnyId, action: Action) -> Option<bool> {
        if self.is_whole() { Some(true) } else { self.seen.get(&(id, action)).copied() }
    }

    /// Whether they see `id`, be it there or gone.
    pub(crate) fn sees(&mut self, view: &dyn View, id: AnyId) -> Result<bool, StoreError> {
        self.may(view, id, reading(id.kind))
    }

    fn may(&mut self, view: &dyn View, id: AnyId, action: Action) -> Result<bool, StoreError> {
        if let Some(known) = self.remembers(id, action) {
            return Ok(known);
        }
        let place = Place::of(view, id)?;
        let sees = place.is_some_and(|place| self.who.may(action, place));
        // What was never there may come yet.
        if place.is_some() {
            if self.seen.len() >= REMEMBERED {
                self.seen.clear();
            }
            self.seen.insert((id, action), sees);
        }
        Ok(sees)
    }

    /// The same of a resource in hand: siblings of a kind are in one place, and it takes the same to read them.
    pub(crate) fn sees_it(&mut self, view: &dyn View, resource: &AnyResource) -> Result<bool, StoreError> {
        let own = matches!(resource.kind, Kind::Org | Kind::Project);
        self.may(view, resource.parent.filter(|_| !own).unwrap_or(resource.id), reading(resource.kind))
    }

    /// Those of `resources` that they see.
    pub(crate) fn filter(
        &mut self,
        view: &dyn View,
        resources: Vec<AnyResource>,
    ) -> Result<Vec<AnyResource>, StoreError> {
        let mut kept = vec![];
        for resource in resources {
            if self.sees_it(view, &resource)? {
                kept.push(resource);
            }
        }
        Ok(kept)
    }
}

/// What it takes to read something of a kind.
pub(crate) fn reading(kind: Kind) -> Action {
    match kind {
        Kind::Token | Kind::User | Kind::Session | Kind::Grant | Kind::IdentityProvider => Action::ReadPeople,
        Kind::JoinToken => Action::EnrolMachine,
        _ => Action::Read,
    }
}

/// The answer to somebody who may not.
pub(crate) fn not_allowed(action: Action) -> Problem {
    let hint = format!(
        "`freehold access explain {}` says what it takes, and who has it; ask them for the role.",
        action.name()
    );
    Problem::new(Code::NotAllowed, format!("You may not {action} here.")).hint(hint)
}
