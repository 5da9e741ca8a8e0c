//! A receipt for people: what was asked, what was done, and how it ended.

use super::{Paint, paint::Tone, plan::shorten, time};
use freehold_model::{Operation, Receipt, Step, Waiting, kinds::Verdict};
use jiff::Timestamp;

/// The whole receipt.
pub(crate) fn render(receipt: &Receipt, paint: Paint, now: Timestamp) -> String {
    let (spec, status) = (&receipt.spec, &receipt.status);
    let mut lines = vec![
        format!("{}  {}", paint.bold(&receipt.id.to_string()), verdict(receipt, paint)),
        format!("  {}", headline(receipt)),
        format!("  asked by {} {}", spec.actor, time::ago(spec.accepted, now)),
        format!("  plan {}", spec.plan_hash.short()),
    ];
    lines.extend(spec.manifest_hash.as_ref().map(|hash| format!("  manifest {}", hash.short())));
    lines.extend(status.supersedes.map(|old| format!("  took the place of {old}, which waited")));
    lines.extend(spec.images.iter().map(|(process, digest)| format!("  image of {process}: {digest}")));
    lines.extend(spec.secrets.iter().map(|(name, version)| format!("  secret {name}: version {version}")));
    if let Some(reason) = &status.reason {
        lines.push(format!("  {reason}"));
    }
    lines.extend(status.serves.as_ref().map(|seen| format!("  when it ended: {seen}")));
    if !status.steps.is_empty() {
        lines.push(paint.bold("steps"));
        for (at, step) in status.steps.iter().enumerate() {
            lines.push(step_line(step, failed(receipt, at), paint));
            let waiting = step.waiting.as_ref().filter(|_| step.finished.is_none());
            lines.extend(waiting.map(|waiting| waiting_line(waiting, paint, now)));
        }
    }
    if !status.instances.is_empty() {
        lines.push(paint.bold("instances at the end"));
        lines.extend(status.instances.iter().map(|one| {
            let health = if one.healthy { paint.good("healthy") } else { paint.bad("not healthy") };
            let image = one.image.as_ref().map_or("no image".into(), |image| shorten(image.as_str()));
            format!("  {} {}  {image}  {health}", one.id, one.process)
        }));
    }
    lines.extend(log_tail(receipt, paint));
    lines.join("\n")
}

/// `deploy shop/prod v3 → v4`.
pub(crate) fn headline(receipt: &Receipt) -> String {
    let spec = &receipt.spec;
    let verb = match spec.operation {
        Operation::Deploy => "deploy",
        Operation::Rollback => "roll back",
        Operation::Remove => "remove",
        Operation::Move => "move",
    };
    let number = |n: Option<u32>| n.map(|n| format!("v{n}"));
    let releases = match (number(spec.previous_number), number(spec.release_number)) {
        (Some(old), Some(new)) => format!(" {old} → {new}"),
        (None, Some(new)) => format!(" {new}"),
        _ => String::new(),
    };
    format!("{verb} {}/{}{releases}", spec.app, spec.env)
}

/// How it ended, in a word.
pub(crate) fn verdict(receipt: &Receipt, paint: Paint) -> String {
    let (text, tone) = verdict_word(receipt);
    paint.tone(tone, text)
}

/// The same, uncoloured, with its meaning.
pub(crate) fn verdict_word(receipt: &Receipt) -> (&'static str, Tone) {
    match receipt.status.verdict {
        Some(Verdict::Succeeded) => ("succeeded", Tone::Good),
        Some(Verdict::Failed) => ("failed", Tone::Bad),
        Some(verdict) => (verdict.word(), Tone::Dim),
        None if receipt.status.behind.is_some() => ("queued", Tone::Note),
        None => ("running", Tone::Note),
    }
}

/// One step: `✓ start  2 instances of web  1.3 s`.
pub(crate) fn step_line(step: &Step, failed: bool, paint: Paint) -> String {
    let (mark, time) = match step.finished {
        Some(finished) if failed => (paint.bad("✗"), time::took(step.started, finished)),
        Some(finished) => (paint.good("✓"), time::took(step.started, finished)),
        None => (paint.note("…"), String::new()),
    };
    format!("  {mark} {:<8} {}  {}", step.name, step.detail, paint.dim(&time)).trim_end().to_owned()
}

/// Whether step `at` is the one that did not get where it should: what was undone right after it, or what was
/// under way when all of it ended otherwise than well.
pub(crate) fn failed(receipt: &Receipt, at: usize) -> bool {
    let steps = &receipt.status.steps;
    let undone = steps.iter().position(|step| step.name == "restore");
    let ended = receipt.status.verdict.is_some_and(|verdict| verdict != Verdict::Succeeded);
    match undone {
        Some(undone) => at + 1 == undone,
        None => ended && at + 1 == steps.len(),
    }
}

