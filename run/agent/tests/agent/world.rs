//! A scripted world: a control plane and a runtime in memory, and a clock that follows tokio's.

mod runtime;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_agent::{Agent, AgentConfig, Control, ControlError, Images, NodeReport};
use freehold_image::{ImageError, PreparedImage, RunConfig};
use freehold_model::{
    Bytes, Desired, Digest, Exit, ImageRef, Instance, InstanceId, InstanceSpec, InstanceStatus, Millicores,
    Millis, NodeId, PinnedSecret, ReleaseId, Template, Volume, VolumeId, VolumeStatus,
    manifest::{Check, Driver, Probe},
};
use freehold_reconcile::Clock;
use freehold_runtime::{Damage, Launch, Lost, network::Neighbourhood};
use freehold_secrets::{Context, Delivered, Plaintext, Recipient, seal};
use jiff::Timestamp;
use runtime::FakeRun;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use ulid::Ulid;

/// How runs that start from now on behave.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    pub(crate) exits_after: Option<(Duration, i32)>,
    pub(crate) start_fails: Option<&'static str>,
    pub(crate) ignores_stop: bool,
    pub(crate) survives_kill: bool,
    pub(crate) pull_takes: Duration,
    pub(crate) unguarded: Option<&'static str>,
}

/// Everything outside the agent.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    disturbed: Arc<watch::Sender<u64>>,
    data: Arc<tempfile::TempDir>,
    begun: Instant,
}

