//! How envs are, at a glance: releases, instances, endpoints.

use super::{
    Paint,
    paint::Tone,
    receipt,
    table::{Cell, Table, cell},
    time,
};
use freehold_model::{
    Bytes, Name, Phase,
    api::{EndpointSummary, EnvSummary, InstanceSummary, ProcessSummary},
    traffic::EndpointTraffic,
};
use jiff::Timestamp;

/// For whom it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) paint: Paint,
    /// The columns of the terminal.
    pub(crate) width: usize,
    /// Show all there is.
    pub(crate) wide: bool,
}

/// Every env, one after another.
pub(crate) fn render(envs: &[EnvSummary], view: View, now: Timestamp) -> String {
    if envs.is_empty() {
        return "Nothing is deployed. `freehold deploy` in the folder of a freehold.toml changes that."
            .into();
    }
    envs.iter().map(|env| render_env(env, view, now)).collect::<Vec<_>>().join("\n\n")
}

fn render_env(env: &EnvSummary, view: View, now: Timestamp) -> String {
    let paint = view.paint;
    let mut lines = vec![headline(env, view, now)];
    lines.extend(processes(env, view, now));
    lines.extend(under_way(env, paint, now));
    lines.extend(env.endpoints.iter().map(|one| reached(one, view)));
    lines.join("\n")
}

/// `web  2/2  ● 8pg60h vm 4m  ● fkhtmx vm 4m`, and beneath it why one of them is not well.
fn processes(env: &EnvSummary, view: View, now: Timestamp) -> Vec<String> {
    let mut names: Vec<&Name> = env.processes.iter().map(|it| &it.process).collect();
    names.extend(env.instances.iter().map(|it| &it.process));
    names.sort();
    names.dedup();
    let widest = names.iter().map(|name| name.as_str().len()).max().unwrap_or(0);
    let mut lines = vec![];
    for name in names {
        let wanted = env.processes.iter().find(|it| it.process == *name);
        let (healthy, count) = wanted.map_or((0, 0), |it| (it.healthy, it.wanted));
        let tone = if healthy == count { Tone::Good } else { Tone::Note };
        let figures = format!("{healthy}/{count}");
        let head = format!("  {name:<widest$}  {}", view.paint.tone(tone, &format!("{figures:<5}")));
        let indent = 2 + widest + 2 + figures.len().max(5);
        let all: Vec<&InstanceSummary> = env.instances.iter().filter(|it| it.process == *name).collect();
        let cells: Vec<(String, usize)> = all.iter().map(|one| cell_of(one, view, now)).collect();
        lines.extend(flow(head, indent, &cells, view.width));
        let ill = all.iter().filter(|one| !one.healthy);
        lines.extend(ill.filter_map(|one| trouble(one, view.paint)));
        let missing = wanted.and_then(|it| it.missing.as_ref());
        lines.extend(missing.map(|why| format!("  {} {why}", view.paint.bad("!"))));
    }
    lines
}

/// Cells after a head, as many to a line as fit, three spaces between.
fn flow(head: String, indent: usize, cells: &[(String, usize)], width: usize) -> Vec<String> {
    let (mut lines, mut line, mut at) = (vec![], head, indent);
    for (n, (text, columns)) in cells.iter().enumerate() {
        let gap = if n == 0 { 1 } else { 3 };
        if n > 0 && at + gap + columns > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent + 1)));
            at = indent + 1;
        } else {
            line.push_str(&" ".repeat(gap));
            at += gap;
        }
        line.push_str(text);
        at += columns;
    }
    lines.push(line);
    lines
}

/// One instance in a few words, and how many columns that takes.
fn cell_of(one: &InstanceSummary, view: View, now: Timestamp) -> (String, usize) {
    let (mark, tone) = match (one.healthy, one.serving) {
        (true, true) => ("●", Tone::Good),
        (true, false) => ("◐", Tone::Note),
        (false, _) => ("○", Tone::Bad),
    };
    let mut words = vec![short(one)];
    words.extend(one.node.clone());
    words.extend(one.started.map(|started| time::age(started, now)));
    if !(one.healthy && one.serving) {
        words.push(state(one).to_string());
    }
    match one.restarts {
        0 => {}
        1 => words.push("1 restart".into()),
        many => words.push(format!("{many} restarts")),
    }
    let text = words.join(" ");
    let columns = 2 + text.chars().count();
    (format!("{} {text}", view.paint.tone(tone, mark)), columns)
}

