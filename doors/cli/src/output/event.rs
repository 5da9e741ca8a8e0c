//! Events for people: one line each.

use super::Paint;
use freehold_model::Event;
use serde_json::Value;

/// `2026-01-31 12:00:00  rollout.failed  rol_…  controller:rollout  reason=…`
pub(crate) fn line(event: &Event, paint: Paint) -> String {
    let time = event.time.strftime("%Y-%m-%d %H:%M:%S");
    let data = details(&event.data);
    format!(
        "{}  {:<20}  {}  {}  {data}",
        paint.dim(&format!("{:>6} {time}", event.seq)),
        event.what,
        event.subject,
        paint.dim(&event.actor.to_string()),
    )
    .trim_end()
    .to_owned()
}

/// Several events, in the order given.
pub(crate) fn lines(events: &[Event], paint: Paint) -> String {
    match events {
        [] => paint.dim("no events"),
        events => events.iter().map(|event| line(event, paint)).collect::<Vec<_>>().join("\n"),
    }
}

/// What every event of a commit carries: it says nothing to people.
const DULL: [&str; 3] = ["version", "generation", "parent"];

/// The simple details of an event; those within lists and objects are for `--json`.
fn details(data: &Value) -> String {
    let Value::Object(fields) = data else { return String::new() };
    let telling = fields.iter().filter(|(key, _)| !DULL.contains(&key.as_str()));
    let simple = telling.filter_map(|(key, value)| match value {
        Value::String(text) => Some(format!("{key}={}", text.lines().next().unwrap_or_default())),
        Value::Number(_) | Value::Bool(_) => Some(format!("{key}={value}")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    });
    simple.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn details_are_the_simple_fields() {
        let data = json!({"reason": "web exited\nmore", "count": 2, "ok": false, "list": [1], "none": null, "version": 9});
        assert_eq!(details(&data), "count=2 ok=false reason=web exited");
        assert_eq!(details(&Value::Null), "");
    }
}
