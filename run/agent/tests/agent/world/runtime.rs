//! The runtime of a scripted world: each run goes as the world says when it starts.

use super::{Behaviour, World};
use async_trait::async_trait;
use freehold_model::{Exit, InstanceId, Keeping, exec::ExecRequest};
use freehold_reconcile::Clock as _;
use freehold_runtime::{
    Damage, ExecSession, Handle, InstanceLink, Launch, Layer, Lost, RunState, Runtime, RuntimeError, Secrets,
    Surroundings,
    network::{InstanceNetwork, Neighbourhood},
};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

#[async_trait]
impl Runtime for World {
    async fn start_with(&self, launch: &Launch, secrets: &Secrets) -> Result<Arc<dyn Handle>, RuntimeError> {
        let id = launch.instance;
        let mut state = self.lock();
        if state.runs.get(&id).is_some_and(|(_, run)| !run.is_over()) {
            state.doubled = true;
            return Err(RuntimeError::AlreadyRunning(id));
        }
        let behaviour = state.behaviour.clone();
        let run = Arc::new(FakeRun {
            log_dir: launch.log_dir.clone(),
            id,
            world: self.clone(),
            behaviour,
            state: watch::channel(RunState::Starting).0,
        });
        // Each run starts empty.
        let _ = freehold_tree::remove(&self.layer(id));
        state.launches.push((launch.clone(), Instant::now()));
        state.given.push(secrets.variables().map(|(name, value)| format!("{name}={value}")).collect());
        state.runs.insert(id, (launch.clone(), Arc::clone(&run)));
        state.removed.remove(&id);
        tokio::spawn(Arc::clone(&run).live());
        Ok(run)
    }

    /// As the real one: a run that lives seems to be starting until its shim has answered.
    async fn adopt(&self) -> Result<Vec<(Launch, Arc<dyn Handle>)>, RuntimeError> {
        let runs: Vec<_> = self.lock().runs.values().cloned().collect();
        let adopt = |(launch, run): (Launch, Arc<FakeRun>)| {
            let found = run.state.send_replace(RunState::Starting);
            let answering = Arc::clone(&run);
            tokio::spawn(async move {
                sleep(Duration::from_millis(20)).await;
                answering.state.send_replace(found);
            });
            (launch, run as Arc<dyn Handle>)
        };
        Ok(runs.into_iter().map(adopt).collect())
    }

    async fn settle(&self, wanted: Option<&Neighbourhood>) -> Result<(), RuntimeError> {
        let mut state = self.lock();
        if let Some(why) = state.behaviour.unguarded {
            return Err(RuntimeError::Network(std::io::Error::other(why)));
        }
        state.rules = wanted.cloned();
        Ok(())
    }

    fn disturbed(&self) -> watch::Receiver<u64> {
        self.disturbed.subscribe()
    }

    async fn inspect(&self, wanted: &Surroundings) -> Result<Vec<Damage>, RuntimeError> {
        let state = self.lock();
        // Only where there are rules can they be gone.
        Ok(if wanted.rules.is_some() { state.damage.clone() } else { vec![] })
    }

    async fn users_of(&self, _: Ipv4Addr, _: u8) -> Result<Vec<String>, RuntimeError> {
        Ok(self.lock().range_users.clone())
    }

    async fn repair(&self, wanted: &Surroundings, damage: &Damage) -> Result<(), RuntimeError> {
        if damage.unguards() {
            self.settle(wanted.rules.as_ref()).await?;
        }
        self.lock().damage.retain(|known| known != damage);
        Ok(())
    }

    async fn let_forward(&self, links: &[InstanceLink], forwards: bool) {
        self.lock().forwarding.push((links.len(), forwards));
    }

    async fn remove(&self, id: InstanceId) -> Result<(), RuntimeError> {
        let mut state = self.lock();
        if state.runs.get(&id).is_some_and(|(_, run)| !run.is_over()) {
            return Err(RuntimeError::StillRunning(id));
        }
        state.runs.remove(&id);
        state.removed.insert(id);
        Ok(())
    }
}

/// One that only says how it goes.
pub(super) struct FakeRun {
    log_dir: std::path::PathBuf,
    id: InstanceId,
    world: World,
    behaviour: Behaviour,
    state: watch::Sender<RunState>,
}

impl FakeRun {
    pub(super) async fn live(self: Arc<Self>) {
        if let Some(message) = self.behaviour.start_fails {
            self.state.send_replace(RunState::StartFailed { message: message.into() });
            return;
        }
        self.state.send_replace(RunState::Running { pid: 1, since: self.world.now() });
        if let Some((after, code)) = self.behaviour.exits_after {
            sleep(after).await;
            freehold_runtime::logs::append_system(&self.log_dir, "about to exit").unwrap();
            self.exit(self.world.exit(Some(code), None));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().is_over()
    }

    pub(super) fn exit(&self, exit: Exit) {
        self.state.send_replace(RunState::Exited(exit));
    }
}

#[async_trait]
impl Handle for FakeRun {
    fn instance(&self) -> InstanceId {
        self.id
    }

    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::LOCALHOST
    }

    fn layer(&self) -> Option<Layer> {
        let limit = self.world.lock().runs[&self.id].0.disk;
        let dir = self.world.data.path().join("layers").join(self.id.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        Some(Layer { dir, limit, keeping: Keeping::Watched })
    }

    fn unlinked(&self) -> u64 {
        self.world.lock().unlinked
    }

    fn oom_kills(&self) -> u64 {
        self.world.lock().oom_kills
    }

    fn state(&self) -> watch::Receiver<RunState> {
        self.state.subscribe()
    }

    fn lost(&self) -> Option<Lost> {
        self.world.lock().lost.remove(&self.id)
    }

    async fn network(&self) -> Result<Arc<InstanceNetwork>, RuntimeError> {
        Err(RuntimeError::NotRunning(self.id))
    }

    async fn signal(&self, signal: i32) -> Result<(), RuntimeError> {
        if self.is_over() {
            return Err(RuntimeError::NotRunning(self.id));
        }
        self.world.lock().signals.push((self.id, signal));
        let ends = if signal == 9 { !self.behaviour.survives_kill } else { !self.behaviour.ignores_stop };
        if ends {
            self.exit(self.world.exit(None, Some(signal)));
        }
        Ok(())
    }

    async fn exec(&self, _: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        Err(RuntimeError::NotRunning(self.id))
    }
}