/// The end of its id: what logs show, and every command takes.
fn short(one: &InstanceSummary) -> String {
    let id = one.id.to_string();
    id[id.len() - 6..].to_owned()
}

/// Where it is reached, first of all: `127.0.0.1:8000  → web`.
fn reached(one: &EndpointSummary, view: View) -> String {
    let shown = |address: &&String| view.wide || !address.starts_with('[');
    let addresses: Vec<&str> = one.addresses.iter().filter(shown).map(String::as_str).collect();
    let place = match (one.listening, addresses.is_empty(), &one.message) {
        (true, false, _) => view.paint.bold(&addresses.join("  ")),
        (true, true, _) => format!("{}  {}", one.name, view.paint.dim("`--wide` shows its addresses")),
        (false, _, Some(why)) => format!("{}  {}", one.name, view.paint.bad(&format!("is not open: {why}"))),
        (false, _, None) => format!("{}  {}", one.name, view.paint.note("is not open yet")),
    };
    let nobody = match one.listening && one.backends == 0 {
        true => format!("  {}", view.paint.note("no instance answers")),
        false => String::new(),
    };
    format!("  {place}  → {} ({}){nobody}", one.process, one.name)
}

fn headline(env: &EnvSummary, view: View, now: Timestamp) -> String {
    let paint = view.paint;
    let title = format!("{}/{}", env.app, env.env);
    let name = paint.bold(&title);
    if env.release.is_none() && env.rollout.is_none() && env.instances.is_empty() {
        let why = env
            .receipt
            .map(|receipt| format!("; `freehold receipt {receipt}` says how the last deploy went"));
        return format!("{name}  {}{}", paint.note("no release has run yet"), why.unwrap_or_default());
    }
    let sum = |of: fn(&ProcessSummary) -> u32| env.processes.iter().map(of).sum::<u32>();
    let (wanted, healthy) = (sum(|it| it.wanted), sum(|it| it.healthy));
    let health = format!("{healthy} of {wanted} healthy");
    let tone = if healthy == wanted { Tone::Good } else { Tone::Note };
    let rollout = match (env.rollout, env.receipt) {
        (Some(_), Some(receipt)) => format!("  rollout under way, {receipt}"),
        (Some(_), None) => "  rollout under way".into(),
        _ => String::new(),
    };
    let plain = format!("{title}  {}  {health}{rollout}", release(env.release));
    let left =
        format!("{name}  {}  {}{}", release(env.release), paint.tone(tone, &health), paint.note(&rollout));
    let Some(deployed) = env.deployed.as_ref().filter(|_| env.rollout.is_none()) else { return left };
    let by = deployed.by.to_string();
    let by = by.strip_prefix("user:").unwrap_or(&by);
    let right = format!("deployed {} by {by}", time::ago(deployed.at, now));
    let (used, more) = (plain.chars().count(), right.chars().count());
    // At the right edge where there is one, and not at all where there is no room.
    match view.width.checked_sub(used + more) {
        Some(gap) if gap >= 2 => format!("{left}{}{}", " ".repeat(gap.min(40)), paint.dim(&right)),
        _ => left,
    }
}

