//! `freehold node cordon|uncordon|label|taint`.

use super::find;
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};
use freehold_model::{LabelKey, Node, NodeChange, label_value};
use std::collections::{BTreeMap, BTreeSet};

/// Flags of `node label`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold node label attic zone=top disk=ssd
  freehold node label attic disk-")]
pub(crate) struct LabelArgs {
    /// The node's name or id.
    name: String,
    /// `KEY=VALUE` sets a label, `KEY-` removes it.
    #[arg(required = true, value_name = "KEY=VALUE|KEY-", allow_hyphen_values = true)]
    labels: Vec<String>,
}

/// Flags of `node taint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold node taint tower hardware/gpu
  freehold node taint tower hardware/gpu-")]
pub(crate) struct TaintArgs {
    /// The node's name or id.
    name: String,
    /// `KEY` adds a taint, `KEY-` removes it.
    #[arg(required = true, value_name = "KEY|KEY-", allow_hyphen_values = true)]
    taints: Vec<String>,
}

pub(crate) async fn label(args: LabelArgs, session: &Session) -> Outcome {
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for text in &args.labels {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => {
                label_value(value).map_err(|error| Failure::usage(error.to_string(), HINT))?;
                set.insert(parse(key)?, value.to_owned());
            }
            (None, Some(key)) => {
                remove.insert(parse(key)?);
            }
            (None, None) => return Err(Failure::usage(format!("`{text}` sets nothing"), HINT)),
        }
    }
    run(&args.name, NodeChange::Label { set, remove }, session).await
}

pub(crate) async fn taint(args: TaintArgs, session: &Session) -> Outcome {
    let (mut add, mut remove) = (BTreeSet::new(), BTreeSet::new());
    for text in &args.taints {
        match text.strip_suffix('-') {
            Some(key) => remove.insert(parse(key)?),
            None => add.insert(parse(text)?),
        };
    }
    run(&args.name, NodeChange::Taint { add, remove }, session).await
}

const HINT: &str = "`KEY=VALUE` sets a label, `KEY-` removes it.";

fn parse(key: &str) -> Outcome<LabelKey> {
    key.parse().map_err(|error: freehold_model::LabelError| Failure::usage(error.to_string(), HINT))
}

/// Makes the change and says how the node is then.
pub(crate) async fn run(name: &str, change: NodeChange, session: &Session) -> Outcome {
    let node = find(name, session).await?;
    let node = session.client.change_node(node.id, &change).await?;
    session.out.show(&node.to_any(), |_| said(&node, &change))
}

fn said(node: &Node, change: &NodeChange) -> String {
    let name = &node.name;
    let list = |words: Vec<String>| if words.is_empty() { "none".into() } else { words.join(" ") };
    match change {
        NodeChange::Cordon {} => format!("{name} takes no new instances; what runs stays."),
        NodeChange::Uncordon {} => format!("{name} takes instances."),
        NodeChange::Drain { .. } => format!("{name} is being drained."),
        NodeChange::Label { .. } => {
            let labels = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("Labels of {name}: {}.", list(labels))
        }
        NodeChange::Taint { .. } => {
            format!("Taints of {name}: {}.", list(node.spec.taints.iter().map(ToString::to_string).collect()))
        }
    }
}
