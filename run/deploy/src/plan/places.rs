//! Where a process may run and would rather, as the fields of a plan's change.

use freehold_model::{
    Name, Selector, Spread,
    manifest::{DEFAULT_LOST, Process},
};

/// What the manifest says, key by key; what it leaves at its default is left out.
pub(super) fn fields(process: &Process) -> Vec<(String, String)> {
    let affinity = &process.affinity;
    let apart: Vec<&str> = affinity.apart.iter().map(Name::as_str).collect();
    let tolerate: Vec<&str> = process.tolerate.iter().map(|it| it.as_str()).collect();
    let priority = if process.priority == 0 { String::new() } else { process.priority.to_string() };
    let lost =
        if process.lost_after == DEFAULT_LOST { String::new() } else { process.lost_after.to_string() };
    let all = [
        ("affinity.require", selector(&affinity.require)),
        ("affinity.prefer", selector(&affinity.prefer)),
        ("affinity.apart", apart.join(", ")),
        ("spread", process.spread.iter().map(spread).collect::<Vec<_>>().join(", ")),
        ("tolerate", tolerate.join(", ")),
        ("priority", priority),
        ("lost_after", lost),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.into(), value)).collect()
}

fn selector(selector: &Selector) -> String {
    let one =
        |(key, values): (&freehold_model::LabelKey, &Vec<String>)| format!("{key}={}", values.join("|"));
    selector.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn spread(spread: &Spread) -> String {
    match spread.max_skew {
        Some(max) => format!("{} (max_skew {max})", spread.over),
        None => spread.over.to_string(),
    }
}
