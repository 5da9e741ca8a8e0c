//! `healthcheck` → `check`.

use super::{Scene, Service, command::read_words, time};
use crate::{
    draft::Check,
    keys::{self, sweep},
    node::{Node, Text, Value},
};
use freehold_model::Millis;
use std::rc::Rc;

/// The check of a service, if it has one.
pub(super) fn check(service: &Service<'_>, scene: &mut Scene<'_>) -> Option<Check> {
    let node = service.get("healthcheck")?;
    let path = service.at("healthcheck");
    sweep(node, keys::HEALTH, &path, scene.report);
    if node.get("disable").is_some_and(|disable| disable.is_true()) {
        return None;
    }
    let Some(test) = node.get("test").filter(|test| !test.is_idle()) else {
        if node.entries().iter().any(|(_, value)| !value.is_idle()) {
            let reason = "the image's own health check is not used, so that there is nothing to time";
            scene.report.lose(path, &node.at, reason, "give it a `test`");
        }
        return None;
    };
    let command = command(test, &format!("{path}.test"), scene)?;
    let report = &mut *scene.report;
    let mut times = |key: &str, least: u64| {
        let value = node.get(key).filter(|value| !matches!(value.value, Value::Null))?;
        time(value, &format!("{path}.{key}"), Millis(least), report)
    };
    // What Compose does unless told otherwise; Freehold's own times are shorter.
    let every = times("interval", 100).or(Some(Millis(30_000)));
    let timeout = times("timeout", 1).or(Some(Millis(30_000)));
    let grace = times("start_period", 0);
    let retries = node.get("retries").filter(|value| !matches!(value.value, Value::Null));
    let unhealthy_after = retries.and_then(|value| {
        let count =
            value.text().and_then(|text| text.parse::<u32>().ok()).filter(|count| (1..=1000).contains(count));
        if count.is_none() {
            report.lose(format!("{path}.retries"), &value.at, "it is no number from 1 to 1000", "");
        }
        count
    });
    Some(Check { command, every, timeout, unhealthy_after, grace })
}

/// `["CMD", …]`, `["CMD-SHELL", "…"]`, `["NONE"]`, or a line for a shell.
fn command(test: &Node, path: &str, scene: &mut Scene<'_>) -> Option<Vec<String>> {
    let shell = |line: String| Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line]);
    let words = match &test.value {
        // Not split: read as the list that Compose makes of it.
        Value::Text(_) => {
            let kind =
                Node::new(test.at.clone(), Value::Text(Text { text: "CMD-SHELL".into(), ..Text::default() }));
            let list = Value::List(vec![Rc::new(kind), Rc::new(test.clone())]);
            read_words(&Node::new(test.at.clone(), list), path, scene)?
        }
        _ => read_words(test, path, scene)?,
    };
    let (kind, rest) = words.split_first()?;
    match kind.as_str() {
        "NONE" => None,
        "CMD" if rest.first().is_some_and(|word| !word.is_empty()) => Some(rest.to_vec()),
        "CMD-SHELL" if !rest.is_empty() => shell(rest.join(" ")),
        _ => {
            scene.report.lose(path, &test.at, "it begins with none of CMD, CMD-SHELL and NONE", "");
            None
        }
    }
}
