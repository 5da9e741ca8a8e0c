//! Reading: resources, descriptions, events, summaries, and what the machine can do.

use crate::{Client, ClientError};
use freehold_model::{
    AnyId, AnyResource, Event, Kind, Resource, Seq, Spec,
    api::{Description, Doctor, EnvSummary, ResourceList},
    drill::EgressDrill,
};
use jiff::Timestamp;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What does not answer is waited for, instance by instance.
const DRILL_TIMEOUT: Duration = Duration::from_secs(120);

/// Which resources are wanted. Every given condition must hold.
#[derive(Debug, Clone, Default)]
pub struct ResourceQuery {
    /// Of this kind; must be given.
    pub kind: Option<Kind>,
    /// Belonging to this resource.
    pub parent: Option<AnyId>,
    /// With exactly this name.
    pub name: Option<String>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// After this id, in the order asked for.
    pub after: Option<AnyId>,
    /// The newest first.
    pub newest_first: bool,
    /// At most this many.
    pub limit: Option<usize>,
}

impl ResourceQuery {
    /// Everything of `kind`.
    pub fn of(kind: Kind) -> ResourceQuery {
        ResourceQuery { kind: Some(kind), ..ResourceQuery::default() }
    }

    /// Only what belongs to `parent`.
    pub fn under(mut self, parent: impl Into<AnyId>) -> ResourceQuery {
        self.parent = Some(parent.into());
        self
    }

    /// Only what is called `name`.
    pub fn named(mut self, name: impl Into<String>) -> ResourceQuery {
        self.name = Some(name.into());
        self
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![];
        pairs.extend(self.kind.map(|kind| ("kind", kind.to_string())));
        pairs.extend(self.parent.map(|id| ("parent", id.to_string())));
        pairs.extend(self.name.clone().map(|name| ("name", name)));
        pairs.extend(self.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
        pairs.extend(self.after.map(|id| ("after", id.to_string())));
        pairs.extend(self.newest_first.then(|| ("order", "newest".to_owned())));
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventQuery {
    /// After this place in the log, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// At most this many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// About this resource alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<AnyId>,
    /// By this actor, as it prints: `user:ada`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Called this, as in `secret.set`, or of this kind, as in `secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Not before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The last so many, the newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
}

/// Which envs are wanted, by names; everything where nothing is given.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SummaryQuery {
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The env.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// What a server says of itself to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ready`.
    pub status: String,
}

pub(crate) const NO_QUERY: [(&str, &str); 0] = [];

impl Client {
    /// Whether the server is ready. Needs no token.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.get("/healthz", &NO_QUERY).await
    }

    /// One page of resources.
    pub async fn resources(&self, query: &ResourceQuery) -> Result<ResourceList, ClientError> {
        self.get("/v1/resources", &query.pairs()).await
    }

    /// Every resource that fits, through all pages, in order of ids.
    pub async fn all_resources(&self, query: &ResourceQuery) -> Result<Vec<AnyResource>, ClientError> {
        let mut query = query.clone();
        let mut found = vec![];
        loop {
            let page = self.resources(&query).await?;
            found.extend(page.items);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// One resource.
    pub async fn resource(&self, id: impl Into<AnyId>) -> Result<AnyResource, ClientError> {
        self.get(&format!("/v1/resources/{}", id.into()), &NO_QUERY).await
    }

    /// One resource, typed.
    pub async fn typed<S: Spec>(&self, id: S::Id) -> Result<Resource<S>, ClientError> {
        let any = self.resource(id).await?;
        self.as_typed(any)
    }

    /// Everything that explains one resource.
    pub async fn describe(&self, id: impl Into<AnyId>) -> Result<Description, ClientError> {
        self.get(&format!("/v1/resources/{}/description", id.into()), &NO_QUERY).await
    }

    /// Events that already happened.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, ClientError> {
        self.get("/v1/events", query).await
    }

    /// How envs are, at a glance.
    pub async fn summaries(&self, query: &SummaryQuery) -> Result<Vec<EnvSummary>, ClientError> {
        self.get("/v1/summaries", query).await
    }

    /// Tries from inside instances where they can connect to.
    pub async fn drill_egress(&self, query: &SummaryQuery) -> Result<EgressDrill, ClientError> {
        let request = self.request(Method::POST, "/v1/drills/egress").query(query).timeout(DRILL_TIMEOUT);
        self.read(self.send(request).await?).await
    }

    /// What the server's machine can do.
    pub async fn doctor(&self) -> Result<Doctor, ClientError> {
        self.get("/v1/doctor", &NO_QUERY).await
    }

    /// The typed form of a resource that the server sent.
    pub(crate) fn as_typed<S: Spec>(&self, any: AnyResource) -> Result<Resource<S>, ClientError> {
        any.typed()
            .map_err(|error| ClientError::Protocol { url: self.url().to_owned(), what: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_only_what_is_given() {
        let mut query = ResourceQuery::of(Kind::Release).named("v3");
        query.labels.insert("tier".into(), "front".into());
        let expected = [("kind", "release"), ("name", "v3"), ("label", "tier=front")];
        let pairs = query.pairs();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(pairs, expected);
    }
}
