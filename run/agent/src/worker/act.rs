//! What a worker does to its instance, and what it makes of the outcome.

use super::{
    Order, Worker,
    run::{Current, Live},
};
use crate::{
    launch::launch,
    logs,
    meter::{Meter, Usage},
    probe::Prober,
    secrets,
};
use freehold_model::{Exit, InstanceSpec};
use freehold_runtime::{Handle, Launch, Secrets};
use freehold_secrets::Delivered;
use jiff::Timestamp;
use nix::libc::SIGKILL;
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::sync::watch;

/// SIGKILL cannot fail but through the runtime: repeat it, in case that lost it.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// Everything that a start needs.
struct Prepared {
    launch: Launch,
    secrets: Secrets,
    /// The same secrets, as they are kept.
    sealed: Vec<Delivered>,
}

impl Worker {
    /// Prepares the image and starts a run. Recalled while the image is fetched, it does nothing.
    pub(super) async fn start(&mut self) {
        let Some(spec) = self.spec.clone() else { return };
        self.preparing = true;
        if !self.has_volumes(&spec).await {
            self.preparing = false;
            return;
        }
        self.say();
        let prepared = tokio::select! {
            launched = self.prepare(&spec) => Some(launched),
            () = recalled(self.orders.clone()) => None,
        };
        self.preparing = false;
        match prepared {
            None => {}
            Some(Err(trouble)) => self.unstartable(trouble),
            Some(Ok(Prepared { launch, secrets, sealed })) => {
                self.sealed = sealed;
                self.launch(&launch, &secrets).await;
            }
        }
    }

    /// Waits until every volume of `spec` is there and nobody holds it, and says for which; whether it still
    /// should run then.
    async fn has_volumes(&mut self, spec: &InstanceSpec) -> bool {
        let mut changed = self.shared.volumes.changed();
        loop {
            self.awaited = self.shared.volumes.awaited(spec);
            if self.awaited.is_none() {
                return true;
            }
            self.say();
            tokio::select! {
                Ok(()) = changed.changed() => {}
                () = recalled(self.orders.clone()) => {
                    self.awaited = None;
                    return false;
                }
            }
        }
    }

    async fn prepare(&self, spec: &InstanceSpec) -> Result<Prepared, String> {
        let image = self.shared.images.prepare(&spec.template.image).await.map_err(|error| error.whole())?;
        let network = (self.shared.config.gateway, self.shared.config.network_bits);
        if !in_network(spec.address, network) {
            let (gateway, bits) = network;
            return Err(format!(
                "its address {} is in another range than this node's, that of {gateway}/{bits}: the node learns of a new \
                 range within seconds",
                spec.address
            ));
        }
        let launch = launch(self.id, spec, image, network, self.shared.log_dir(self.id));
        let launch = launch.map_err(|error| error.to_string())?;
        let installation = self.shared.config.installation.clone();
        let launch = Launch { volumes: self.shared.volumes.mounts(spec), installation, ..launch };
        let pinned = &spec.template.secrets;
        let sealed = match secrets::is_complete(&self.sealed, pinned, &self.shared.key, self.id) {
            true => self.sealed.clone(),
            false => self.ask_for_secrets().await?,
        };
        let secrets = secrets::opened(&sealed, pinned, &self.shared.key, self.id)?;
        Ok(Prepared { launch, secrets, sealed })
    }

    async fn ask_for_secrets(&self) -> Result<Vec<Delivered>, String> {
        let delivered = self.shared.control.secrets(self.id, &self.shared.key.recipient()).await;
        delivered.map_err(|error| format!("its secrets cannot be had: {error}"))
    }

