//! The node's pulse: a heartbeat to every control plane, and a registration where one asks for it.

use super::{
    link::{Link, LinkError},
    protocol::{Heard, Heartbeat, Registration},
    urls,
};
use freehold_model::Bytes;
use reqwest::Url;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// A heartbeat is sent so often. A node that was not heard for three of them is not ready.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// Where nobody answers, so often: within the lease of a control plane that comes back.
const SLOWEST: Duration = Duration::from_secs(10);

/// Beats until it is dropped.
pub struct Pulse {
    registered: watch::Receiver<bool>,
    low_disk: watch::Sender<Option<Bytes>>,
    range: watch::Receiver<Option<String>>,
    _beating: AbortOnDropHandle<()>,
}

impl Pulse {
    /// Begins to beat to every URL of `link`.
    pub fn start(link: &Arc<Link>, registration: Registration) -> Pulse {
        let (said, registered) = watch::channel(false);
        let (told, range) = watch::channel(None);
        let low_disk = watch::channel(None).0;
        let (dialled, disk) = (Arc::clone(link), low_disk.clone());
        let beating = urls::for_each(link.urls(), move |url| {
            let beat = Beat {
                link: Arc::clone(&dialled),
                url,
                registration: registration.clone(),
                low_disk: disk.subscribe(),
                registered: said.clone(),
                range: told.clone(),
            };
            tokio::spawn(beat.run())
        });
        Pulse { registered, low_disk, range, _beating: beating }
    }

    /// Whether some control plane has taken the registration.
    pub fn registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
    }

    /// The range of instances' addresses that control planes tell of.
    pub fn range(&self) -> watch::Receiver<Option<String>> {
        self.range.clone()
    }

    /// Says from now on how much room the disk has, where that is too little.
    pub fn say_disk(&self, low: Option<Bytes>) {
        self.low_disk.send_replace(low);
    }
}

struct Beat {
    link: Arc<Link>,
    url: Url,
    registration: Registration,
    low_disk: watch::Receiver<Option<Bytes>>,
    registered: watch::Sender<bool>,
    range: watch::Sender<Option<String>>,
}

impl Beat {
    async fn run(self) {
        let (mut next, mut well, mut wait) = (Instant::now(), None, HEARTBEAT);
        loop {
            let told = self.beat().await;
            match told {
                Ok(()) => wait = HEARTBEAT,
                Err(_) => {
                    self.link.urls().unheard(&self.url);
                    wait = (wait * 2).min(SLOWEST);
                }
            }
            match &told {
                Ok(()) if well != Some(true) => tracing::debug!(url = %self.url, "it hears this node"),
                Err(error) if well != Some(false) => {
                    tracing::warn!(url = %self.url, %error, "it does not hear this node");
                }
                _ => {}
            }
            well = Some(told.is_ok());
            next = (next + wait).max(Instant::now() + HEARTBEAT / 5);
            // Not all nodes at once.
            sleep_until(next - wait.mul_f64(rand::random_range(0.0..0.1))).await;
        }
    }

    async fn beat(&self) -> Result<(), LinkError> {
        let low_disk = *self.low_disk.borrow();
        let beat = Heartbeat { started: self.registration.started, low_disk };
        let heard: Heard = self.link.post_to(&self.url, "v1/node/heartbeat", &beat, HEARTBEAT).await?;
        self.link.urls().heard(&self.url, &heard.controls);
        if heard.range.is_some() {
            self.range.send_if_modified(|known| std::mem::replace(known, heard.range.clone()) != heard.range);
        }
        if heard.register {
            let path = "v1/node/registration";
            self.link.post_to::<()>(&self.url, path, &self.registration, HEARTBEAT * 2).await?;
        }
        self.registered.send_if_modified(|known| !std::mem::replace(known, true));
        Ok(())
    }
}
