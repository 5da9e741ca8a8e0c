//! Who one is, and who may do what where.

use crate::{
    error::Answer,
    params::{FromParams, Keys, NoParams, Params},
    state::Api,
    who::{Who, not_allowed},
};
use axum::{Json, extract::State};
use freehold_identity::{
    Action, Identity, Place, Principal, Worth, explain as explained, house, named, resolve, worth,
};
use freehold_model::{
    Code, Name, Problem, SessionId, TokenSpec, UserSpec,
    access::{Explanation, Whoami},
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;
use utoipa::IntoParams;

/// Who one is, and what one may be where.
#[utoipa::path(get, path = "/v1/whoami", operation_id = "whoami", tag = "people",
    responses((status = 200, description = "Who calls", body = Whoami)))]
pub(crate) async fn whoami(State(api): State<Api>, who: Who, _: Params<NoParams>) -> Answer<Json<Whoami>> {
    let read = move |view: &dyn View| {
        let bindings: Result<Vec<_>, StoreError> =
            who.principal.bindings.iter().map(|binding| named(view, binding)).collect();
        let (actor, root) = (who.principal.actor(), who.principal.is_root());
        Ok(Whoami { actor, root, bindings: bindings?, withheld: who.withheld })
    };
    api.read(read).await.map(Json)
}

/// What is asked.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `from_params` reads.
pub(crate) struct ExplainParams {
    /// The action: `deploy`, `read-logs`, `manage-tokens`, …
    action: String,
    /// In this org as a whole.
    org: Option<String>,
    /// In this project; `default` when neither org nor project is given.
    project: Option<String>,
    /// In what all orgs share: nodes, the key, users.
    house: Option<bool>,
    /// About the user of this name.
    user: Option<String>,
    /// About the token of this name.
    token: Option<String>,
    /// About everybody who has a role there.
    everybody: Option<bool>,
}

/// What `ExplainParams` describe.
pub(crate) struct Question {
    action: Option<Action>,
    org: Option<Name>,
    project: Option<Name>,
    house: bool,
    user: Option<Name>,
    token: Option<Name>,
    everybody: bool,
}

impl FromParams for Question {
    fn from_params(keys: &mut Keys) -> Self {
        Question {
            action: keys.required("action", "say what is to be done, such as deploy"),
            org: keys.optional("org"),
            project: keys.optional("project"),
            house: keys.flag("house"),
            user: keys.optional("user"),
            token: keys.optional("token"),
            everybody: keys.flag("everybody"),
        }
    }
}

/// Whether somebody may do something somewhere, by which binding, and what it takes. About others than
/// oneself only for those who manage people there.
#[utoipa::path(get, path = "/v1/access", operation_id = "explain_access", tag = "people", params(ExplainParams),
    responses((status = 200, description = "The answer, and why", body = Explanation)))]
pub(crate) async fn explain(
    State(api): State<Api>,
    who: Who,
    Params(question): Params<Question>,
) -> Answer<Json<Explanation>> {
    let now = api.clock.now();
    api.read(move |view| answer(view, &who, &question, now)).await.map(Json)
}

fn answer(view: &dyn View, who: &Who, question: &Question, now: Timestamp) -> Answer<Explanation> {
    let action = question.action.expect("a missing action was refused");
    let place = match question.house {
        true => Place::House,
        false => resolve(view, &who.principal, question.org.as_ref(), question.project.as_ref())?,
    };
    let own = question.token.is_none() && question.user.is_none() && !question.everybody;
    if own {
        return Ok(explained(view, action, place, std::slice::from_ref(&who.principal))?);
    }
    if !who.may(Action::ReadPeople, place) {
        return Err(not_allowed(Action::ReadPeople).into());
    }
    let mut people = everybody(view, now)?;
    // Somebody without a role there is none of their business, named or not; the house may ask about everybody.
    if !who.may(Action::ReadPeople, Place::House) {
        people.retain(|one| one.role_at(place).is_some());
    }
    let (what, name) = match (&question.user, &question.token) {
        (Some(user), _) => ("user", Some(user)),
        (None, token) => ("token", token.as_ref()),
    };
    people.retain(|one| match name {
        Some(name) => {
            let of_kind = match one.identity {
                Identity::User { .. } => what == "user",
                Identity::Token(_) => what == "token",
                _ => false,
            };
            of_kind && one.name == name.as_str()
        }
        None => one.role_at(place).is_some(),
    });
    if let (Some(name), true) = (name, people.is_empty()) {
        let problem = Problem::new(Code::NotFound, format!("There is no {what} `{name}`."));
        return Err(problem.hint(format!("`freehold {what} list` shows what there is.")).into());
    }
    Ok(explained(view, action, place, &people)?)
}

fn everybody(view: &dyn View, now: Timestamp) -> Result<Vec<Principal>, StoreError> {
    let house = house(view)?;
    let mut people = vec![Principal::root()];
    for user in view.all::<UserSpec>(None)? {
        let identity = Identity::User { user: user.id, session: SessionId(Default::default()) };
        let (bindings, _) = freehold_identity::counting(view, &user)?;
        people.push(Principal { name: user.name, identity, bindings, house });
    }
    for token in view.all::<TokenSpec>(None)? {
        if let Worth::Good { bindings, .. } = worth(view, &token, now)? {
            let identity = Identity::Token(token.id);
            people.push(Principal { name: token.name, identity, bindings, house });
        }
    }
    Ok(people)
}