    async fn launch(&mut self, launch: &Launch, secrets: &Secrets) {
        // Whoever waits for its room sees it from now on, also if it is told to stop meanwhile.
        self.shared.residents.runs(self.id);
        if !matches!(*self.orders.borrow(), Order::Run(_)) {
            return;
        }
        self.memory.starting();
        // Before the start: a crash between the two must not lose count of a crash loop.
        self.save();
        // Nothing starts before its node guards it.
        if let Err(error) = self.shared.network.settle().await {
            return self.unstartable(error.to_string());
        }
        if let Some(spec) = &self.spec
            && let Err(trouble) = self.shared.volumes.attach(self.id, spec)
        {
            return self.unstartable(trouble);
        }
        self.noted_kills = Some(0);
        match self.shared.runtime.start_with(launch, secrets).await {
            Ok(handle) => self.follow(launch, handle),
            Err(error) => {
                self.shared.volumes.detach(self.id);
                self.unstartable(error.to_string());
            }
        }
    }

    /// Follows a run that was started now or adopted.
    pub(super) fn follow(&mut self, launch: &Launch, handle: Arc<dyn Handle>) {
        self.image = Some(launch.image.clone());
        if let Some(spec) = &self.spec {
            self.shared.volumes.adopt(self.id, spec);
        }
        self.shared.live().insert(self.id, (launch.clone(), Arc::clone(&handle)));
        self.run = Current::Live(Live::new(launch, handle));
    }

    /// Has a running run checked, and remembers since when it is healthy.
    pub(super) fn check(&mut self, since: Timestamp) {
        let now = self.now();
        let was_healthy = self.memory.healthy_since.is_some();
        let (Current::Live(live), Some(spec)) = (&mut self.run, &self.spec) else { return };
        live.since = Some(since);
        self.trouble = None;
        if live.prober.is_none() {
            let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let (check, handle) = (spec.template.check.clone(), Arc::clone(&live.handle));
            live.prober = Some(Prober::start(check, handle, since, age, was_healthy));
            live.meter = Some(Meter::start(Arc::clone(&live.handle)));
        }
        self.note_kills();
        let health = self.run.health();
        self.memory.health(health.healthy, health.message.is_some(), now);
        match (health.healthy, health.message) {
            (false, Some(_)) if was_healthy || self.tail.is_empty() => self.read_tail(),
            (true, _) => self.tail.clear(),
            _ => {}
        }
    }

    /// The kernel may kill a process of an instance, and the instance goes on: its log says so.
    fn note_kills(&mut self) {
        let (Current::Live(live), Some(spec)) = (&self.run, &self.spec) else { return };
        let Some(meter) = &live.meter else { return };
        let kills = meter.usage.borrow().oom_kills;
        // What an earlier agent saw, it has noted.
        if kills > self.noted_kills.replace(kills).unwrap_or(kills) {
            let memory = spec.template.memory;
            let text = format!(
                "the kernel killed a process of it: together they used more memory than its limit of {memory}"
            );
            logs::note(&self.shared.log_dir(self.id), &text);
        }
    }

    /// A run ended: by itself, or because it was asked to.
    pub(super) fn ended(&mut self, exit: Exit) {
        let (excess, lost, overdue) = match &self.run {
            Current::Live(live) => (live.excess, live.lost, live.overdue),
            _ => (None, None, None),
        };
        // One that was asked to stop because it took too much, lost what it needs, or failed its check for too
        // long, has failed, unless it should stop anyway.
        let reason = excess.is_some() || lost.is_some() || overdue.is_some();
        let failed = reason && matches!(self.order, Order::Run(_));
        let exit = if failed { Exit { disk: excess, unhealthy: overdue, ..exit } } else { exit };
        let asked = !failed && matches!(&self.run, Current::Live(live) if live.asked.is_some());
        tracing::info!(instance = %self.id, %exit, asked, "a run ended");
        self.over();
        if asked {
            self.memory.stopped(exit);
        } else {
            let text = match lost {
                Some(lost) => format!("{lost}; Freehold stopped it, and starts it again"),
                None => format!("it {exit}; Freehold starts it again"),
            };
            logs::note(&self.shared.log_dir(self.id), &text);
            self.memory.ended(exit, self.now());
        }
    }

    /// A run never came to be.
    pub(super) fn start_failed(&mut self, message: String) {
        self.over();
        self.unstartable(message);
    }