/// What the rollout is at, what it waits for, and what waits for it.
fn under_way(env: &EnvSummary, paint: Paint, now: Timestamp) -> Vec<String> {
    let mut lines = vec![];
    if let Some(step) = &env.step {
        lines.push(receipt::step_line(step, false, paint));
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
    match (one.phase, one.healthy, one.serving) {
        (Phase::Running, true, true) => cell("healthy", Tone::Good),
        (Phase::Running, true, false) => cell("healthy, does not serve", Tone::Note),
        (Phase::Running, false, _) => cell("not healthy", Tone::Note),
        (Phase::Backoff, ..) => cell("waits to restart", Tone::Bad),
        (Phase::Failed, ..) => cell("failed", Tone::Bad),
        (Phase::Pending, ..) => cell("pending", Tone::Note),
        (Phase::Pulling, ..) => cell("fetches its image", Tone::Note),
        (Phase::Stopping, ..) => cell("stopping", Tone::Dim),
        (Phase::Stopped, ..) => cell("stopped", Tone::Dim),
    }
}

fn yes_or_no(yes: bool) -> Cell {
    if yes { cell("yes", Tone::Good) } else { cell("no", Tone::Dim) }
}

/// Why it is not well, and how it ended if it did and that is not said.
fn trouble(one: &InstanceSummary, paint: Paint) -> Option<String> {
    let message = one.message.as_ref()?;
    let exit = one.exit.as_ref().filter(|exit| !message.contains(exit.as_str()));
    let exit = exit.map(|exit| format!(" (its last run {exit})")).unwrap_or_default();
    Some(format!("  {} {}: {message}{exit}", paint.bad("!"), short(one)))
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
        Table::new(&["INSTANCE", "APP", "PROCESS", "NODE", "RELEASE", "STATE", "SERVING", "RESTARTS", "AGE"]);
    for env in envs {
        for one in &env.instances {
            table.row([
                one.id.to_string().into(),
                format!("{}/{}", env.app, env.env).into(),
                one.process.to_string().into(),
                one.node.clone().unwrap_or_else(|| "-".into()).into(),
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
            processes: vec![ProcessSummary {
                process: "web".parse().unwrap(),
                wanted: 2,
                healthy: 0,
                missing: Some("1 of 2 web is not there".into()),
            }],
            deployed: Some(freehold_model::api::Deployed {
                by: freehold_model::Actor::User("ada".into()),
                at: Timestamp::from_second(1_799_999_700).unwrap(),
            }),
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
                node: Some("vm".into()),
                exit: Some("exited with code 1".into()),
                message: Some("it waits".into()),
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

    fn view(width: usize) -> View {
        View { paint: Paint::plain(), width, wide: false }
    }

    fn instance(ulid: u128, process: &str) -> InstanceSummary {
        InstanceSummary {
            id: InstanceId(ulid.into()),
            process: process.parse().unwrap(),
            phase: Phase::Running,
            healthy: true,
            restarts: 0,
            exit: None,
            message: None,
            ..env().instances.remove(0)
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn an_env_that_is_not_well_says_why() {
        let text = render(&[env()], view(100), at(300));
        let wanted = "\
shop/prod  v2  0 of 2 healthy                                deployed 10m ago by ada
  web  0/2   ○ 000000 vm 5m waits to restart 3 restarts
  ! 000000: it waits (its last run exited with code 1)
  ! 1 of 2 web is not there
  127.0.0.1:8000  → web (tcp/8000)  no instance answers";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&text), squeezed(wanted));
    }

    #[test]
    fn what_is_wanted_counts_and_not_what_is_there() {
        let mut env = env();
        env.instances = vec![instance(1, "web")];
        env.processes[0].healthy = 1;
        assert!(render(&[env], view(100), at(300)).contains("1 of 2 healthy"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut env = env();
        env.instances = (1..12).map(|n| instance(n, "web")).collect();
        env.processes[0] =
            ProcessSummary { wanted: 11, healthy: 11, missing: None, ..env.processes[0].clone() };
        for width in [60, 80, 120] {
            let text = render(std::slice::from_ref(&env), view(width), at(300));
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{width}:\n{text}");
            assert_eq!(text.matches('●').count(), 11);
        }
    }

    #[test]
    fn ipv6_is_shown_only_when_all_is_asked_for() {
        let narrow = render(&[env()], view(100), at(300));
        assert!(!narrow.contains("[::1]"), "{narrow}");
        let wide = render(&[env()], View { wide: true, ..view(100) }, at(300));
        assert!(wide.contains("[::1]:8000"), "{wide}");
    }

    #[test]
    fn nothing_deployed_says_what_to_do() {
        assert!(render(&[], view(80), Timestamp::UNIX_EPOCH).contains("freehold deploy"));
    }
}
