//! Keeps what surrounds the node's instances as they need it: the node's rules about their network, and their
//! links, addresses, routes and settings.
//!
//! A worker has the rules set before it starts anything; a task follows what changes otherwise, be it who lives
//! here or what others do to the node's network. It hears of that from the kernel and looks from time to time
//! all the same. Invariants: what was set last is what was wanted last, because one change is made at a time;
//! nothing starts while the rules do not hold, and while they cannot be made to hold nothing is forwarded.

mod ledger;
mod outbox;

pub(crate) use outbox::Outbox;

use crate::{
    agent::{AgentConfig, Run},
    control::Noticed,
    residents::Residents,
};
use freehold_model::{InstanceId, manifest::Driver};
use freehold_runtime::{
    Damage, InstanceLink, RunState, Runtime, RuntimeError, Surroundings, network::Neighbourhood,
};
use ledger::Ledger;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// After a failure it is tried again so soon.
const AGAIN: Duration = Duration::from_secs(5);
/// Looked at so often, whatever is heard.
const EVERY: Duration = Duration::from_secs(10);
/// What is taken from an instance is missed within this.
const LOST: Duration = Duration::from_secs(5);
/// What cannot be put back for so long is told.
const LASTS: Duration = Duration::from_secs(3);
/// Notices come in crowds: who flushes a table removes each of its rules.
const CROWD: Duration = Duration::from_millis(30);

type Key = (u8, Option<InstanceId>);
/// The runs that there are.
pub(crate) type Live = Arc<Lock<BTreeMap<InstanceId, Run>>>;

/// The surroundings, and how to keep them.
#[derive(Clone)]
pub(crate) struct Network {
    gateway: Ipv4Addr,
    bits: u8,
    runtime: Arc<dyn Runtime>,
    residents: Arc<Residents>,
    live: Live,
    /// The resolver's port.
    resolver: Option<u16>,
    outbox: Arc<Outbox>,
    state: Arc<Mutex<State>>,
}

/// The present state.
struct State {
    /// The rules that were set last; `None` before anything was.
    set: Option<Option<Neighbourhood>>,
    ledger: Ledger<Key>,
    /// When all was looked at last.
    looked: Instant,
    /// Since when at most each thing is otherwise than it should be.
    since: BTreeMap<Key, Instant>,
    /// Why instances are not kept apart.
    unguarded: Option<String>,
    /// Links do not forward.
    closed: bool,
    /// When to look again, for something waits to be put back.
    retry: Option<Instant>,
}

impl Network {
    pub(crate) fn new(
        config: &AgentConfig,
        resolver: Option<u16>,
        runtime: Arc<dyn Runtime>,
        residents: Arc<Residents>,
        live: Live,
    ) -> Network {
        let (gateway, bits) = (config.gateway, config.network_bits);
        let state = State {
            set: None,
            ledger: Ledger::new(),
            looked: Instant::now(),
            since: BTreeMap::new(),
            unguarded: None,
            closed: false,
            retry: None,
        };
        let (outbox, state) = (Arc::default(), Arc::new(Mutex::new(state)));
        Network { gateway, bits, runtime, residents, live, resolver, outbox, state }
    }

    /// What is to be told of it.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Tells of what was noticed by looking, and mended.
    pub(crate) fn tell(&self, what: String) {
        self.outbox.happened(ledger::healed(what, Noticed::Looked, LOST));
    }

    /// Sees that the rules are as they should be, and hold.
    pub(crate) async fn settle(&self) -> Result<(), RuntimeError> {
        let mut state = self.state.lock().await;
        let since = state.looked;
        self.look(&mut state, Noticed::Looked, since, true).await?;
        self.set(&mut state).await?;
        match &state.unguarded {
            Some(why) => Err(RuntimeError::Network(io::Error::other(why.clone()))),
            None => Ok(()),
        }
    }

    /// The same after residents changed: most changes concern no rule.
    async fn follow_residents(&self) -> Result<(), RuntimeError> {
        let mut state = self.state.lock().await;
        if state.set.as_ref() == Some(&self.wanted()) {
            return Ok(());
        }
        // New rules would hide what became of the old ones.
        let since = state.looked;
        let _ = self.look(&mut state, Noticed::Looked, since, true).await;
        self.set(&mut state).await
    }

