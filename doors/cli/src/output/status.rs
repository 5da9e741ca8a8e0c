//! How envs are, at a glance: releases, instances, endpoints.

use super::{
    Paint,
    paint::Tone,
    receipt,
    table::{Cell, Table, cell},
    time,
};
use freehold_model::{
    Bytes, Phase,
    api::{EndpointSummary, EnvSummary, InstanceSummary},
    traffic::EndpointTraffic,
};
use jiff::Timestamp;

/// Every env, one after another.
pub(crate) fn render(envs: &[EnvSummary], paint: Paint, now: Timestamp) -> String {
    if envs.is_empty() {
        return "Nothing is deployed. `freehold deploy` in the folder of a freehold.toml changes that."
            .into();
    }
    envs.iter().map(|env| render_env(env, paint, now)).collect::<Vec<_>>().join("\n\n")
}

fn render_env(env: &EnvSummary, paint: Paint, now: Timestamp) -> String {
    let mut instances =
        Table::new(&["INSTANCE", "PROCESS", "RELEASE", "STATE", "SERVING", "RESTARTS", "AGE", "ADDRESS"]);
    for one in &env.instances {
        instances.row([
            one.id.to_string().into(),
            one.process.to_string().into(),
            release(one.release).into(),
            state(one),
            yes_or_no(one.serving),
            one.restarts.to_string().into(),
            one.started.map_or("-".into(), |started| time::age(started, now)).into(),
            one.address.to_string().into(),
        ]);
    }
    let mut lines = vec![headline(env, paint), instances.render(paint, 2, "no instances")];
    lines.extend(env.instances.iter().filter_map(|one| trouble(one, paint)));
    lines.extend(under_way(env, paint, now));
    if !env.endpoints.is_empty() {
        lines.push(endpoints(&env.endpoints, paint, 2));
    }
    lines.join("\n")
}

fn headline(env: &EnvSummary, paint: Paint) -> String {
    let name = paint.bold(&format!("{}/{}", env.app, env.env));
    if env.release.is_none() && env.rollout.is_none() && env.instances.is_empty() {
        let why = env
            .receipt
            .map(|receipt| format!("; `freehold receipt {receipt}` says how the last deploy went"));
        return format!("{name}  {}{}", paint.note("no release has run yet"), why.unwrap_or_default());
    }
    let healthy = env.instances.iter().filter(|one| one.healthy).count();
    let health = format!("{healthy} of {} healthy", env.instances.len());
    let all = healthy == env.instances.len();
    let health = paint.tone(if all { Tone::Good } else { Tone::Note }, &health);
    let rollout = match (env.rollout, env.receipt) {
        (Some(_), Some(receipt)) => paint.note(&format!("  rollout under way, {receipt}")),
        (Some(_), None) => paint.note("  rollout under way"),
        _ => String::new(),
    };
    format!("{name}  {}  {health}{rollout}", release(env.release))
}

/// What the rollout is at, what it waits for, and what waits for it.
fn under_way(env: &EnvSummary, paint: Paint, now: Timestamp) -> Vec<String> {
    let mut lines = vec![];
    if let Some(step) = &env.step {
        lines.push(receipt::step_line(step, paint));
        lines.extend(step.waiting.as_ref().map(|waiting| receipt::waiting_line(waiting, paint, now)));
    }
    lines.extend(env.queued.map(|queued| format!("  {} {queued} waits for its turn", paint.note("…"))));
    lines
}

/// `v3`, or `-` where there is none.
fn release(number: Option<u32>) -> String {
    number.map_or("-".into(), |number| format!("v{number}"))
}

fn state(one: &InstanceSummary) -> Cell {
    match (one.phase, one.healthy) {
        (Phase::Running, true) => cell("healthy", Tone::Good),
        (Phase::Running, false) => cell("running, not healthy", Tone::Note),
        (Phase::Backoff, _) => cell("waits to restart", Tone::Bad),
        (Phase::Failed, _) => cell("failed", Tone::Bad),
        (Phase::Pending, _) => cell("pending", Tone::Note),
        (Phase::Pulling, _) => cell("fetches its image", Tone::Note),
        (Phase::Stopping, _) => cell("stopping", Tone::Dim),
        (Phase::Stopped, _) => cell("stopped", Tone::Dim),
    }
}

