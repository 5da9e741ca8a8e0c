//! A plan for people: what would be added, changed, kept and removed, where it would run, what it may
//! use, and what stops it.

use super::{Paint, diff, placement};
use freehold_model::{Operation, Plan, Problem, plan::Change};

/// The whole plan.
pub(crate) fn render(plan: &Plan, paint: Paint) -> String {
    let mut lines = vec![header(plan, paint), String::new()];
    lines.extend(diff::changes(&plan.changes, paint, diff::width()));
    if !plan.placement.is_empty() {
        lines.extend([String::new(), paint.bold("placement")]);
        for place in &plan.placement {
            let reason = paint.dim(&place.reason);
            lines.push(format!("  {} × {} on {}  {reason}", place.process, place.count, place.node_name));
            lines.extend(placement::displaces(&place.displaces, paint));
            lines.extend(placement::elsewhere(&place.elsewhere, paint));
        }
    }
    lines.extend([String::new(), cost(plan, paint)]);
    lines.extend(queue(plan, paint));
    lines.extend(plan.notes.iter().map(|note| format!("{} {note}", paint.note("note:"))));
    for blocker in &plan.blockers {
        lines.extend(blocked(blocker, paint));
    }
    lines.push(summary(plan, paint));
    lines.join("\n")
}

fn header(plan: &Plan, paint: Paint) -> String {
    let number = |release: Option<u32>| release.map(|number| format!("v{number}"));
    let releases = match (plan.operation, number(plan.current), number(plan.release)) {
        (Operation::Remove, _, _) => "removal".to_owned(),
        (_, None, Some(new)) => format!("first release {new}"),
        (_, Some(old), Some(new)) if old != new => format!("{old} → {new}"),
        (_, Some(old), _) => format!("{old}, unchanged"),
        (_, None, None) => "nothing yet".to_owned(),
    };
    let name = paint.bold(&format!("{}/{}", plan.app, plan.env));
    format!("{name}  {releases}  {}", paint.dim(&format!("plan {}", plan.hash.short())))
}

fn cost(plan: &Plan, paint: Paint) -> String {
    let cost = &plan.cost;
    let change = |before: String, after: String| match before == after {
        true => after,
        false => format!("{before} → {after}"),
    };
    let cpu = change(cost.cpu_before.to_string(), cost.cpu.to_string());
    let memory = change(cost.memory_before.to_string(), cost.memory.to_string());
    let disk = change(cost.disk_before.to_string(), cost.disk.to_string());
    format!("{}  cpu {cpu}, memory {memory}, disk {disk}", paint.bold("at most"))
}

/// What it would wait for, and whose place it would take.
fn queue(plan: &Plan, paint: Paint) -> Vec<String> {
    let waits = plan.behind.map(|front| {
        format!("{} for {front}, and is planned again when its turn comes", paint.note("waits"))
    });
    let takes = plan
        .supersedes
        .map(|old| format!("{} of {old}, which waits and then never runs", paint.note("takes the place")));
    waits.into_iter().chain(takes).collect()
}

fn blocked(problem: &Problem, paint: Paint) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{} {}", paint.bad("blocked:"), problem.title)];
    lines.extend(problem.detail.iter().flat_map(|text| text.lines()).map(|line| format!("  {line}")));
    lines.extend(problem.hint.iter().map(|hint| format!("  {} {hint}", paint.note("hint:"))));
    lines
}

fn summary(plan: &Plan, paint: Paint) -> String {
    if plan.is_noop() {
        return paint.dim("Nothing to change.");
    }
    let sum = |count: fn(&Change) -> u32| plan.changes.iter().map(count).sum::<u32>();
    let (start, keep, stop) = (sum(|c| c.start), sum(|c| c.keep), sum(|c| c.stop));
    paint.dim(&format!("Instances: {start} to start, {keep} to keep, {stop} to stop."))
}

