//! The house behind the image store of a control plane: names are rows in the store that all share, bytes are
//! fetched from the control plane that has them, over its door for machines.
//!
//! Given to [`freehold_image::ImageStore`] by [`crate::plane`]. Invariants: a name changes in one commit, for
//! everybody; who is asked proved to be of this house, and what it sends is checked against its digest there.

use crate::peers::{Fellow, Peers};
use async_trait::async_trait;
use freehold_agent::remote::protocol::{HEADER, VERSION};
use freehold_image::{House, Pieces, Upstream, UpstreamError};
use freehold_model::{Actor, Digest, Image, ImageId, ImageSpec, Problem, Txn, api::ImageSummary};
use freehold_reconcile::{Clock, Ids as _, Store, SystemIds, View, ViewExt as _};
use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// A commit that others came before is tried so often.
const ATTEMPTS: usize = 8;
/// A connection is made within this, and an answer begins.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that stop coming for so long come no more.
const SILENCE: Duration = Duration::from_secs(20);
/// No manifest is larger.
const MANIFEST: usize = 4 << 20;

/// What a control plane knows of the house's images.
pub(crate) struct HouseImages {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) peers: Peers,
}

impl HouseImages {
    /// Commits what `decide` makes of the present state, again if others were faster.
    async fn commit(
        &self,
        decide: impl Fn(&dyn View) -> Result<Option<Txn>, freehold_reconcile::StoreError>,
    ) -> Result<(), UpstreamError> {
        for _ in 0..ATTEMPTS {
            let view = self.store.view().await.map_err(away)?;
            let Some(txn) = decide(&*view).map_err(away)? else { return Ok(()) };
            drop(view);
            match self.store.commit(txn).await {
                Ok(_) => return Ok(()),
                Err(conflict) if conflict.is_conflict() => {}
                Err(error) => return Err(away(error)),
            }
        }
        Err(away("others keep naming the same image"))
    }
}

fn txn(why: &str) -> Txn {
    Txn::new(Actor::Controller("images".into()), why, "images")
}

#[async_trait]
impl House for HouseImages {
    async fn meaning(&self, name: &str) -> Result<Option<Digest>, UpstreamError> {
        let view = self.store.view().await.map_err(away)?;
        let found = view.named::<ImageSpec>(None, name).map_err(away)?;
        Ok(found.map(|image| image.spec.digest))
    }

    async fn names(&self) -> Result<Vec<ImageSummary>, UpstreamError> {
        let view = self.store.view().await.map_err(away)?;
        let all = view.all::<ImageSpec>(None).map_err(away)?;
        let summary = |Image { name, spec: ImageSpec { digest, size, pushed, .. }, .. }| ImageSummary {
            reference: name,
            digest,
            size,
            pushed,
        };
        Ok(all.into_iter().map(summary).collect())
    }

    async fn name(&self, image: &ImageSummary) -> Result<(), UpstreamError> {
        let at = self.peers.own.clone();
        let ImageSummary { reference, digest, size, pushed } = image.clone();
        let spec = ImageSpec { digest, size, pushed, at };
        self.commit(|view| {
            let mut txn = txn("name an image");
            match view.named::<ImageSpec>(None, &reference)? {
                Some(known) if known.spec.digest == spec.digest => return Ok(None),
                Some(mut known) => {
                    known.spec = spec.clone();
                    txn.put_spec(&known).event(
                        known.id,
                        "image.named",
                        serde_json::json!({ "digest": spec.digest }),
                    );
                }
                None => {
                    let id = ImageId(SystemIds.ulid());
                    txn.put(&Image::new(id, reference.as_str(), None, spec.clone(), self.clock.now()));
                }
            }
            Ok(Some(txn))
        })
        .await
    }