#[derive(Default)]
struct State {
    assigned: BTreeMap<InstanceId, Instance>,
    disconnected: bool,
    reports: Vec<(InstanceId, InstanceStatus)>,
    behaviour: Behaviour,
    launches: Vec<(Launch, Instant)>,
    given: Vec<Vec<String>>,
    runs: BTreeMap<InstanceId, (Launch, Arc<FakeRun>)>,
    signals: Vec<(InstanceId, i32)>,
    removed: BTreeSet<InstanceId>,
    doubled: bool,
    stumbles: bool,
    oom_kills: u64,
    unlinked: u64,
    rules: Option<Neighbourhood>,
    volumes: BTreeMap<VolumeId, Volume>,
    /// How often the agent asked for the volumes.
    asked_for_volumes: usize,
    damage: Vec<Damage>,
    range_users: Vec<String>,
    lost: BTreeMap<InstanceId, Lost>,
    node_reports: Vec<NodeReport>,
    forwarding: Vec<(usize, bool)>,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            state: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            disturbed: Arc::new(watch::channel(0).0),
            data: Arc::new(tempfile::tempdir().unwrap()),
            begun: Instant::now(),
        }
    }

    /// Somebody damages what surrounds instances; the kernel tells of it, or does not.
    pub(crate) fn damage(&self, damage: Damage, told: bool) {
        self.lock().damage.push(damage);
        if told {
            self.disturbed.send_modify(|n| *n += 1);
        }
    }

    /// These use the range of instances from now on.
    pub(crate) fn use_range(&self, users: &[&str]) {
        self.lock().range_users = users.iter().map(|it| (*it).to_owned()).collect();
        self.disturbed.send_modify(|n| *n += 1);
    }

    /// Something is taken from the run of an instance.
    pub(crate) fn take(&self, id: InstanceId, lost: Lost) {
        self.lock().lost.insert(id, lost);
    }

    /// What is damaged still.
    pub(crate) fn damaged(&self) -> Vec<Damage> {
        self.lock().damage.clone()
    }

    /// What the node told of its surroundings.
    pub(crate) fn node_reports(&self) -> Vec<NodeReport> {
        self.lock().node_reports.clone()
    }

    /// Of how many links it was said whether they forward, each time.
    pub(crate) fn forwarding(&self) -> Vec<(usize, bool)> {
        self.lock().forwarding.clone()
    }

    pub(crate) async fn agent(&self) -> Agent {
        let config = AgentConfig {
            node: NodeId(Ulid::nil()),
            data: self.data.path().to_owned(),
            installation: None,
            gateway: Ipv4Addr::new(10, 210, 0, 1),
            network_bits: 16,
            name_servers: None,
        };
        let world = Arc::new(self.clone());
        Agent::start(config, world.clone(), world.clone(), world.clone(), world).await.unwrap()
    }

    pub(crate) fn instance(&self, n: u128) -> Instance {
        let template = Template {
            image: ImageRef { reference: "web:1".into(), digest: Digest::of(b"web") },
            driver: Driver::Process,
            command: None,
            args: None,
            env: BTreeMap::new(),
            cpu: Millicores(100),
            memory: Bytes(1 << 20),
            check: None,
            stop_timeout: Millis(10_000),
            pids: 512,
            disk: freehold_model::manifest::DEFAULT_DISK,
            egress: vec![],
            mounts: vec![],
            secrets: vec![],
            rules: Default::default(),
            revision: 0,
        };
        let spec = InstanceSpec {
            node: NodeId(Ulid::nil()),
            process: "web".parse().unwrap(),
            release: ReleaseId(Ulid::nil()),
            template_hash: template.hash(),
            template,
            volumes: Default::default(),
            address: Ipv4Addr::new(10, 210, 0, 2),
            desired: Desired::Running,
            serving: false,
            after: vec![],
            placed: Default::default(),
        };
        Instance::new(
            InstanceId(Ulid::from_parts(1, n)),
            format!("web-{n}"),
            None,
            spec,
            Timestamp::UNIX_EPOCH,
        )
    }

    pub(crate) fn assign(&self, n: u128) -> Instance {
        let instance = self.instance(n);
        self.put(instance.clone());
        instance
    }

    pub(crate) fn put(&self, instance: Instance) {
        self.lock().assigned.insert(instance.id, instance);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Changes a volume's spec, or makes it.
    pub(crate) fn put_volume(&self, volume: Volume) {
        self.lock().volumes.insert(volume.id, volume);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The volume as it is now; `None` when it is gone.
    pub(crate) fn volume(&self, id: VolumeId) -> Option<Volume> {
        self.lock().volumes.get(&id).cloned()
    }

    /// How often the agent has asked for the volumes.
    pub(crate) fn asked_for_volumes(&self) -> usize {
        self.lock().asked_for_volumes
    }

    /// The folder that an instance sees of a volume.
    pub(crate) fn volume_dir(&self, id: VolumeId) -> std::path::PathBuf {
        self.data.path().join("volumes").join(id.to_string())
    }

    /// Several at once, as one transaction has them.
    pub(crate) fn put_all<const N: usize>(&self, instances: [Instance; N]) {
        self.lock().assigned.extend(instances.map(|instance| (instance.id, instance)));
        self.changed.send_modify(|n| *n += 1);
    }

    /// Everything that runs is gone, and what it left.
    pub(crate) fn crash_machine(&self) {
        self.lock().runs.clear();
    }

    /// The node's rules, as set last.
    pub(crate) fn rules(&self) -> Option<Neighbourhood> {
        self.lock().rules.clone()
    }

    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        let held = async {
            while !holds() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(120), held).await.expect("it never came");
    }

    pub(crate) fn all_signals(&self) -> Vec<(InstanceId, i32)> {
        self.lock().signals.clone()
    }

    /// The secrets that each start was given, as `NAME=value`.
    pub(crate) fn given(&self) -> Vec<Vec<String>> {
        self.lock().given.clone()
    }

    /// Every file under the node's data directory.
    pub(crate) fn files(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut found = vec![];
        let mut folders = vec![self.data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push((entry.path(), std::fs::read(entry.path()).unwrap())),
                }
            }
        }
        found
    }

    pub(crate) fn unassign(&self, id: InstanceId) {
        self.lock().assigned.remove(&id);
        self.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn disconnect(&self, disconnected: bool) {
        self.lock().disconnected = disconnected;
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    /// The first report after now (or the last one before) that fits.
    pub(crate) async fn wait_for(
        &self,
        id: InstanceId,
        fits: impl Fn(&InstanceStatus) -> bool,
    ) -> InstanceStatus {
        let found = async {
            loop {
                if let Some(status) = self.reports(id).into_iter().rev().find(&fits) {
                    return status;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let found = timeout(Duration::from_secs(120), found).await;
        found.unwrap_or_else(|_| panic!("never reported; these were: {:#?}", self.reports(id)))
    }

    pub(crate) fn reports(&self, id: InstanceId) -> Vec<InstanceStatus> {
        let state = self.lock();
        state.reports.iter().filter(|(of, _)| *of == id).map(|(_, status)| status.clone()).collect()
    }

    pub(crate) fn forget_reports(&self) {
        self.lock().reports.clear();
    }

    pub(crate) fn launches(&self) -> Vec<Launch> {
        self.lock().launches.iter().map(|(launch, _)| launch.clone()).collect()
    }

    pub(crate) fn starts(&self, id: InstanceId) -> Vec<Instant> {
        let state = self.lock();
        assert!(!state.doubled, "something was started while it ran");
        state.launches.iter().filter(|(launch, _)| launch.instance == id).map(|(_, at)| *at).collect()
    }

    pub(crate) fn running(&self) -> Vec<InstanceId> {
        let state = self.lock();
        state.runs.iter().filter(|(_, (_, run))| !run.is_over()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn signals(&self, id: InstanceId) -> Vec<i32> {
        self.lock().signals.iter().filter(|(of, _)| *of == id).map(|(_, signal)| *signal).collect()
    }

    pub(crate) fn is_removed(&self, id: InstanceId) -> bool {
        self.lock().removed.contains(&id)
    }

    pub(crate) fn is_journaled(&self, id: InstanceId) -> bool {
        self.data.path().join(format!("agent/journal/{id}.json")).exists()
    }

    /// Whoever asks for the time next panics.
    pub(crate) fn stumble(&self) {
        self.lock().stumbles = true;
    }

    /// Where the log of an instance is.
    pub(crate) fn logs(&self, id: InstanceId) -> std::path::PathBuf {
        self.data.path().join("logs").join(id.to_string())
    }

    /// What an instance writes outside of its volumes.
    pub(crate) fn layer(&self, id: InstanceId) -> std::path::PathBuf {
        self.data.path().join("layers").join(id.to_string())
    }

    /// The kernel killed so many processes of every instance.
    pub(crate) fn oom_kills(&self, kills: u64) {
        self.lock().oom_kills = kills;
    }

    /// Every instance holds so much open that has no name any more.
    pub(crate) fn unlinked(&self, bytes: u64) {
        self.lock().unlinked = bytes;
    }

    /// Ends the run of an instance by itself.
    pub(crate) fn end(&self, id: InstanceId, code: i32) {
        let run = Arc::clone(&self.lock().runs[&id].1);
        run.exit(self.exit(Some(code), None));
    }

    pub(crate) fn closed_port_check(&self) -> Check {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Check {
            probe: Probe::Tcp { port: free },
            every: Millis(1000),
            timeout: Millis(500),
            unhealthy_after: 3,
            restart_after: Default::default(),
            grace: Millis(2000),
        }
    }

    fn exit(&self, code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { code, signal, oom: false, disk: None, unhealthy: None, at: self.now() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let stumbles = self.state.lock().is_ok_and(|mut state| std::mem::take(&mut state.stumbles));
        assert!(!stumbles, "as the test asked for");
        Timestamp::from_second(1_800_000_000).unwrap() + self.begun.elapsed()
    }
}

#[async_trait]
impl Control for World {
    async fn assigned(&self) -> Result<Vec<Instance>, ControlError> {
        let state = self.lock();
        if state.disconnected {
            return Err(ControlError::Unavailable("disconnected".into()));
        }
        Ok(state.assigned.values().cloned().collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn secrets(&self, id: InstanceId, node: &Recipient) -> Result<Vec<Delivered>, ControlError> {
        let state = self.lock();
        if state.disconnected {
            return Err(ControlError::Unavailable("disconnected".into()));
        }
        let instance = state.assigned.get(&id).ok_or(ControlError::Gone(id))?;
        if instance.spec.template.secrets.iter().any(|secret| secret.name.as_str() == "REMOVED") {
            return Err(ControlError::Refused("version 2 of REMOVED was removed".into()));
        }
        let sealed = |secret: &PinnedSecret| {
            let (name, number) = (secret.name.clone(), secret.version);
            let value = Plaintext::new(format!("planted-{name}-{number}").into_bytes());
            let context = Context::Instance { instance: id, name: name.clone(), number };
            Delivered { name, version: number, sealed: STANDARD.encode(seal(node, &context, &value)) }
        };
        Ok(instance.spec.template.secrets.iter().map(sealed).collect())
    }

    async fn report(&self, id: InstanceId, status: &InstanceStatus) -> Result<(), ControlError> {
        let mut state = self.lock();
        if state.disconnected {
            return Err(ControlError::Unavailable("disconnected".into()));
        }
        let Some(instance) = state.assigned.get_mut(&id) else { return Err(ControlError::Gone(id)) };
        instance.status = status.clone();
        state.reports.push((id, status.clone()));
        Ok(())
    }

    async fn volumes(&self) -> Result<Vec<Volume>, ControlError> {
        let mut state = self.lock();
        state.asked_for_volumes += 1;
        // In simulated time a loop without a pause would never end.
        assert!(state.asked_for_volumes < 20_000, "the keeper of volumes spins");
        Ok(state.volumes.values().cloned().collect())
    }

    async fn report_volume(
        &self,
        id: VolumeId,
        status: &VolumeStatus,
        _: Option<&'static str>,
    ) -> Result<(), ControlError> {
        if let Some(volume) = self.lock().volumes.get_mut(&id) {
            volume.status = status.clone();
        }
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn volume_gone(&self, id: VolumeId) -> Result<(), ControlError> {
        self.lock().volumes.remove(&id);
        Ok(())
    }

    async fn report_node(&self, report: &NodeReport) -> Result<(), ControlError> {
        let mut state = self.lock();
        if state.disconnected {
            return Err(ControlError::Unavailable("disconnected".into()));
        }
        state.node_reports.push(report.clone());
        Ok(())
    }
}

#[async_trait]
impl Images for World {
    async fn prepare(&self, image: &ImageRef) -> Result<PreparedImage, ImageError> {
        let takes = self.lock().behaviour.pull_takes;
        sleep(takes).await;
        if image.reference.starts_with("missing") {
            return Err(ImageError::Unknown(image.reference.clone()));
        }
        let config = RunConfig { entrypoint: vec!["/web".into()], ..RunConfig::default() };
        Ok(PreparedImage { digest: image.digest.clone(), layers: vec!["/layer".into()], config })
    }
}
