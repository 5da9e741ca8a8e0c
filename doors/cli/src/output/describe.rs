//! One resource for people: what is wanted beside what was observed, why they differ, what happened last.

use super::{Paint, event, placement, plan::shorten, time, traffic};
use freehold_model::{AnyResource, Condition, api::Description};
use jiff::Timestamp;
use serde_json::Value;

/// How many children and events people see; `--json` has more.
const SHOWN: usize = 10;

/// The whole description.
pub(crate) fn render(description: &Description, paint: Paint, now: Timestamp) -> String {
    let resource = &description.resource;
    let mut lines =
        vec![format!("{}  {}", paint.bold(&title(resource)), paint.dim(&resource.id.to_string()))];
    lines.extend(path(&description.ancestors).map(|path| format!("  in {path}")));
    lines.push(format!(
        "  created {}, generation {}, version {}",
        time::ago(resource.created, now),
        resource.generation,
        resource.version
    ));
    if let Some(since) = resource.deleting {
        lines.push(format!("  {} since {}", paint.note("being deleted"), time::ago(since, now)));
    }
    lines.push(match &description.reason {
        Some(reason) => format!("  {} {reason}", paint.note("not yet as wanted:")),
        None => format!("  {}", paint.good("as wanted")),
    });
    lines.extend(section("wanted", &resource.spec, paint));
    lines.extend(placement::kept(&resource.spec, paint));
    lines.extend(section("observed", &resource.status, paint));
    lines.extend(conditions(&resource.status, paint, now));
    let traffic = description.traffic.as_ref();
    lines.extend(traffic.into_iter().flat_map(|traffic| traffic::counters(traffic, paint, now)));
    lines.extend(children(&description.children, paint, now));
    lines.push(paint.bold("last events"));
    let events = &description.events[..description.events.len().min(SHOWN)];
    lines.extend(event::lines(events, paint).lines().map(|line| format!("  {line}")));
    lines.join("\n")
}

fn title(resource: &AnyResource) -> String {
    // Receipts and rollouts have no name but their id, which follows.
    if resource.name == resource.id.to_string() {
        return resource.kind.to_string();
    }
    format!("{} {}", resource.kind, resource.name)
}

fn path(ancestors: &[AnyResource]) -> Option<String> {
    let names: Vec<&str> = ancestors.iter().map(|one| one.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" / "))
}

fn section(title: &str, value: &Value, paint: Paint) -> Vec<String> {
    let mut lines = vec![];
    fields(value, 2, &mut lines);
    if !lines.is_empty() {
        lines.insert(0, paint.bold(title));
    }
    lines
}

/// JSON as indented `key: value` lines; what is empty is left out, and conditions have their own place.
fn fields(value: &Value, indent: usize, lines: &mut Vec<String>) {
    let Value::Object(fields_of) = value else { return };
    for (key, value) in fields_of {
        match value {
            // Conditions and placements have places of their own.
            _ if key == "conditions" || key == "placed" => {}
            Value::Null => {}
            Value::Object(inner) if inner.is_empty() => {}
            Value::Array(items) if items.is_empty() => {}
            Value::Object(_) => {
                lines.push(format!("{:indent$}{key}:", ""));
                fields(value, indent + 2, lines);
            }
            Value::Array(items) if items.iter().any(|item| item.is_object()) => {
                lines.push(format!("{:indent$}{key}:", ""));
                for item in items {
                    lines.push(format!("{:indent$}- {}", "", scalar_or_fields(item), indent = indent + 2));
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(scalar).collect();
                lines.push(format!("{:indent$}{key}: {}", "", items.join(" ")));
            }
            scalar_value => lines.push(format!("{:indent$}{key}: {}", "", scalar(scalar_value))),
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => shorten(text),
        other => other.to_string(),
    }
}

fn scalar_or_fields(value: &Value) -> String {
    let Value::Object(fields) = value else { return scalar(value) };
    let shown = fields.iter().filter(|(_, value)| !value.is_null());
    shown.map(|(key, value)| format!("{key}={}", scalar(value))).collect::<Vec<_>>().join(" ")
}

fn conditions(status: &Value, paint: Paint, now: Timestamp) -> Vec<String> {
    let conditions: Vec<Condition> = status
        .get("conditions")
        .and_then(|value| serde_json::from_value(value.clone()).ok())
        .unwrap_or_default();
    let mut lines = vec![];
    if !conditions.is_empty() {
        lines.push(paint.bold("conditions"));
    }
    for one in conditions {
        let mark = if one.state { paint.good("✓") } else { paint.bad("✗") };
        let since = time::ago(one.since, now);
        lines.push(format!("  {mark} {} ({}) {} {}", one.kind, one.reason, one.message, paint.dim(&since)));
    }
    lines
}

fn children(children: &[AnyResource], paint: Paint, now: Timestamp) -> Vec<String> {
    let mut lines = vec![];
    if !children.is_empty() {
        lines.push(paint.bold("belonging to it"));
    }
    lines.extend(children.iter().take(SHOWN).map(|one| {
        format!("  {}  {}  {}", title(one), paint.dim(&one.id.to_string()), time::ago(one.created, now))
    }));
    if children.len() > SHOWN {
        lines.push(paint.dim(&format!("  and {} more; --json shows them", children.len() - SHOWN)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_becomes_indented_lines_without_what_is_empty() {
        let value = json!({
            "phase": "running", "none": null, "empty": [], "command": ["/web", "-v"],
            "template": {"cpu": "250m"}, "steps": [{"name": "start", "finished": null}],
            "conditions": [{"type": "Ready"}],
        });
        let mut lines = vec![];
        fields(&value, 2, &mut lines);
        assert_eq!(
            lines.join("\n"),
            "  command: /web -v\n  phase: running\n  steps:\n    - name=start\n  template:\n    cpu: 250m"
        );
    }
}