    async fn forget(&self, name: &str) -> Result<(), UpstreamError> {
        self.commit(|view| {
            let Some(known) = view.named::<ImageSpec>(None, name)? else { return Ok(None) };
            let mut txn = txn("forget an image's name");
            txn.expect(known.id, known.version).delete(known.id);
            txn.makes_room = true;
            Ok(Some(txn))
        })
        .await
    }

    fn others(&self, repository: &str) -> Arc<dyn Upstream> {
        let (store, peers) = (self.store.clone(), self.peers.clone());
        Arc::new(Others { store, peers, repository: repository.to_owned() })
    }
}

/// The stores of the other control planes, as far as they show things in one repository.
struct Others {
    store: Arc<dyn Store>,
    peers: Peers,
    repository: String,
}

impl Others {
    /// The answer of the first that has it; whoever has only just started is asked as well.
    async fn ask(&self, what: &str, digest: &Digest, from: u64) -> Result<Response, UpstreamError> {
        match self.ask_these(self.peers.all(), what, digest, from).await {
            Ok(answer) => Ok(answer),
            Err(error) => match self.peers.newcomers(&*self.store).await.map_err(away)? {
                none if none.is_empty() => Err(error),
                newcomers => self.ask_these(newcomers, what, digest, from).await,
            },
        }
    }

    async fn ask_these(
        &self,
        fellows: Vec<Fellow>,
        what: &str,
        digest: &Digest,
        from: u64,
    ) -> Result<Response, UpstreamError> {
        let tls = self.peers.authority.client().await.map_err(away)?;
        let client = Client::builder().no_proxy().connect_timeout(PATIENCE).tls_backend_preconfigured(tls);
        let client = client.build().map_err(away)?;
        let mut last = None;
        for Fellow { name, url, .. } in fellows {
            let url = url.join(&format!("v1/control/{what}/{digest}")).map_err(away)?;
            let query = [("repository", self.repository.clone()), ("from", from.to_string())];
            let asked = client.get(url).query(&query).header(HEADER, VERSION).send();
            match timeout(PATIENCE * 2, asked).await {
                Ok(Ok(answer)) if answer.status().is_success() => return Ok(answer),
                Ok(Ok(answer)) if answer.status() == StatusCode::NOT_FOUND => {}
                Ok(Ok(answer)) => last = Some(format!("{name} answered {}", told(answer).await)),
                Ok(Err(error)) => last = Some(format!("{name} cannot be asked: {error}")),
                Err(_) => last = Some(format!("{name} does not answer")),
            }
        }
        Err(match last {
            Some(reason) => away(reason),
            None => UpstreamError { is_final: true, reason: "no control plane that lives has it".into() },
        })
    }
}

async fn told(answer: Response) -> String {
    let status = answer.status();
    match answer.json::<Problem>().await {
        Ok(problem) => problem.to_string(),
        Err(_) => status.to_string(),
    }
}

#[async_trait]
impl Upstream for Others {
    async fn manifest(&self, image: &Digest) -> Result<Vec<u8>, UpstreamError> {
        let mut answer = self.ask("manifests", image, 0).await?;
        let mut bytes = vec![];
        while let Some(piece) = timeout(SILENCE, answer.chunk()).await.map_err(away)?.map_err(away)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MANIFEST {
                return Err(UpstreamError { is_final: true, reason: "its manifest is too large".into() });
            }
        }
        Ok(bytes)
    }

    async fn blob(&self, _image: &Digest, blob: &Digest, from: u64) -> Result<Pieces, UpstreamError> {
        let answer = self.ask("blobs", blob, from).await?;
        let pieces = futures::stream::unfold(answer.bytes_stream(), async |mut pieces| {
            let piece = match timeout(SILENCE, pieces.next()).await {
                Ok(piece) => piece?.map_err(away),
                Err(_) => Err(away("it fell silent")),
            };
            Some((piece, pieces))
        });
        Ok(pieces.boxed())
    }
}

/// It may come later.
fn away(error: impl std::fmt::Display) -> UpstreamError {
    UpstreamError { is_final: false, reason: error.to_string() }
}
