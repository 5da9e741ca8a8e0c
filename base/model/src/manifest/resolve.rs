//! What no single value shows: names that must exist, ports that must differ, a check that must be
//! whole. Every env is resolved, whichever is asked for.

use super::{
    keys::PROBES,
    places,
    report::{Report, Span},
    scalar::shown,
    secrets,
    tree::{Data, Fields, Node},
    volumes,
    walk::nearest,
};
use std::collections::{BTreeMap, HashSet};

/// The first TCP endpoint's target of a process, and whether all its TCP endpoints have the same.
pub(super) type Targets = BTreeMap<String, (i64, bool)>;

/// Checks the whole file and answers with the processes as `env` has them.
pub(super) fn resolve(file: &Node, env: &str, report: &mut Report<'_>) -> Fields {
    distinct_ports(file.list("endpoint"), report);
    file.list("endpoint").iter().for_each(|endpoint| proxied_is_tcp(endpoint, report));
    let Some((at, base)) = file.get("process").and_then(|node| Some((&node.key, node.fields()?))) else {
        // Missing or broken, and reported: no name can be looked up.
        return Fields::new();
    };
    if base.is_empty() {
        report.error(at, "there is no process", "add a `[process.NAME]` table");
    }
    for referrer in file.list("endpoint").iter().chain(file.list("volume")) {
        known_process(referrer, base, report);
    }

    volumes::check(file, base, report);
    let targets = targets(file);
    for (name, process) in base {
        whole(process, targets.get(name), report);
        places::check(process, base, report);
    }
    ordered(base, report);
    let mut wanted = base.clone();
    for (name, node) in file.get("env").and_then(Node::fields).into_iter().flatten() {
        let over = overridden(node, base, report);
        let mut all = base.clone();
        all.extend(over.iter().map(|(process, merged)| ((*process).clone(), merged.clone())));
        ordered(&all, report);
        for (process, merged) in over {
            whole(&merged, targets.get(process), report);
            places::check(&merged, base, report);
            if name == env {
                wanted.insert(process.clone(), merged);
            }
        }
    }
    wanted
}

/// The targets of the TCP endpoints of each process: a check cannot connect to others.
pub(super) fn targets(file: &Node) -> Targets {
    let mut targets = Targets::new();
    for endpoint in file.list("endpoint").iter().filter(|endpoint| !is_udp(endpoint)) {
        if let (Some(process), Some(target)) = (endpoint.text("process"), endpoint.integer("target")) {
            let (first, same) = targets.entry(process.to_owned()).or_insert((target, true));
            *same &= *first == target;
        }
    }
    targets
}

/// The processes that one env changes, as it has them.
fn overridden<'n>(env: &'n Node, base: &Fields, report: &mut Report<'_>) -> Vec<(&'n String, Node)> {
    let mut merged = Vec::new();
    for (name, over) in env.get("process").and_then(Node::fields).into_iter().flatten() {
        match base.get(name) {
            Some(process) => merged.push((name, process.merged(over))),
            None => {
                unknown_process(&over.key, name, base, "an env can change processes, not add any", report)
            }
        }
    }
    merged
}

fn known_process(referrer: &Node, base: &Fields, report: &mut Report<'_>) {
    if let (Some(name), Some(node)) = (referrer.text("process"), referrer.get("process"))
        && !base.contains_key(name)
    {
        unknown_process(&node.span, name, base, "it must be the NAME of a `[process.NAME]`", report);
    }
}

pub(super) fn unknown_process(at: &Span, name: &str, base: &Fields, rule: &str, report: &mut Report<'_>) {
    if report.is_full() {
        return report.one_more();
    }
    let guess = nearest(name, base.keys().map(String::as_str));
    let guess = guess.map(|guess| format!("did you mean `{guess}`? ")).unwrap_or_default();
    report.error(at, format!("there is no process `{}`", shown(name)), format!("{guess}{rule}"));
}

fn distinct_ports(endpoints: &[Node], report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    for endpoint in endpoints {
        let (Some(node), Some(port)) = (endpoint.get("listen"), endpoint.integer("listen")) else { continue };
        // What is neither is reported already, and its port is nobody's.
        let is_known = endpoint.get("protocol").is_none_or(|node| matches!(node.data, Data::Text(_)));
        if is_known && !seen.insert((is_udp(endpoint), port)) {
            let message = format!("another endpoint listens on {port} already");
            report.error(&node.span, message, "give each endpoint a port of its own");
        }
    }
}