/// What a step waits for: `· web-1 is pulling its image, for 12 s, at most 5m`.
pub(crate) fn waiting_line(waiting: &Waiting, paint: Paint, now: Timestamp) -> String {
    let since = time::age(waiting.since, now);
    let until = waiting.deadline.map(|deadline| format!(", given up in {}", time::age(now, deadline)));
    let text = format!("{}, for {since}{}", waiting.on, until.unwrap_or_default());
    format!("    {} {}", paint.note("·"), paint.dim(&text))
}

/// The last lines of the instance that failed.
pub(crate) fn log_tail(receipt: &Receipt, paint: Paint) -> Vec<String> {
    let tail = &receipt.status.log_tail;
    if tail.is_empty() {
        return vec![];
    }
    let mut lines = vec![paint.bold("last lines of what failed")];
    lines.extend(tail.iter().map(|line| format!("  {} {line}", paint.dim("│"))));
    lines
}

/// `healthy in 0.4 s`, and when all of it was done if that took longer: old instances may stop slowly.
pub(crate) fn healthy_in(receipt: &Receipt) -> String {
    let accepted = receipt.spec.accepted;
    // Of several starts the last: until then not all was healthy.
    let end_of = |name: &str| {
        receipt.status.steps.iter().rev().find(|step| step.name == name).and_then(|step| step.finished)
    };
    let done = receipt.status.finished;
    let Some(healthy) = end_of("start").max(end_of("replace")).or_else(|| end_of("shift")).or(done) else {
        return "healthy".into();
    };
    let text = format!("healthy in {}", time::took(accepted, healthy));
    match done {
        Some(done) if done.duration_since(healthy).as_secs() >= 1 => {
            format!("{text}, done in {}", time::took(accepted, done))
        }
        _ => text,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use freehold_model::{Actor, Digest, ReceiptId, ReceiptSpec};

    pub(crate) fn receipt() -> Receipt {
        let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let spec = ReceiptSpec {
            operation: Operation::Deploy,
            actor: Actor::User("admin".into()),
            app: "shop".parse().unwrap(),
            env: "prod".parse().unwrap(),
            plan_hash: Digest::of(b"plan"),
            manifest_hash: None,
            release: None,
            release_number: Some(2),
            previous: None,
            previous_number: Some(1),
            images: Default::default(),
            secrets: Default::default(),
            accepted: at(0),
            queued: None,
        };
        let mut receipt = Receipt::new(ReceiptId(Default::default()), "r", None, spec, at(0));
        let step = |name: &str, detail: &str, from, to: Option<i64>| Step {
            name: name.into(),
            detail: detail.into(),
            started: at(from),
            finished: to.map(at),
            waiting: None,
        };
        receipt.status.steps =
            vec![step("start", "2 instances of web", 0, Some(3)), step("shift", "tcp/8000", 3, None)];
        receipt
    }

    #[test]
    fn a_receipt_names_the_releases_and_the_steps() {
        let mut receipt = receipt();
        assert_eq!(headline(&receipt), "deploy shop/prod v1 → v2");
        assert_eq!(
            step_line(&receipt.status.steps[0], false, Paint::plain()),
            "  ✓ start    2 instances of web  3.0 s"
        );
        assert_eq!(step_line(&receipt.status.steps[1], false, Paint::plain()), "  … shift    tcp/8000");
        assert_eq!(healthy_in(&receipt), "healthy in 3.0 s");
        receipt.status.finished =
            receipt.status.steps[0].finished.map(|at| at + jiff::SignedDuration::from_secs(10));
        assert_eq!(healthy_in(&receipt), "healthy in 3.0 s, done in 13.0 s");
        let mut again = receipt.clone();
        let later = Step { finished: again.status.finished, ..again.status.steps[0].clone() };
        again.status.steps.insert(1, later);
        assert_eq!(healthy_in(&again), "healthy in 13.0 s", "of several starts the last counts");
        receipt.status.verdict = Some(Verdict::Failed);
        let restore = Step { name: "restore".into(), ..receipt.status.steps[0].clone() };
        receipt.status.steps = vec![receipt.status.steps[0].clone(), restore];
        assert!(failed(&receipt, 0) && !failed(&receipt, 1));
        receipt.status.reason = Some("web exited twice".into());
        receipt.status.log_tail = vec!["panic: no config".into()];
        let text = render(&receipt, Paint::plain(), receipt.spec.accepted);
        for part in ["failed", "web exited twice", "│ panic: no config", "asked by", "✗ start", "✓ restore"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
