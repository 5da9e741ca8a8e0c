//! Calls: what a control plane wants of the node now, as logs and exec. The node holds a request open to
//! each control plane, on which calls come as lines, and answers each by a WebSocket that it dials itself. The
//! same lines tell that something of the node has changed.
//!
//! Invariant: nothing listens on the node; a call that cannot be answered ends, and others go on.

use super::{
    dial::{CallSocket, dial},
    link::{Link, LinkError},
    news::Teller,
    protocol::{Call, Line as Said, Want},
    urls,
};
use async_trait::async_trait;
use freehold_reconcile::Backoff;
use futures::StreamExt as _;
use reqwest::Url;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// So many calls are answered at once; whoever asks for more hears that the node does not answer.
const AT_ONCE: usize = 256;
/// A control plane says something at least every 10 s.
const SILENCE: Duration = Duration::from_secs(25);
/// No call is longer, as a line.
const LONGEST: usize = 1 << 20;
const SOONEST: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(5);

/// Who answers calls: the daemon, with the agent and the edge.
#[async_trait]
pub trait Answerer: Send + Sync + 'static {
    /// Answers one call, to its end.
    async fn answer(&self, want: Want, socket: CallSocket);
}

/// Answers what each control plane asks until the result is dropped.
pub fn answer_calls(link: &Arc<Link>, answerer: Arc<dyn Answerer>) -> AbortOnDropHandle<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let dialled = Arc::clone(link);
    urls::for_each(link.urls(), move |url| {
        let line = Line {
            link: Arc::clone(&dialled),
            url,
            answerer: Arc::clone(&answerer),
            places: Arc::clone(&places),
        };
        tokio::spawn(line.run())
    })
}

/// The open request to one control plane.
#[derive(Clone)]
struct Line {
    link: Arc<Link>,
    url: Url,
    answerer: Arc<dyn Answerer>,
    places: Arc<Semaphore>,
}

impl Line {
    async fn run(self) {
        let mut waits = Backoff::new(SOONEST, SLOWEST);
        loop {
            let wait = match self.listen().await {
                Ok(()) => {
                    waits.succeeded();
                    SOONEST
                }
                Err(error) => {
                    tracing::debug!(url = %self.url, %error, "no calls from there");
                    waits.failed()
                }
            };
            sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    /// Until the control plane goes away.
    async fn listen(&self) -> Result<(), LinkError> {
        let mut pieces = self.link.stream_from(&self.url, "v1/node/calls?changes=true").await?.bytes_stream();
        let (mut line, mut teller) = (vec![], None);
        // Those under way end with the process, not with this request: its end says nothing of theirs.
        while let Ok(Some(Ok(piece))) = timeout(SILENCE, pieces.next()).await {
            for byte in piece {
                match byte {
                    b'\n' => self.take(&std::mem::take(&mut line), &mut teller),
                    byte if line.len() < LONGEST => line.push(byte),
                    _ => return Err(LinkError::Away("a call is longer than 1 MiB".into())),
                }
            }
        }
        Ok(())
    }

    fn take(&self, line: &[u8], teller: &mut Option<Teller>) {
        if line.is_empty() {
            return;
        }
        match serde_json::from_slice(line) {
            Ok(Said::Changes { changes }) => match teller {
                Some(teller) => teller.say(changes),
                None => *teller = Some(self.link.news().open(changes)),
            },
            Ok(Said::Call(call)) => self.answer(*call),
            Err(error) => tracing::warn!(%error, "a call cannot be read"),
        }
    }

    fn answer(&self, call: Call) {
        // Waiting for a place would hold up the news that come after it.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return tracing::warn!(call = call.id, "too many calls are being answered");
        };
        let line = self.clone();
        tokio::spawn(async move {
            let _place = place;
            match dial(&line.url, line.link.tls(), &format!("v1/node/calls/{}", call.id)).await {
                Ok(socket) => line.answerer.answer(call.want, socket).await,
                Err(error) => tracing::warn!(call = call.id, %error, "a call cannot be answered"),
            }
        });
    }
}
