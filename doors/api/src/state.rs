//! What handlers work with: the ports, and reading them without blocking the executor.

use crate::{
    controls::Controls,
    error::{Answer, Failure},
    known::Known,
    port::{EdgePort, NodePort},
    streams::Streams,
    tail::Tail,
};
use freehold_identity::{Attempts, Authority, Devices, Rates, Tokens, oidc::Signer, sso::Relying};
use freehold_image::ImageStore;
use freehold_model::{PublicUrl, api::Doctor};
use freehold_reconcile::{Clock, Store, View};
use freehold_secrets::Vault;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything that the API needs from the process it runs in.
pub struct ApiState {
    /// Resources and events.
    pub store: Arc<dyn Store>,
    /// The end of its log, for those who watch it.
    pub tail: Tail,
    /// The built-in registry.
    pub images: ImageStore,
    /// Secrets.
    pub vault: Arc<Vault>,
    /// Lets machines join, and certifies them.
    pub authority: Arc<Authority>,
    /// What runs on nodes.
    pub agent: Arc<dyn NodePort>,
    /// What endpoints carry.
    pub edge: Arc<dyn EdgePort>,
    /// The address by which browsers and apps reach this house, if somebody said it.
    pub public_url: Option<PublicUrl>,
    /// Signs what the house says of people to apps.
    pub signer: Arc<Signer>,
    /// Asks the identity providers that people sign in with.
    pub sso: Arc<Relying>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whom to let in.
    pub tokens: Tokens,
    /// The control planes that work on the store.
    pub controls: Controls,
    /// How often whom has failed to sign in.
    pub attempts: Attempts,
    /// How often whom has asked of late.
    pub rates: Rates,
    /// Who was let in since the last change.
    pub known: Known,
    /// The long calls that are open.
    pub streams: Streams,
    /// What programs without a browser ask of late.
    pub devices: Devices,
    /// Whether the server serves: false while it starts, and again when it stops. Meanwhile nothing
    /// but probes is let in; turning false ends streams and waits.
    pub ready: watch::Receiver<bool>,
    /// Looks at what the machine can do; may block.
    pub doctor: Arc<dyn Fn() -> Doctor + Send + Sync>,
}

/// The state as handlers share it.
pub(crate) type Api = Arc<ApiState>;

impl ApiState {
    /// Reads one consistent view on a thread that may block.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn View) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let view = self.store.view().await?;
        tokio::task::spawn_blocking(move || work(&*view)).await.map_err(Failure::internal)?
    }

    /// Resolves when the server stops serving. The guard lets nothing in before it serves.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ready = self.ready.clone();
        async move {
            // A dropped sender means that the process ends.
            let _ = ready.wait_for(|ready| !*ready).await;
        }
    }
}
