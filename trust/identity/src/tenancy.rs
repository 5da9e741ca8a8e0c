//! Orgs and projects: made by whoever may.
//!
//! Called by the API. Invariant: names of projects are unique in the whole house (claim `project`), so that
//! a name alone, as manifests and commands have it, means one project.

use crate::{
    Access, Action, Asker, Place,
    binding::{org_or_house, words},
    decide,
    error::{PeopleError, not_allowed},
};
use freehold_model::{
    Code, Org, OrgId, OrgSpec, Problem, Project, ProjectId, ProjectSpec, Txn,
    access::{CreateOrg, CreateProject},
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt as _};

/// The transaction that makes an org.
///
/// # Errors
/// When there is one of that name.
pub fn create_org(view: &dyn View, asker: &Asker, wanted: &CreateOrg) -> Result<(Txn, OrgId), PeopleError> {
    if view.named::<OrgSpec>(None, wanted.name.as_str())?.is_some() {
        return Err(taken("org", wanted.name.as_str()));
    }
    let org = Org::new(OrgId(SystemIds.ulid()), wanted.name.as_str(), None, OrgSpec::default(), asker.now);
    let mut txn = Txn::new(asker.principal.actor(), format!("make org {}", wanted.name), &asker.request);
    txn.put(&org);
    Ok((txn, org.id))
}

/// The transaction that makes a project.
///
/// # Errors
/// When the org is not there for the asker or not theirs to change, or the name is taken.
pub fn create_project(
    view: &dyn View,
    asker: &Asker,
    wanted: &CreateProject,
) -> Result<(Txn, ProjectId), PeopleError> {
    let org = org_or_house(view, &asker.principal, wanted.org.as_ref())?;
    let (place, action) = (Place::Org(org), Action::ManageProjects);
    if decide(Some(&asker.principal), action, place) != Access::Granted {
        let title = format!("You may not {action} in {}.", words(view, place)?);
        return Err(not_allowed(title, "Ask an admin of that org."));
    }
    let all = view.all::<ProjectSpec>(None)?;
    if all.iter().any(|project| project.name == wanted.name.as_str()) {
        return Err(taken("project", wanted.name.as_str()));
    }
    let id = ProjectId(SystemIds.ulid());
    let project = Project::new(id, wanted.name.as_str(), Some(org.into()), ProjectSpec::default(), asker.now);
    let mut txn = Txn::new(asker.principal.actor(), format!("make project {}", wanted.name), &asker.request);
    // The claim decides between two that are made at once.
    txn.put(&project).claim("project", &wanted.name, id);
    Ok((txn, id))
}

fn taken(what: &str, name: &str) -> PeopleError {
    Problem::new(Code::Conflict, format!("The name `{name}` is taken by another {what} of this house."))
        .hint("Choose another name.")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::House;

    #[test]
    fn a_projects_name_means_one_project_in_the_house() {
        let house = House::new();
        let wanted = |name: &str| CreateProject {
            name: name.parse().unwrap(),
            org: Some("elsewhere".parse().unwrap()),
        };
        let (txn, _) = create_project(&*house.view(), &house.root(), &wanted("shop")).unwrap();
        let (twin, _) =
            create_project(&*house.view(), &house.root(), &CreateProject { org: None, ..wanted("shop") })
                .unwrap();
        house.store.commit_now(txn).unwrap();
        assert!(house.store.commit_now(twin).is_err(), "two projects have one name");
        for name in ["shop", "default"] {
            assert!(create_project(&*house.view(), &house.root(), &wanted(name)).is_err(), "{name}");
        }
        let org = CreateOrg { name: "home".parse().unwrap() };
        assert!(create_org(&*house.view(), &house.root(), &org).is_err());
    }
}
