//! The node's pulse: a heartbeat to every control plane, and a registration where one asks for it.

use super::{
    link::{Link, LinkError},
    protocol::{Heard, Heartbeat, Registration},
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

/// Beats until it is dropped.
pub struct Pulse {
    registered: watch::Receiver<bool>,
    low_disk: watch::Sender<Option<Bytes>>,
    _beating: Vec<AbortOnDropHandle<()>>,
}

impl Pulse {
    /// Begins to beat to every URL of `link`.
    pub fn start(link: &Arc<Link>, registration: Registration) -> Pulse {
        let (said, registered) = watch::channel(false);
        let low_disk = watch::channel(None).0;
        let beats = link.urls().iter().map(|url| {
            let beat = Beat {
                link: Arc::clone(link),
                url: url.clone(),
                registration: registration.clone(),
                low_disk: low_disk.subscribe(),
                registered: said.clone(),
            };
            AbortOnDropHandle::new(tokio::spawn(beat.run()))
        });
        let beating = beats.collect();
        Pulse { registered, low_disk, _beating: beating }
    }

    /// Whether some control plane has taken the registration.
    pub fn registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
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
}

impl Beat {
    async fn run(self) {
        // Not all nodes at once.
        let mut next = Instant::now();
        let mut well = None;
        loop {
            let told = self.beat().await;
            match &told {
                Ok(()) if well != Some(true) => tracing::debug!(url = %self.url, "it hears this node"),
                Err(error) if well != Some(false) => {
                    tracing::warn!(url = %self.url, %error, "it does not hear this node");
                }
                _ => {}
            }
            well = Some(told.is_ok());
            next = (next + HEARTBEAT).max(Instant::now() + HEARTBEAT / 5);
            sleep_until(next - HEARTBEAT.mul_f64(rand::random_range(0.0..0.1))).await;
        }
    }

    async fn beat(&self) -> Result<(), LinkError> {
        let low_disk = *self.low_disk.borrow();
        let beat = Heartbeat { started: self.registration.started, low_disk };
        let heard: Heard = self.link.post_to(&self.url, "v1/node/heartbeat", &beat, HEARTBEAT).await?;
        if heard.register {
            let path = "v1/node/registration";
            self.link.post_to::<()>(&self.url, path, &self.registration, HEARTBEAT * 2).await?;
        }
        self.registered.send_if_modified(|known| !std::mem::replace(known, true));
        Ok(())
    }
}
