//! Bindings of roles, from names to ids and back, and who may give them.
//!
//! Invariant: nobody gives a role that is more than their own at that place, and nobody learns by trying
//! whether a foreign org or project is there.

use crate::{
    Access, Action, Place, Principal, decide,
    error::{PeopleError, invalid, not_allowed, not_found},
    house,
};
use freehold_model::{Binding, Code, Name, OrgId, OrgSpec, Problem, ProjectSpec, access::NamedBinding};
use freehold_reconcile::{StoreError, View, ViewExt as _};

/// The project that is meant where neither org nor project is named.
const DEFAULT: &str = "default";

/// The place that `org` and `project` name, if `principal` may know of it.
///
/// # Errors
/// Not found, in the same words whether it is not there or hidden.
pub fn resolve(
    view: &dyn View,
    principal: &Principal,
    org: Option<&Name>,
    project: Option<&Name>,
) -> Result<Place, PeopleError> {
    let named_org = match org {
        Some(name) => {
            let found = view.named::<OrgSpec>(None, name.as_str())?.map(|org| Place::Org(org.id));
            Some(seen(principal, found, "org", name.as_str())?)
        }
        None => None,
    };
    let project = match (named_org, project.map(Name::as_str)) {
        (Some(org), None) => return Ok(org),
        (_, project) => project.unwrap_or(DEFAULT),
    };
    let place = seen(principal, Place::of_project(view, project)?, "project", project)?;
    match (named_org, place) {
        (Some(Place::Org(wanted)), Place::Project { org, .. }) if wanted != org => {
            Err(absent("project", project))
        }
        _ => Ok(place),
    }
}

fn seen(principal: &Principal, found: Option<Place>, what: &str, name: &str) -> Result<Place, PeopleError> {
    let seen = found.filter(|place| decide(Some(principal), Action::Read, *place) == Access::Granted);
    seen.ok_or_else(|| absent(what, name))
}

fn absent(what: &str, name: &str) -> PeopleError {
    not_found(
        format!("There is no {what} `{name}`."),
        format!("`freehold {what} list` shows what there is for you."),
    )
}

/// The bindings that `wanted` name, if `principal` may give them.
///
/// # Errors
/// When there is none, when a place is not there, or when it is not theirs to give.
pub(crate) fn given(
    view: &dyn View,
    principal: &Principal,
    action: Action,
    wanted: &[NamedBinding],
) -> Result<Vec<Binding>, PeopleError> {
    if wanted.is_empty() || wanted.len() > 32 {
        return Err(invalid("A binding is missing, or there are more than 32.", "Name roles and places."));
    }
    let mut bindings: Vec<Binding> = vec![];
    for one in wanted {
        let place = resolve(view, principal, one.org.as_ref(), one.project.as_ref())?;
        let binding = match place {
            Place::Project { org, project } => Binding { role: one.role, org, project: Some(project) },
            Place::Org(org) => Binding { role: one.role, org, project: None },
            Place::House | Place::Anywhere => unreachable!("names mean orgs and projects"),
        };
        if decide(Some(principal), action, place) != Access::Granted {
            return Err(refused(format!("You may not {action} for {}.", words(view, place)?)));
        }
        if principal.role_at(place) < Some(one.role) {
            return Err(refused(format!(
                "You cannot give the role {} for {}: it is more than yours.",
                one.role,
                words(view, place)?
            )));
        }
        bindings.retain(|other| (other.org, other.project) != (binding.org, binding.project));
        bindings.push(binding);
    }
    Ok(bindings)
}

fn refused(title: String) -> PeopleError {
    not_allowed(title, "`freehold access explain manage-tokens` says what is needed; ask an owner.")
}

/// A binding by names; those that are gone by their ids' ends are left out.
///
/// # Errors
/// When the view fails.
pub fn named(view: &dyn View, binding: &Binding) -> Result<NamedBinding, StoreError> {
    let org = view.find::<OrgSpec>(binding.org)?.and_then(|org| org.name.parse().ok());
    let project = match binding.project {
        Some(project) => view.find::<ProjectSpec>(project)?.and_then(|project| project.name.parse().ok()),
        None => None,
    };
    Ok(NamedBinding { role: binding.role, org, project })
}

/// All of them.
pub(crate) fn all_named(view: &dyn View, bindings: &[Binding]) -> Result<Vec<NamedBinding>, StoreError> {
    bindings.iter().map(|binding| named(view, binding)).collect()
}

/// A place in words.
pub(crate) fn words(view: &dyn View, place: Place) -> Result<String, StoreError> {
    Ok(match place {
        Place::Project { project, .. } => match view.find::<ProjectSpec>(project)? {
            Some(project) => format!("project {}", project.name),
            None => format!("project {project}"),
        },
        Place::Org(org) => org_words(view, org)?,
        Place::House => "the house".into(),
        Place::Anywhere => "anything".into(),
    })
}

fn org_words(view: &dyn View, org: OrgId) -> Result<String, StoreError> {
    let found = view.find::<OrgSpec>(org)?;
    Ok(found.map_or_else(|| format!("org {org}"), |found| format!("org {}", found.name)))
}

/// The org that is meant where none is named.
pub(crate) fn org_or_house(
    view: &dyn View,
    principal: &Principal,
    org: Option<&Name>,
) -> Result<OrgId, PeopleError> {
    let place = match org {
        Some(_) => resolve(view, principal, org, None)?,
        None => match house(view)? {
            Some(org) => seen(principal, Some(Place::Org(org)), "org", "home")?,
            None => return Err(Problem::new(Code::Unavailable, "The house has no org yet.").into()),
        },
    };
    match place {
        Place::Org(org) => Ok(org),
        _ => unreachable!("an org was named"),
    }
}