    fn wanted(&self) -> Option<Neighbourhood> {
        self.residents.neighbourhood(self.gateway, self.bits, self.resolver)
    }

    /// Sets the rules, if others are set.
    async fn set(&self, state: &mut State) -> Result<(), RuntimeError> {
        let wanted = self.wanted();
        if state.set.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let done = self.runtime.settle(wanted.as_ref()).await;
        match &done {
            Ok(()) => state.set = Some(wanted),
            // Nothing is there to be guarded, and what is left of an earlier run guards nothing.
            Err(error) if wanted.is_none() => {
                tracing::debug!(%error, "what an earlier run left of the rules stays");
                state.set = Some(None);
                return Ok(());
            }
            Err(error) => tracing::error!(%error, "unguarded"),
        }
        self.guard(state, done.as_ref().err().map(ToString::to_string)).await;
        done
    }

    /// Nothing runs any more: leaves the node as it was.
    pub(crate) async fn leave(&self) {
        let mut state = self.state.lock().await;
        match self.runtime.settle(None).await {
            Ok(()) => state.set = Some(None),
            Err(error) => tracing::warn!(%error, "the rules of the instances' network stay behind"),
        }
    }

    /// Looks, puts back what may be put back now, and notes what came of it. `since`: at that time nothing that
    /// is found now had been so.
    async fn look(
        &self,
        state: &mut State,
        noticed: Noticed,
        since: Instant,
        at_once: bool,
    ) -> Result<(), RuntimeError> {
        let Some(Some(_)) = state.set else { return Ok(()) };
        let begun = Instant::now();
        state.retry = None;
        let found = self.inspect(state).await?;
        let (mut tried, mut errors) = (BTreeSet::new(), BTreeMap::new());
        for damage in &found {
            let key = damage.key();
            state.since.entry(key).or_insert(since);
            match state.ledger.may_try(&key, begun) {
                Err(due) if !(at_once && damage.unguards()) => {
                    state.retry = Some(state.retry.map_or(due, |known| known.min(due)));
                }
                _ if !tried.insert(key) => {}
                _ => {
                    if let Err(error) = self.runtime.repair(&self.surroundings(state), damage).await {
                        tracing::debug!(%damage, %error, "it cannot be put back");
                        errors.insert(key, error.to_string());
                    }
                }
            }
        }
        let left = if tried.is_empty() { found.clone() } else { self.inspect(state).await? };
        self.note(state, &found, &left, &tried, noticed);
        self.outbox.say_lasting(lasting(state, &left, &errors));
        let unguarded = left.iter().find(|damage| damage.unguards()).map(|damage| {
            let error = errors.get(&damage.key()).map(|error| format!(": {error}"));
            format!("{damage}{}", error.unwrap_or_default())
        });
        self.guard(state, unguarded).await;
        state.looked = begun;
        Ok(())
    }

    async fn inspect(&self, state: &mut State) -> Result<Vec<Damage>, RuntimeError> {
        let found = self.runtime.inspect(&self.surroundings(state)).await;
        if let Err(error) = &found {
            state.retry = Some(Instant::now() + AGAIN);
            self.guard(state, Some(format!("it cannot be seen: {error}"))).await;
        }
        found
    }

    fn surroundings(&self, state: &State) -> Surroundings {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let links = live.values().filter_map(|(launch, handle)| match *handle.state().borrow() {
            RunState::Running { pid, .. } if launch.driver == Driver::Container => {
                Some(InstanceLink { launch: launch.clone(), pid })
            }
            _ => None,
        });
        let rules = state.set.clone().flatten();
        Surroundings { rules, links: links.collect(), forwards: !state.closed }
    }

