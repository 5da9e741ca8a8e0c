use super::*;
use freehold_model::{
    Bytes, Digest, EndpointSpec, ImageRef, InstanceStatus, Millicores, Millis, ReleaseId, Template,
    manifest::ProxyProtocol,
};
use jiff::Timestamp;
use proptest::prelude::*;
use ulid::Ulid;

fn env(n: u128) -> AnyId {
    freehold_model::EnvId(Ulid::from_parts(0, n)).into()
}

fn endpoint(process: &str) -> Endpoint {
    let spec = EndpointSpec {
        process: process.parse().unwrap(),
        listen: 8000,
        target: 8080,
        protocol: Protocol::Tcp,
        proxy_protocol: ProxyProtocol::Off,
        trusted_proxies: vec![],
        idle_timeout: None,
        max_connections: None,
    };
    let id = EndpointId(Ulid::from_parts(0, 1));
    Endpoint::new(id, "8000", Some(env(1)), spec, Timestamp::UNIX_EPOCH)
}

fn instance(n: u128, process: &str) -> Instance {
    let template = Template {
        image: ImageRef { reference: "web:1".into(), digest: Digest::of(b"web") },
        driver: Driver::Container,
        command: None,
        args: None,
        env: BTreeMap::new(),
        cpu: Millicores(100),
        memory: Bytes(1 << 20),
        check: None,
        stop_timeout: Millis(1000),
        pids: 512,
        disk: freehold_model::manifest::DEFAULT_DISK,
        egress: vec![],
        mounts: vec![],
        secrets: vec![],
        rules: Default::default(),
        revision: 0,
    };
    let spec = InstanceSpec {
        node: freehold_model::NodeId(Ulid::nil()),
        process: process.parse().unwrap(),
        release: ReleaseId(Ulid::nil()),
        template_hash: template.hash(),
        template,
        volumes: Default::default(),
        address: Ipv4Addr::new(10, 210, 0, 2),
        desired: Desired::Running,
        serving: true,
        after: vec![],
        placed: Default::default(),
    };
    let id = InstanceId(Ulid::from_parts(0, n));
    let mut instance = Instance::new(id, format!("web-{n}"), Some(env(1)), spec, Timestamp::UNIX_EPOCH);
    instance.status = InstanceStatus { phase: Phase::Running, healthy: true, ..InstanceStatus::default() };
    instance
}

fn route_of(endpoint: Endpoint, instances: &[Instance]) -> Route {
    let routing = Routing::new(vec![endpoint], instances, &[], 1);
    routing.routes.into_values().next().unwrap()
}

#[test]
fn only_what_runs_healthy_and_serves_is_a_backend() {
    type Change = (&'static str, fn(&mut Instance));
    let changes: [Change; 8] = [
        ("not serving", |i| i.spec.serving = false),
        ("to be stopped", |i| i.spec.desired = Desired::Stopped),
        ("unhealthy", |i| i.status.healthy = false),
        ("stopping", |i| i.status.phase = Phase::Stopping),
        ("in backoff", |i| i.status.phase = Phase::Backoff),
        ("going", |i| i.deleting = Some(Timestamp::UNIX_EPOCH)),
        ("of another env", |i| i.parent = Some(env(2))),
        ("of another process", |i| i.spec.process = "worker".parse().unwrap()),
    ];
    assert_eq!(route_of(endpoint("web"), &[instance(1, "web")]).backends.len(), 1);
    for (what, change) in changes {
        let mut changed = instance(1, "web");
        change(&mut changed);
        assert!(route_of(endpoint("web"), &[changed]).backends.is_empty(), "{what}");
    }
}

#[test]
fn a_process_without_isolation_is_reached_on_loopback() {
    let mut local = instance(2, "web");
    local.spec.template.driver = Driver::Process;
    let backends = route_of(endpoint("web"), &[instance(1, "web"), local]).backends;
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address.to_string()).collect();
    assert_eq!(addresses, ["10.210.0.2:8080", "127.0.0.1:8080"]);
}

#[test]
fn an_endpoint_that_goes_has_no_port() {
    let mut going = endpoint("web");
    going.deleting = Some(Timestamp::UNIX_EPOCH);
    let route = route_of(going, &[instance(1, "web")]);
    assert!(route.listen.is_err() && route.backends.is_empty(), "who is connected through it drains");
}

#[test]
fn a_rollout_is_awaited_while_it_shifts_and_nothing_else_is() {
    let spec = freehold_model::RolloutSpec {
        release: ReleaseId(Ulid::nil()),
        previous: None,
        receipt: freehold_model::ReceiptId(Ulid::nil()),
        deadline: Timestamp::UNIX_EPOCH,
        leaves: None,
        cancelled_by: None,
    };
    let id = freehold_model::RolloutId(Ulid::nil());
    let mut rollout = Rollout::new(id, "1", Some(env(1)), spec, Timestamp::UNIX_EPOCH);
    rollout.version = 9;
    let mut web = instance(1, "web");
    web.version = 12;
    let mut awaited = |phase, parent| {
        (rollout.status.phase, rollout.parent) = (phase, Some(parent));
        let routing = Routing::new(vec![endpoint("web")], &[web.clone()], &[rollout.clone()], 20);
        routing.routes.into_values().next().unwrap().awaited
    };
    assert_eq!(awaited(RolloutPhase::Draining, env(1)), 9);
    assert_eq!(awaited(RolloutPhase::Draining, env(2)), 0, "of another env");
    for phase in [RolloutPhase::Starting, RolloutPhase::Stopping, RolloutPhase::Restoring] {
        assert_eq!(awaited(phase, env(1)), 0, "{phase:?}");
    }
}

proptest! {
    #[test]
    fn backends_are_a_subset_and_their_order_does_not_depend_on_luck(
        flags in prop::collection::vec((any::<bool>(), any::<bool>()), 0..10),
    ) {
        let instances: Vec<_> = flags.iter().enumerate().map(|(n, (serving, healthy))| {
            let mut instance = instance(n as u128 + 1, "web");
            instance.spec.serving = *serving;
            instance.status.healthy = *healthy;
            instance.version = n as u64;
            instance
        }).collect();
        let route = route_of(endpoint("web"), &instances);
        let expected: Vec<_> =
            instances.iter().filter(|i| i.spec.serving && i.status.healthy).map(|i| i.id).collect();
        prop_assert_eq!(route.backends.iter().map(|b| b.instance).collect::<Vec<_>>(), expected);
        prop_assert_eq!(route.awaited, 0);
    }
}
