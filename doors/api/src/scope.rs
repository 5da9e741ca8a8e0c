//! Finds what names mean: project, app and env by name, as the parameters of summaries and logs give them.
//!
//! Invariant: a name that nothing has is answered with the names that there are.

use crate::{
    error::{Answer, Failure},
    params::Keys,
    who::{Who, not_allowed},
};
use freehold_identity::{Action, Place as Site};
use freehold_model::{
    AnyId, App, AppSpec, Code, Env, EnvSpec, Name, OrgSpec, Problem, Project, ProjectSpec, Resource, Spec,
};
use freehold_reconcile::{View, ViewExt as _};

/// Names that narrow a request to some envs; what is not given narrows nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) project: Option<Name>,
    pub(crate) app: Option<Name>,
    pub(crate) env: Option<Name>,
}

/// An env with what it belongs to.
pub(crate) struct Place {
    pub(crate) project: Project,
    pub(crate) app: App,
    pub(crate) env: Env,
}

impl Scope {
    pub(crate) fn from_keys(keys: &mut Keys) -> Scope {
        Scope { project: keys.optional("project"), app: keys.optional("app"), env: keys.optional("env") }
    }

    /// Every env that fits and in which `who` may do `action`, in order of creation within app within project.
    ///
    /// # Errors
    /// Not found, when a given name fits nothing that they see; not allowed, where they named a project or an
    /// app that they see and may not do it.
    pub(crate) fn places(&self, view: &dyn View, who: &Who, action: Action) -> Answer<Vec<Place>> {
        let mut places = vec![];
        let mut orgs = vec![];
        for org in view.all::<OrgSpec>(None)? {
            orgs.push(org.any_id());
        }
        let projects = children::<ProjectSpec>(view, &orgs)?;
        let may = |action, project: &Project| Site::project(project).is_some_and(|it| who.may(action, it));
        let visible: Vec<Project> = projects.into_iter().filter(|it| may(Action::Read, it)).collect();
        let picked = pick(visible, self.project.as_ref())?;
        let seen = picked.len();
        let projects: Vec<Project> = picked.into_iter().filter(|it| may(action, it)).collect();
        let named = self.project.is_some() || self.app.is_some();
        if projects.is_empty() && seen > 0 && named {
            return Err(not_allowed(action).into());
        }
        let apps = pick(children::<AppSpec>(view, &ids(&projects))?, self.app.as_ref())?;
        let envs = pick(children::<EnvSpec>(view, &ids(&apps))?, self.env.as_ref())?;
        for env in envs {
            let app = apps.iter().find(|app| env.parent == Some(app.any_id()));
            let project =
                app.and_then(|app| projects.iter().find(|project| app.parent == Some(project.any_id())));
            if let (Some(app), Some(project)) = (app, project) {
                places.push(Place { project: project.clone(), app: app.clone(), env });
            }
        }
        Ok(places)
    }
}

fn ids<S: Spec>(resources: &[Resource<S>]) -> Vec<AnyId> {
    resources.iter().map(Resource::any_id).collect()
}

fn children<S: Spec>(view: &dyn View, parents: &[AnyId]) -> Answer<Vec<Resource<S>>> {
    let mut found = vec![];
    for parent in parents {
        found.extend(view.all::<S>(Some(*parent))?);
    }
    Ok(found)
}

/// Those called `name`, or all when no name is given.
fn pick<S: Spec>(candidates: Vec<Resource<S>>, name: Option<&Name>) -> Answer<Vec<Resource<S>>> {
    let Some(name) = name else { return Ok(candidates) };
    let names: Vec<String> = candidates.iter().map(|one| one.name.clone()).collect();
    let picked: Vec<_> = candidates.into_iter().filter(|one| one.name == name.as_str()).collect();
    if picked.is_empty() {
        return Err(absent(S::KIND, name, names));
    }
    Ok(picked)
}

fn absent(kind: freehold_model::Kind, name: &Name, mut names: Vec<String>) -> Failure {
    names.sort();
    names.dedup();
    names.truncate(20);
    let hint = match names.as_slice() {
        [] => format!("There is no {kind} here yet; `freehold deploy` makes one."),
        names => format!("There are: {}.", names.join(", ")),
    };
    Failure(Problem::new(Code::NotFound, format!("There is no {kind} `{name}`.")).hint(hint))
}