    /// Notes what is there again, and what is not.
    fn note(
        &self,
        state: &mut State,
        found: &[Damage],
        left: &[Damage],
        tried: &BTreeSet<Key>,
        noticed: Noticed,
    ) {
        let now = Instant::now();
        let stays: BTreeSet<Key> = left.iter().map(Damage::key).collect();
        let mut noted = BTreeSet::new();
        for damage in found.iter().filter(|damage| noted.insert(damage.key())) {
            let key = damage.key();
            if stays.contains(&key) {
                if tried.contains(&key) {
                    state.ledger.failed(key, now);
                }
                // Soon enough for what is about to end by itself; the ledger says when it is tried.
                let soon = now + Duration::from_millis(500);
                state.retry = Some(state.retry.map_or(soon, |known| known.min(soon.max(known))));
                continue;
            }
            let gone = state.since.remove(&key).map_or(Duration::ZERO, |since| now.duration_since(since));
            if !tried.contains(&key) {
                continue;
            }
            let healed = ledger::healed(damage.to_string(), noticed, gone);
            if let Some(told) = state.ledger.healed(key, healed, now) {
                tracing::warn!(what = told.what, ?noticed, ?gone, "it was put back");
                self.outbox.happened(told);
            }
        }
        state.since.retain(|key, _| stays.contains(key));
        state.ledger.due(now).into_iter().for_each(|told| self.outbox.happened(told));
    }

    /// Says whether instances are kept apart; while they are not, none of their packets goes to another.
    async fn guard(&self, state: &mut State, unguarded: Option<String>) {
        let closed = unguarded.is_some();
        if closed != state.closed {
            self.runtime.let_forward(&self.surroundings(state).links, !closed).await;
            state.closed = closed;
        }
        state.unguarded = unguarded.clone();
        self.outbox.say(unguarded);
    }

    /// Follows the residents, and what others do, until it is dropped.
    pub(crate) fn follow(&self) -> AbortOnDropHandle<()> {
        let network = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let (mut changed, mut disturbed) = (network.residents.changed(), network.runtime.disturbed());
            network.look_for_strangers().await;
            let mut sought = Instant::now();
            let mut failed = network.follow_residents().await.is_err();
            loop {
                let next = network.next_look().await;
                tokio::select! {
                    Ok(()) = changed.changed() => failed = network.follow_residents().await.is_err(),
                    () = sleep(AGAIN), if failed => failed = network.follow_residents().await.is_err(),
                    () = notice(&mut disturbed) => {
                        let noticed = Instant::now();
                        sleep(CROWD).await;
                        disturbed.mark_unchanged();
                        network.look_again(Noticed::Notified, Some(noticed)).await;
                    }
                    () = sleep_until(next) => network.look_again(Noticed::Looked, None).await,
                    else => return,
                }
                // It reads every route of the machine: not at each notice.
                if sought.elapsed() >= EVERY {
                    network.look_for_strangers().await;
                    sought = Instant::now();
                }
            }
        }))
    }

    /// Somebody else may have come into the range of instances' addresses.
    async fn look_for_strangers(&self) {
        match self.runtime.users_of(self.gateway, self.bits).await {
            Ok(users) => self.outbox.say_range((!users.is_empty()).then(|| users.join("; "))),
            Err(error) => tracing::warn!(%error, "who else uses the range of instances is not known"),
        }
    }

    async fn next_look(&self) -> Instant {
        let state = self.state.lock().await;
        let regular = state.looked + EVERY;
        state.retry.map_or(regular, |retry| retry.min(regular)).max(Instant::now())
    }

    async fn look_again(&self, noticed: Noticed, since: Option<Instant>) {
        let mut state = self.state.lock().await;
        let since = since.unwrap_or(state.looked).max(state.looked);
        if let Err(error) = self.look(&mut state, noticed, since, false).await {
            tracing::warn!(%error, "what surrounds instances cannot be looked at");
        }
        // Also where there is nothing to look at.
        state.looked = Instant::now();
    }
}

/// What was not put back for a while, and why: what is about to end by itself is no news.
fn lasting(state: &State, left: &[Damage], errors: &BTreeMap<Key, String>) -> Option<String> {
    let old = |damage: &&Damage| state.since.get(&damage.key()).is_some_and(|since| since.elapsed() > LASTS);
    let said = left.iter().filter(|damage| !damage.unguards()).filter(old).map(|damage| {
        let error = errors.get(&damage.key()).map(|error| format!(": {error}"));
        format!("{damage}{}", error.unwrap_or_default())
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Waits for a notice; one that nobody can give any more never comes.
async fn notice(disturbed: &mut watch::Receiver<u64>) {
    if disturbed.changed().await.is_err() {
        std::future::pending().await
    }
}
