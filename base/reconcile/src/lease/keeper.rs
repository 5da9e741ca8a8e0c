//! Keeps a process's leases: renews those it holds, watches the others, takes what is free or silent.
//!
//! Started by the daemon, one for each process. Invariant: it never ends before `shutdown`; then what is held
//! is given back, so that another need not wait.

use super::{Ballot, Seat, TICK, TTL, Watched, seat::Withdrawn};
use crate::ports::{Store, StoreError};
use freehold_model::LeaseChange;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// Contends for leases in the name of one process.
pub struct Keeper {
    store: Arc<dyn Store>,
    ballot: Ballot,
    start: Instant,
    seats: BTreeMap<String, watch::Sender<Option<u64>>>,
    withdrawn: Withdrawn,
    watched: watch::Sender<Vec<Watched>>,
}

impl Keeper {
    /// Contends as `holder`, a name that no other living process has; `note` is what it says of itself.
    pub fn new(store: Arc<dyn Store>, holder: &str, note: &str) -> Keeper {
        let ballot = Ballot::new(holder, note, TTL);
        let (seats, watched) = (BTreeMap::new(), watch::Sender::default());
        Keeper { store, ballot, start: Instant::now(), seats, withdrawn: Withdrawn::default(), watched }
    }

    /// Contends for `lease`, too.
    pub fn seat(&mut self, lease: &str) -> Seat {
        self.ballot.contest(lease);
        let sender = self.seats.entry(lease.to_owned()).or_insert_with(|| watch::Sender::new(None));
        Seat::new(lease.to_owned(), sender.subscribe(), self.withdrawn.clone())
    }

    /// Every lease of the store, its holder and whether it is renewed, as of the last tick.
    pub fn watched(&self) -> watch::Receiver<Vec<Watched>> {
        self.watched.subscribe()
    }

    /// Works until `shutdown`, then gives back what it holds.
    pub async fn run(&mut self, shutdown: CancellationToken) {
        loop {
            self.tick().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(TICK) => {}
            }
        }
        let release = LeaseChange::Release { holder: self.ballot.holder().to_owned() };
        match timeout(TTL, self.store.change_lease(release)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "leases could not be given back: they run out"),
            Err(_) => tracing::warn!("leases could not be given back in time: they run out"),
        }
    }

    async fn tick(&mut self) {
        let outcome = match timeout(TTL, self.look()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Engine("no answer in time".into())),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "leases can be neither renewed nor watched");
            self.ballot.blind(self.now());
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        self.withdraw().await?;
        if self.ballot.holds_any() {
            self.store.change_lease(LeaseChange::Renew { holder: self.ballot.holder().to_owned() }).await?;
        }
        let leases = self.store.leases().await?;
        let takes = self.ballot.look(&leases, self.now());
        if !takes.is_empty() {
            for take in takes {
                // A commit of a process that was stopped in the middle may hold it up for a while.
                if let Err(error) = self.store.change_lease(take).await {
                    tracing::warn!(%error, "a lease could not be taken");
                }
            }
            let leases = self.store.leases().await?;
            // What was not granted is asked for again at the next tick, if it is still to be had.
            let _ = self.ballot.look(&leases, self.now());
        }
        self.tell();
        Ok(())
    }

    /// Gives up what nobody here can use, and stands for election where somebody can again.
    async fn withdraw(&mut self) -> Result<(), StoreError> {
        let withdrawn = self.withdrawn.lock().clone();
        for lease in self.seats.keys() {
            if !withdrawn.contains(lease) {
                self.ballot.contest(lease);
                continue;
            }
            self.ballot.withdraw(lease);
            if self.ballot.leads(lease).is_some() {
                let (name, holder) = (lease.clone(), self.ballot.holder().to_owned());
                self.store.change_lease(LeaseChange::GiveUp { name, holder }).await?;
            }
        }
        Ok(())
    }

    fn tell(&self) {
        self.watched.send_replace(self.ballot.watched(self.now()));
        for (lease, seat) in &self.seats {
            let (new, old) = (self.ballot.leads(lease), *seat.borrow());
            seat.send_if_modified(|held| std::mem::replace(held, new) != new);
            match (old, new) {
                (None, Some(version)) => tracing::info!(lease, version, "leads"),
                (Some(version), None) => tracing::warn!(lease, version, "no longer leads"),
                (Some(old), Some(version)) if old != version => tracing::info!(lease, version, "leads anew"),
                _ => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