fn yes_or_no(yes: bool) -> Cell {
    if yes { cell("yes", Tone::Good) } else { cell("no", Tone::Dim) }
}

fn trouble(one: &InstanceSummary, paint: Paint) -> Option<String> {
    let message = one.message.as_ref().filter(|_| !one.healthy)?;
    Some(format!("  {} {}: {message}", paint.bad("!"), one.id))
}

/// A table of endpoints, each line after `indent` spaces.
pub(crate) fn endpoints(endpoints: &[EndpointSummary], paint: Paint, indent: usize) -> String {
    let mut table = Table::new(&[
        "ENDPOINT",
        "APP",
        "PROCESS",
        "TARGET",
        "BACKENDS",
        "STATE",
        "OPEN",
        "IN",
        "OUT",
        "REACHED AT",
    ]);
    for one in endpoints {
        let state = match (one.listening, &one.message) {
            (true, _) => cell("listening", Tone::Good),
            (false, Some(message)) => cell(message.clone(), Tone::Bad),
            (false, None) => cell("not yet", Tone::Note),
        };
        table.row([
            one.name.clone().into(),
            format!("{}/{}", one.app, one.env).into(),
            one.process.to_string().into(),
            one.target.to_string().into(),
            one.backends.to_string().into(),
            state,
            carried(one, |traffic| traffic.active.to_string()),
            carried(one, |traffic| time::size(Bytes(traffic.bytes_in))),
            carried(one, |traffic| time::size(Bytes(traffic.bytes_out))),
            one.addresses.join(" ").into(),
        ]);
    }
    table.render(paint, indent, "no endpoints")
}

fn carried(one: &EndpointSummary, number: impl Fn(&EndpointTraffic) -> String) -> Cell {
    one.traffic.as_ref().map_or("-".to_owned(), number).into()
}

/// A table of the instances of several envs.
pub(crate) fn instances(envs: &[EnvSummary], paint: Paint, now: Timestamp) -> String {
    let mut table =
        Table::new(&["INSTANCE", "APP", "PROCESS", "RELEASE", "STATE", "SERVING", "RESTARTS", "AGE"]);
    for env in envs {
        for one in &env.instances {
            table.row([
                one.id.to_string().into(),
                format!("{}/{}", env.app, env.env).into(),
                one.process.to_string().into(),
                release(one.release).into(),
                state(one),
                yes_or_no(one.serving),
                one.restarts.to_string().into(),
                one.started.map_or("-".into(), |started| time::age(started, now)).into(),
            ]);
        }
    }
    table.render(paint, 0, "no instances")
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{EndpointId, EnvId, InstanceId};

    fn env() -> EnvSummary {
        let started = Timestamp::from_second(1_800_000_000).unwrap();
        EnvSummary {
            project: "default".into(),
            app: "shop".into(),
            env: "prod".into(),
            id: EnvId(Default::default()),
            release: Some(2),
            rollout: None,
            receipt: None,
            step: None,
            queued: None,
            instances: vec![InstanceSummary {
                id: InstanceId(Default::default()),
                process: "web".parse().unwrap(),
                release: Some(2),
                phase: Phase::Backoff,
                healthy: false,
                serving: true,
                restarts: 3,
                started: Some(started),
                address: "10.210.0.2".parse().unwrap(),
                message: Some("exited with code 1".into()),
            }],
            endpoints: vec![EndpointSummary {
                id: EndpointId(Default::default()),
                app: "shop".into(),
                env: "prod".into(),
                process: "web".parse().unwrap(),
                name: "tcp/8000".into(),
                target: 8080,
                listening: true,
                backends: 0,
                addresses: vec!["127.0.0.1:8000".into(), "[::1]:8000".into()],
                message: None,
                traffic: None,
            }],
        }
    }

    #[test]
    fn an_env_that_is_not_well_says_why() {
        let env = env();
        let now = Timestamp::from_second(1_800_000_300).unwrap();
        let text = render(std::slice::from_ref(&env), Paint::plain(), now);
        for part in [
            "shop/prod  v2  0 of 1 healthy",
            "waits to restart",
            "5m",
            "! ins_00000000000000000000000000: exited with code 1",
            "tcp/8000",
            "127.0.0.1:8000 [::1]:8000",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn nothing_deployed_says_what_to_do() {
        assert!(render(&[], Paint::plain(), Timestamp::UNIX_EPOCH).contains("freehold deploy"));
    }
}