    fn over(&mut self) {
        self.run = Current::Over;
        self.act_at = None;
        self.again.succeeded();
        self.noted_kills = None;
        self.shared.live().remove(&self.id);
        self.shared.volumes.detach(self.id);
        self.read_tail();
    }

    fn unstartable(&mut self, trouble: String) {
        tracing::warn!(instance = %self.id, trouble, "an instance cannot be started");
        self.memory.unstartable(self.now());
        self.trouble = Some(trouble);
    }

    /// Sends the stop signal; from then on it has its time to end.
    pub(super) async fn signal(&mut self) {
        let now = self.now();
        let usage = if matches!(self.order, Order::Run(_)) { self.run.usage() } else { Usage::default() };
        let (excess, lost) = (usage.excess(), usage.lost);
        let overdue = self.restart_at().map(|(_, time)| time).filter(|_| matches!(self.order, Order::Run(_)));
        let Current::Live(live) = &mut self.run else { return };
        match (excess, lost, overdue) {
            (Some(disk), ..) => {
                tracing::warn!(instance = %self.id, %disk, "an instance is stopped, to start empty");
                live.excess = Some(disk);
            }
            (None, Some(lost), _) => {
                tracing::warn!(instance = %self.id, %lost, "an instance is stopped, to start anew");
                live.lost = Some(lost);
                self.shared.network.tell(format!("{}: {lost}; it was restarted", self.id));
            }
            (None, None, Some(time)) => {
                tracing::warn!(instance = %self.id, %time, "an instance is unhealthy for too long, and is started again");
                live.overdue = Some(time);
            }
            (None, None, None) => {}
        }
        match live.handle.signal(live.stop_signal).await {
            Ok(()) => {
                live.asked = Some(now);
                self.again.succeeded();
            }
            Err(error) => {
                tracing::debug!(instance = %self.id, %error, "the stop signal was not sent");
                self.act_at = Some(now + self.again.failed());
            }
        }
    }

    /// Ends it by force.
    pub(super) async fn kill(&mut self) {
        let Current::Live(live) = &self.run else { return };
        if self.again.failures() == 0 {
            tracing::warn!(instance = %self.id, "it did not stop in time and is killed");
        }
        let sent = live.handle.signal(SIGKILL).await;
        let wait = self.again.failed();
        self.act_at = Some(self.now() + if sent.is_ok() { wait.max(KILL_AGAIN) } else { wait });
    }

    /// Removes what the run left, its log aside.
    pub(super) async fn remove(&mut self) {
        match self.shared.runtime.remove(self.id).await {
            Ok(()) => {
                self.run = Current::Absent;
                self.again.succeeded();
            }
            Err(error) => {
                if self.again.failures() == 0 {
                    tracing::warn!(instance = %self.id, %error, "what it left cannot be removed yet");
                }
                self.act_at = Some(self.now() + self.again.failed());
            }
        }
    }

    /// Says the last word.
    pub(super) fn forget(mut self) {
        self.gone = true;
        if matches!(self.order, Order::Halt | Order::Pause) {
            // It stays assigned, and is known again to the next worker.
            self.shared.residents.observed(self.id, self.order == Order::Pause, false, false);
        } else {
            self.shared.residents.forget(self.id);
            self.shared.journal.forget(self.id);
        }
        self.say();
    }

    fn read_tail(&mut self) {
        let Some(process) = self.spec.as_ref().map(|spec| &spec.process) else { return };
        self.tail = logs::tail(&self.shared.log_dir(self.id), self.id, process);
    }
}

/// Whether an address is in the network of the gateway.
fn in_network(address: Ipv4Addr, (gateway, bits): (Ipv4Addr, u8)) -> bool {
    (address.to_bits() ^ gateway.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
}

/// Until it should no longer run.
async fn recalled(mut orders: watch::Receiver<Order>) {
    while matches!(*orders.borrow_and_update(), Order::Run(_)) {
        if orders.changed().await.is_err() {
            return;
        }
    }
}
