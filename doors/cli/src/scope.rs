//! From names to ids: `app/shop`, `endpoint/tcp/8000`, `v3`, or an id as it is.

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};
use freehold_client::{ResourceQuery, SummaryQuery};
use freehold_model::{AnyId, AnyResource, Code, InstanceId, Kind, api::EnvSummary};

impl Session {
    /// The resource that `text` names: an id, or `kind/name`.
    pub(crate) async fn find(&self, text: &str) -> Outcome<AnyId> {
        if let Ok(id) = text.parse::<AnyId>() {
            return Ok(id);
        }
        match text.split_once('/').filter(|(_, name)| !name.is_empty()) {
            Some((kind, name)) if kind_named(kind).is_ok() => self.find_named(kind_named(kind)?, name).await,
            Some(("tcp" | "udp", _)) => self.find_named(Kind::Endpoint, text).await,
            // As `status` names envs and logs name instances.
            Some((first, _)) => match self.find_named(Kind::Env, text).await {
                Err(Failure::Problem(problem)) if problem.code == Code::NotFound => {
                    let instance = self.find_named(Kind::Instance, text).await;
                    instance.or_else(|_| kind_named(first).map(|_| unreachable!("it is no kind")))
                }
                found => found,
            },
            None => Err(Failure::usage(
                format!("`{text}` is neither an id nor `kind/name`"),
                "Write it like app/shop, release/v3, shop/prod, endpoint/tcp/8000 or ins_….",
            )),
        }
    }

    /// The resource of `kind` with that id or name, within the app and env that are meant.
    pub(crate) async fn find_named(&self, kind: Kind, name: &str) -> Outcome<AnyId> {
        if let Ok(id) = name.parse::<AnyId>() {
            return match id.kind == kind {
                true => Ok(id),
                false => Err(Failure::usage(
                    format!("{id} is not of kind {kind}"),
                    format!("`freehold {} describe {id}` describes it.", id.kind),
                )),
            };
        }
        match (kind, name.split_once('/')) {
            (Kind::Env, Some((app, env))) => {
                let app = self.app_id(app).await?;
                return self.named_id(Kind::Env, env, Some(app)).await;
            }
            (Kind::Instance, _) => return self.instance(name).await.map(AnyId::from),
            (Kind::Endpoint, None) if name.parse::<u16>().is_ok() => {
                let tcp = Box::pin(self.find_named(kind, &format!("tcp/{name}"))).await;
                return match tcp {
                    Ok(id) => Ok(id),
                    Err(_) => Box::pin(self.find_named(kind, &format!("udp/{name}"))).await,
                };
            }
            _ => {}
        }
        let mut query = ResourceQuery::of(kind).named(name);
        if let Some(parent) = self.parent_of(kind).await? {
            query = query.under(parent);
        }
        match self.client.resources(&query).await?.items.as_slice() {
            [] => Err(Failure::not_found(
                format!("there is no {kind} called `{name}`"),
                format!("`freehold {kind} list` shows what there is."),
            )),
            [one] => Ok(one.id),
            several => Err(Failure::usage(
                format!("{} resources of kind {kind} are called `{name}`", several.len()),
                "Name one by its id, or the app and env with --app and --env.",
            )),
        }
    }

    /// Where resources of `kind` that are meant by a name belong; `None` where they may be anywhere.
    pub(crate) async fn parent_of(&self, kind: Kind) -> Outcome<Option<AnyId>> {
        match kind {
            Kind::Org
            | Kind::Project
            | Kind::Node
            | Kind::Gateway
            | Kind::Device
            | Kind::Image
            | Kind::Authority
            | Kind::Identity
            | Kind::Issuer
            | Kind::IdentityProvider
            | Kind::Grant
            | Kind::JoinToken => Ok(None),
            Kind::App => self.named_id(Kind::Project, &self.project(), None).await.map(Some),
            Kind::Env => match self.app_if_any()? {
                Some(app) => self.app_id(app.as_str()).await.map(Some),
                None => Ok(None),
            },
            _ => match self.app_if_any()? {
                Some(_) => self.env_id().await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// The id of the env that is meant.
    pub(crate) async fn env_id(&self) -> Outcome<AnyId> {
        let app = self.app_id(self.app()?.as_str()).await?;
        self.named_id(Kind::Env, &self.env(), Some(app)).await
    }

    async fn app_id(&self, app: &str) -> Outcome<AnyId> {
        let project = self.named_id(Kind::Project, &self.project(), None).await?;
        self.named_id(Kind::App, app, Some(project)).await
    }

    async fn named_id(&self, kind: Kind, name: &str, parent: Option<AnyId>) -> Outcome<AnyId> {
        let query = ResourceQuery { parent, ..ResourceQuery::of(kind).named(name) };
        let found: Option<AnyResource> = self.client.resources(&query).await?.items.into_iter().next();
        found.map(|resource| resource.id).ok_or_else(|| {
            Failure::not_found(
                format!("there is no {kind} called `{name}`"),
                format!("`freehold {kind} list` shows what there is."),
            )
        })
    }

    /// How the envs that are meant are now. An app that only the manifest here names may not be
    /// deployed yet: then there are none.
    pub(crate) async fn summaries(&self) -> Outcome<Vec<EnvSummary>> {
        let named = &self.globals;
        let nothing_named = named.app.is_none() && named.env.is_none() && named.project.is_none();
        match self.client.summaries(&self.summary_query()?).await {
            Err(error) if error.code() == Code::NotFound && nothing_named => Ok(vec![]),
            answer => Ok(answer?),
        }
    }

    /// How the env that is meant is now.
    pub(crate) async fn env_summary(&self) -> Outcome<EnvSummary> {
        let app = self.app()?.to_string();
        let env = self.env();
        let query =
            SummaryQuery { project: Some(self.project()), app: Some(app.clone()), env: Some(env.clone()) };
        self.client.summaries(&query).await?.into_iter().next().ok_or_else(|| {
            Failure::not_found(
                format!("{app} has no env `{env}`"),
                "`freehold deploy` makes it; `freehold status` shows what there is.",
            )
        })
    }

    /// An instance by its id, or by the end of one.
    pub(crate) async fn instance(&self, text: &str) -> Outcome<InstanceId> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        // As logs name it, `web/jaqr59`, or as `describe` does.
        let (process, end) =
            text.rsplit_once(['/', '-']).map_or((None, text), |(process, end)| (Some(process), end));
        let envs = match self.app_if_any()? {
            Some(_) => vec![self.env_summary().await?],
            None => self.client.summaries(&SummaryQuery::default()).await?,
        };
        let all = envs.iter().flat_map(|env| &env.instances);
        let fits = all.filter(|one| end.len() >= 4 && one.id.to_string().ends_with(end));
        let fits = fits.filter(|one| process.is_none_or(|process| one.process.as_str() == process));
        let found: Vec<InstanceId> = fits.map(|one| one.id).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            _ => Err(Failure::not_found(
                format!("`{text}` is not the id of an instance, nor the end of just one"),
                "`freehold status` shows the ids.",
            )),
        }
    }
}

fn kind_named(text: &str) -> Outcome<Kind> {
    Kind::from_name(text).or_else(|| Kind::from_name(text.strip_suffix('s')?)).ok_or_else(|| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Failure::usage(format!("`{text}` is not a kind"), format!("Kinds are {}.", kinds.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_taken_in_singular_and_plural() {
        assert_eq!(kind_named("apps").unwrap(), Kind::App);
        assert_eq!(kind_named("endpoint").unwrap(), Kind::Endpoint);
        assert!(kind_named("pods").is_err());
    }
}
