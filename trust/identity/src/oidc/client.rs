//! Clients: apps whose running release says that people sign in to them. Looked up, never registered, so rollback,
//! a failed deploy and removal need nothing done here.

use crate::Place;
use freehold_model::{
    AppSpec, Env, EnvSpec, GrantSpec, Name, Project, ProjectSpec, Release, ReleaseSpec, manifest::SignIn,
    oidc::ClientSummary,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};

/// An app that people sign in to.
#[derive(Debug, Clone)]
pub struct Client {
    /// As it is known to itself.
    pub id: String,
    /// The app's name.
    pub app: String,
    /// Its project, in which a person must have a role.
    pub project: Project,
    /// Where that is.
    pub place: Place,
    /// The env.
    pub env: Env,
    /// What it runs.
    pub release: Release,
    /// What that says.
    pub sign_in: SignIn,
}

/// The id of the client that an env of an app is: the same from its first deploy to its removal.
pub fn client_id(project: &Name, app: &Name, env: &Name) -> String {
    format!("{project}.{app}.{env}")
}

/// The client of that id, if there is one now.
///
/// # Errors
/// When the view fails.
pub fn find_client(view: &dyn View, id: &str) -> Result<Option<Client>, StoreError> {
    let mut names = id.split('.').map(str::parse::<Name>);
    let (Some(Ok(project)), Some(Ok(app)), Some(Ok(env)), None) =
        (names.next(), names.next(), names.next(), names.next())
    else {
        return Ok(None);
    };
    let found = view.all::<ProjectSpec>(None)?.into_iter().find(|it| it.name == project.as_str());
    let Some(project) = found else { return Ok(None) };
    let app = view.named::<AppSpec>(Some(project.any_id()), app.as_str())?;
    let Some(app) = app.filter(|app| app.deleting.is_none()) else { return Ok(None) };
    let Some(env) = view.named::<EnvSpec>(Some(app.any_id()), env.as_str())? else { return Ok(None) };
    of_env(view, project, &app.name, env)
}

fn of_env(view: &dyn View, project: Project, app: &str, env: Env) -> Result<Option<Client>, StoreError> {
    let Some(release) = env.spec.release.filter(|_| env.deleting.is_none()) else { return Ok(None) };
    let Some(release) = view.find::<ReleaseSpec>(release)? else { return Ok(None) };
    let (Some(sign_in), Some(place)) =
        (release.spec.manifest.sign_in.as_deref().cloned(), Place::project(&project))
    else {
        return Ok(None);
    };
    let id = format!("{}.{app}.{}", project.name, env.name);
    Ok(Some(Client { id, app: app.to_owned(), project, place, env, release, sign_in }))
}

/// Every client.
///
/// # Errors
/// When the view fails.
pub fn client_summaries(view: &dyn View) -> Result<Vec<(Place, ClientSummary)>, StoreError> {
    let grants = view.all::<GrantSpec>(None)?;
    let mut all = vec![];
    for project in view.all::<ProjectSpec>(None)? {
        for app in view.all::<AppSpec>(Some(project.any_id()))? {
            for env in view.all::<EnvSpec>(Some(app.any_id()))? {
                let Some(client) = of_env(view, project.clone(), &app.name, env)? else { continue };
                let Some(summary) = summary(&client, &grants) else { continue };
                all.push((client.place, summary));
            }
        }
    }
    all.sort_by(|a, b| a.1.client_id.cmp(&b.1.client_id));
    Ok(all)
}

fn summary(client: &Client, grants: &[freehold_model::Grant]) -> Option<ClientSummary> {
    let of_it = |grant: &&freehold_model::Grant| grant.spec.env == client.env.id && grant.status.used;
    Some(ClientSummary {
        client_id: client.id.clone(),
        project: client.project.name.parse().ok()?,
        app: client.app.parse().ok()?,
        env: client.env.name.parse().ok()?,
        env_id: client.env.id,
        release: client.release.spec.number,
        process: client.sign_in.process.clone(),
        redirect: client.sign_in.redirect.clone(),
        after_sign_out: client.sign_in.after_sign_out.clone(),
        signed_in: grants.iter().filter(of_it).count() as u32,
    })
}
