//! Volumes and their snapshots, as tables.

use super::{
    Paint,
    paint::Tone,
    table::{Table, cell},
    time,
};
use freehold_model::{InstanceId, NodeId, Snapshot, TaskState, Volume, VolumeId};
use jiff::Timestamp;

/// Each volume, with who writes to it and where it is.
pub(crate) fn table(
    volumes: &[Volume],
    writers: &[(VolumeId, InstanceId)],
    nodes: &[(NodeId, String)],
    paint: Paint,
) -> String {
    let mut table = Table::new(&["NAME", "NODE", "USED", "SIZE", "SNAPSHOTS", "WRITER", "STATE"]);
    for volume in volumes {
        let writer = writers.iter().find(|(id, _)| *id == volume.id);
        let node = nodes.iter().find(|(id, _)| *id == volume.spec.node);
        let (state, tone) = state(volume);
        table.row([
            volume.name.clone().into(),
            node.map_or_else(|| volume.spec.node.to_string(), |(_, name)| name.clone()).into(),
            time::size(volume.status.used).into(),
            format!("{} {}", volume.spec.size, volume.status.keeping).into(),
            volume.status.snapshots.len().to_string().into(),
            writer.map_or_else(|| "-".into(), |(_, id)| id.to_string()).into(),
            cell(state, tone),
        ]);
    }
    table.render(paint, 0, "no volumes")
}

fn state(volume: &Volume) -> (String, Tone) {
    let task = volume.status.task.as_ref();
    let unmet = volume.status.conditions.iter().find(|condition| !condition.state);
    match (volume.deleting, unmet, task) {
        (Some(_), ..) => ("being deleted".into(), Tone::Note),
        (_, Some(unmet), _) => (unmet.message.clone(), Tone::Bad),
        (_, _, Some(task)) if task.state == TaskState::Running => (task.message.clone(), Tone::Note),
        (_, _, Some(task)) if task.state == TaskState::Failed => (task.message.clone(), Tone::Bad),
        _ if volume.status.ready => ("ready".into(), Tone::Good),
        _ => ("being made".into(), Tone::Note),
    }
}

/// The snapshots of one volume, the oldest first.
pub(crate) fn snapshots(snapshots: &[Snapshot], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["NAME", "TAKEN", "SIZE"]);
    for one in snapshots {
        table.row([
            one.name.to_string().into(),
            time::ago(one.taken, now).into(),
            time::size(one.size).into(),
        ]);
    }
    table.render(paint, 0, "no snapshots")
}
