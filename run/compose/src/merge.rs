//! One file laid over another, and a service over what it extends, by the rules of compose-go (`override`).
//!
//! Tables merge, lists are joined, single values are replaced, but for the keys below. `!reset` takes a key
//! away, `!override` puts its value in the place of the other.

use crate::node::{Key, Mark, Node, Text, Value};
use std::rc::Rc;

/// How two values of a key become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// By their kinds.
    Kind,
    /// The later counts alone.
    Whole,
    /// A table, or a list of `NAME=value`.
    Pairs,
    /// A table, or a list of its keys.
    Names,
    /// A list, or its only element.
    Sequence,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Whole,
        ["services", _, "environment" | "labels" | "sysctls" | "annotations" | "extra_hosts"]
        | ["services", _, "deploy" | "build", "labels" | "args"]
        | ["networks" | "volumes", _, "labels"] => Rule::Pairs,
        ["services", _, "depends_on" | "networks"] => Rule::Names,
        ["services", _, "env_file" | "tmpfs" | "dns" | "dns_opt" | "dns_search"] => Rule::Sequence,
        _ => Rule::Kind,
    }
}

/// `over` laid over `below`, both at `path`.
pub(crate) fn laid_over(below: &Rc<Node>, over: &Rc<Node>, path: &mut Vec<String>) -> Rc<Node> {
    if over.mark != Mark::None {
        return over.clone();
    }
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let rule = rule(&names);
    let (below, over) = match rule {
        Rule::Whole => return over.clone(),
        Rule::Pairs => (as_map(below), as_map(over)),
        Rule::Names => (as_names(below), as_names(over)),
        Rule::Sequence => (as_list(below), as_list(over)),
        Rule::Kind => (below.clone(), over.clone()),
    };
    match (&below.value, &over.value) {
        (Value::Map(first), Value::Map(second)) => over.with(Value::Map(merged(first, second, path))),
        (Value::List(first), Value::List(second)) => {
            over.with(Value::List(first.iter().chain(second).cloned().collect()))
        }
        (Value::Map(_) | Value::List(_), Value::Null) => below,
        _ => over,
    }
}

fn merged(
    first: &[(Key, Rc<Node>)],
    second: &[(Key, Rc<Node>)],
    path: &mut Vec<String>,
) -> Vec<(Key, Rc<Node>)> {
    let mut entries = first.to_vec();
    for (key, node) in second {
        match entries.iter_mut().find(|(known, _)| known.name == key.name) {
            Some((known, below)) => {
                path.push(key.name.clone());
                *below = laid_over(below, node, path);
                path.pop();
                known.at = key.at.clone();
            }
            None => entries.push((key.clone(), node.clone())),
        }
    }
    entries
}

/// Without what `!reset` takes away.
pub(crate) fn pruned(node: &Rc<Node>) -> Rc<Node> {
    match &node.value {
        Value::Map(entries) => {
            let kept = entries.iter().filter(|(_, node)| node.mark != Mark::Reset);
            node.with(Value::Map(kept.map(|(key, node)| (key.clone(), pruned(node))).collect()))
        }
        Value::List(items) => {
            let kept = items.iter().filter(|item| item.mark != Mark::Reset);
            node.with(Value::List(kept.map(pruned).collect()))
        }
        _ => node.clone(),
    }
}

/// Whether two values say the same.
pub(crate) fn is_same(one: &Rc<Node>, other: &Rc<Node>) -> bool {
    match (&one.value, &other.value) {
        (Value::Null, Value::Null) => true,
        (Value::Text(one), Value::Text(other)) => one.text == other.text,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Map(first), Value::Map(second)) => {
            let in_second = |(key, node): &(Key, Rc<Node>)| {
                other.get(&key.name).is_some_and(|other| is_same(node, other))
            };
            first.len() == second.len() && first.iter().all(in_second)
        }
        _ => false,
    }
}

/// `[A=1, B]` as a table.
pub(crate) fn as_map(node: &Rc<Node>) -> Rc<Node> {
    let Value::List(items) = &node.value else { return node.clone() };
    let entries = items.iter().filter_map(|item| {
        let text = item.scalar()?;
        let (name, value) = match text.text.split_once('=') {
            Some((name, value)) => (name, Value::Text(Text { text: value.to_owned(), ..text.clone() })),
            None => (text.text.as_str(), Value::Null),
        };
        let key = Key { at: item.at.clone(), name: name.to_owned() };
        Some((key, item.with(value)))
    });
    node.with(Value::Map(later(entries.collect())))
}

/// `[a, b]` as a table of nothing.
fn as_names(node: &Rc<Node>) -> Rc<Node> {
    let Value::List(items) = &node.value else { return node.clone() };
    let entries = items.iter().filter_map(|item| {
        let key = Key { at: item.at.clone(), name: item.text()?.to_owned() };
        Some((key, item.with(Value::Null)))
    });
    node.with(Value::Map(later(entries.collect())))
}

/// Of entries with one name, the last in the place of the first.
fn later(entries: Vec<(Key, Rc<Node>)>) -> Vec<(Key, Rc<Node>)> {
    let mut kept: Vec<(Key, Rc<Node>)> = vec![];
    let mut places = std::collections::HashMap::new();
    for entry in entries {
        match places.get(&entry.0.name) {
            Some(&at) => kept[at] = entry,
            None => {
                places.insert(entry.0.name.clone(), kept.len());
                kept.push(entry);
            }
        }
    }
    kept
}

fn as_list(node: &Rc<Node>) -> Rc<Node> {
    match node.value {
        Value::List(_) | Value::Null => node.clone(),
        _ => Rc::new(Node::new(node.at.clone(), Value::List(vec![node.clone()]))),
    }
}
