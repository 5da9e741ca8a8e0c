//! `freehold node list`.

use crate::{
    failure::{Failure, Outcome},
    output::{Paint, table::Table},
    session::Session,
};
use freehold_client::ResourceQuery;
use freehold_model::{Instance, InstanceSpec, Kind, Node, NodeSpec};

pub(crate) async fn run(session: &Session) -> Outcome {
    let all = session.client.all_resources(&ResourceQuery::of(Kind::Node)).await?;
    let (mut nodes, mut instances) = (vec![], vec![]);
    for any in &all {
        let node = any.clone().typed::<NodeSpec>();
        nodes.push(node.map_err(|error| Failure::local("read a node", error))?);
    }
    if !session.out.json {
        for any in session.client.all_resources(&ResourceQuery::of(Kind::Instance)).await? {
            instances.extend(any.typed::<InstanceSpec>());
        }
    }
    session.out.show(&all, |_| table(&nodes, &instances, session.out.paint))
}

fn table(nodes: &[Node], instances: &[Instance], paint: Paint) -> String {
    let mut table = Table::new(&["NAME", "STATE", "INSTANCES", "CPU", "MEMORY", "LABELS", "TAINTS"]);
    for node in nodes {
        let there: Vec<&Instance> = instances.iter().filter(|it| it.spec.node == node.id).collect();
        let promised: u64 = there.iter().map(|it| it.spec.template.memory.0).sum();
        let capacity = node.status.capacity;
        let memory =
            format!("{} of {}", freehold_model::Bytes(promised).rounded(), capacity.memory.rounded());
        let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let taints: Vec<&str> = node.spec.taints.iter().map(|taint| taint.as_str()).collect();
        table.row([
            node.name.clone().into(),
            state(node, !there.is_empty()).into(),
            there.len().to_string().into(),
            capacity.cpu.to_string().into(),
            memory.into(),
            labels.join(" ").into(),
            taints.join(" ").into(),
        ]);
    }
    table.render(paint, 0, "no nodes")
}

/// How it is, in a word; `occupied` as long as there is an instance on it.
fn state(node: &Node, occupied: bool) -> &'static str {
    if node.status.away().is_some() {
        "silent"
    } else if node.spec.draining.is_some() {
        if occupied { "draining" } else { "drained" }
    } else if node.spec.cordoned {
        "cordoned"
    } else if node.status.started.is_none() {
        "new"
    } else {
        "ready"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_drained_is_said_to_be() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let spec = NodeSpec { draining: Some(now), cordoned: true, ..NodeSpec::default() };
        let node = Node::new(freehold_model::NodeId(Default::default()), "attic", None, spec, now);
        assert_eq!((state(&node, true), state(&node, false)), ("draining", "drained"));
        let listed = table(&[node], &[], Paint::plain());
        assert!(listed.contains("drained"), "{listed}");
    }
}