/// Digests become their first twelve digits: nobody compares 64 by eye.
pub(crate) fn shorten(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut short = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, digest) = rest.split_at(at);
        let hex = digest[PREFIX.len()..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let keep = if hex == 64 { 12 } else { hex };
        short.push_str(before);
        short.push_str(&digest[if hex == 64 { PREFIX.len() } else { 0 }..PREFIX.len() + keep]);
        short.push_str(if hex == 64 { "…" } else { "" });
        rest = &digest[PREFIX.len() + hex..];
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{
        Bytes, Code, Digest, Millicores, NodeId,
        plan::{Action, Cost, Field, Placement},
    };
    use std::collections::BTreeMap;

    fn change(action: Action, kind: &str, name: &str, counts: [u32; 3], fields: Vec<Field>) -> Change {
        let [start, keep, stop] = counts;
        Change { action, kind: kind.into(), name: name.into(), start, keep, stop, fields }
    }

    fn plan() -> Plan {
        let image = |text: &str| Some(format!("shop:1 {}", Digest::of(text.as_bytes())));
        let field = Field { path: "image".into(), before: image("a"), after: image("b") };
        Plan {
            operation: Operation::Deploy,
            project: "default".parse().unwrap(),
            app: "shop".parse().unwrap(),
            env: "prod".parse().unwrap(),
            release: Some(4),
            current: Some(3),
            manifest: None,
            manifest_hash: None,
            images: BTreeMap::new(),
            secrets: BTreeMap::new(),
            revisions: BTreeMap::new(),
            changes: vec![
                change(Action::Change, "process", "web", [2, 0, 2], vec![field]),
                change(Action::Keep, "process", "worker", [0, 1, 0], vec![]),
                change(Action::Add, "endpoint", "tcp/8000", [0, 0, 0], vec![]),
            ],
            placement: vec![Placement {
                process: "web".parse().unwrap(),
                node: NodeId(Default::default()),
                node_name: "desk".into(),
                count: 2,
                reason: "it has the most memory free".into(),
                displaces: vec![],
                elsewhere: vec![],
            }],
            cost: Cost {
                cpu: Millicores(500),
                memory: Bytes(128 << 20),
                cpu_before: Millicores(500),
                memory_before: Bytes(64 << 20),
                disk: Bytes(20 << 30),
                disk_before: Bytes(20 << 30),
            },
            blockers: vec![],
            restart: false,
            renew: false,
            hash: Digest::of(b"plan"),
            behind: None,
            notes: vec![],
            supersedes: None,
        }
    }

    #[test]
    fn a_plan_reads_from_what_changes_to_what_it_costs() {
        let expected = format!(
            "\
shop/prod  v3 → v4  plan {}

  ~ process web  start 2, stop 2
      ~ image: shop:1 {}… → shop:1 {}…
  = process worker  keep 1
  + endpoint tcp/8000

placement
  web × 2 on desk  it has the most memory free

at most  cpu 500m, memory 64MiB → 128MiB, disk 20GiB
Instances: 2 to start, 1 to keep, 2 to stop.",
            Digest::of(b"plan").short(),
            Digest::of(b"a").short(),
            Digest::of(b"b").short(),
        );
        assert_eq!(render(&plan(), Paint::plain()), expected);
    }

    #[test]
    fn what_stops_it_is_said_with_the_way_out() {
        let mut plan = plan();
        plan.blockers =
            vec![Problem::new(Code::Unplaceable, "no node fits").detail("needs 9GiB").hint("less")];
        let text = render(&plan, Paint::plain());
        assert!(text.contains("blocked: no node fits\n  needs 9GiB\n  hint: less"), "{text}");
    }

    #[test]
    fn only_whole_digests_are_shortened() {
        let digest = Digest::of(b"x");
        let text = format!("a@{digest} and {digest}, sha256:12");
        let short = digest.short();
        assert_eq!(shorten(&text), format!("a@{short}… and {short}…, sha256:12"));
    }
}