/// Whether what processes start `after` exists, and is no circle.
fn ordered(processes: &Fields, report: &mut Report<'_>) {
    for (name, process) in processes {
        for before in process.list("after") {
            let Data::Text(other) = &before.data else { continue };
            if !processes.contains_key(other) {
                let rule = "`after` names processes of this file";
                unknown_process(&before.span, other, processes, rule, report);
            } else if let Some(circle) = circle(name, other, processes) {
                let message = format!("nothing of this circle can start first: {circle}");
                report.error(&before.span, message, "remove one `after` of the circle");
            }
        }
    }
}

/// `web → db → web`, if `first` must start after `next`, and that, in the end, after `first`.
fn circle(first: &str, next: &str, processes: &Fields) -> Option<String> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::from([(next, first)]);
    let mut open = vec![next];
    while let Some(name) = open.pop() {
        if name == first {
            let mut path = vec![first];
            let mut at = from[first];
            while at != first {
                path.push(at);
                at = from[at];
            }
            path.push(first);
            path.reverse();
            return Some(path.join(" → "));
        }
        for before in processes.get(name).map(|process| process.list("after")).unwrap_or_default() {
            if let Data::Text(other) = &before.data
                && !from.contains_key(other.as_str())
            {
                from.insert(other, name);
                open.push(other);
            }
        }
    }
    None
}

fn is_udp(endpoint: &Node) -> bool {
    endpoint.text("protocol") == Some("udp")
}

/// Datagrams have no connection at whose start a header could stand.
fn proxied_is_tcp(endpoint: &Node, report: &mut Report<'_>) {
    if let (true, Some(node), Some("v1" | "v2")) =
        (is_udp(endpoint), endpoint.get("proxy_protocol"), endpoint.text("proxy_protocol"))
    {
        let help = "remove it; instances of a UDP endpoint see the node's address";
        report.error(&node.span, "the PROXY protocol is not spoken over UDP", help);
    }
    if let (true, Some(node)) = (is_udp(endpoint), endpoint.get("trusted_proxies"))
        && !endpoint.list("trusted_proxies").is_empty()
    {
        let help = "remove it; a proxy in front of a UDP endpoint cannot tell the client's address";
        report.error(&node.key, "the PROXY protocol is not spoken over UDP", help);
    }
}

/// Whether a process, with everything merged, can be run.
fn whole(process: &Node, target: Option<&(i64, bool)>, report: &mut Report<'_>) {
    for node in [process.get("command"), process.get("check").and_then(|check| check.get("command"))] {
        if let Some(Node { data: Data::List(words), .. }) = node
            && let Some(Node { data: Data::Text(word), span, .. }) = words.first()
            && word.is_empty()
        {
            report.error(span, "the program's name is empty", None);
        }
    }
    if let (Some(egress), Some("process")) = (process.get("egress"), process.text("driver"))
        && !process.list("egress").is_empty()
    {
        let help =
            "a process without isolation reaches whatever its node reaches: remove `egress`, or the `driver`";
        report.error(&egress.key, "egress cannot be enforced for `driver = \"process\"`", help);
    }
    if let (Some(_), Some(args)) = (process.get("command"), process.get("args")) {
        report.error(&args.key, "`command` and `args` are both given", "put the arguments into `command`");
    }
    secrets::distinct(process, report);
    if let Some(check @ Node { data: Data::Table(fields), .. }) = process.get("check") {
        one_probe(check, fields, target, report);
    }
}

fn one_probe(check: &Node, fields: &Fields, target: Option<&(i64, bool)>, report: &mut Report<'_>) {
    let mut probes: Vec<&Node> = PROBES.iter().filter_map(|probe| fields.get(*probe)).collect();
    probes.sort_by_key(|probe| probe.key.start);
    match probes[..] {
        [] => {
            let help = "give one of `http = \"/path\"`, `tcp = true`, `command = [..]`";
            report.error(&check.key, "the check tries nothing", help);
        }
        [_] => {}
        [_, ref rest @ ..] => {
            for probe in rest {
                let help = "keep one of `http`, `tcp` and `command`";
                report.error(&probe.key, "a check tries one thing, and this is one more", help);
            }
        }
    }
    match (fields.get("command"), fields.get("port")) {
        (Some(_), Some(port)) if probes.len() == 1 => {
            report.error(&port.key, "a command needs no port", "remove it");
        }
        (None, None) if probes.len() == 1 && !matches!(target, Some((_, true))) => {
            let why = if target.is_some() { "have different targets" } else { "are none" };
            let message =
                format!("`port` is missing, and the process's TCP endpoints, which could tell, {why}");
            report.error(&check.key, message, "add a line like: port = 8080");
        }
        _ => {}
    }
}
