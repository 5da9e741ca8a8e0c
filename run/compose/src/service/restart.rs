//! `restart`: a process of Freehold is always started again, and Compose restarts nothing unless told.

use super::{Scene, Service, depends};
use crate::node::Key;

const NO_TASKS: &str = "if it ends by itself it is a task, and the deploy fails when it ends: there are no tasks yet; take \
     it out, and do its work in the start of the program that needs it, or with `freehold exec`";

/// Names what is told otherwise, and services that look like tasks: nothing restarts them, and nothing in the
/// file says that they go on.
pub(super) fn restart(service: &Service<'_>, key: &Key, scene: &mut Scene<'_>) {
    let policy = service.get("restart").map(|node| (node, "restart"));
    let deep = service.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
    let condition =
        deep.and_then(|policy| policy.get("condition")).map(|node| (node, "deploy.restart_policy.condition"));
    let told = policy.is_some() || deep.is_some();
    for (node, key) in policy.into_iter().chain(condition) {
        let text = node.text().unwrap_or_default();
        if !matches!(text, "always" | "unless-stopped" | "any" | "") {
            let reason = "a process that ends is always started again";
            scene.report.lose(service.at(key), &node.at, reason, NO_TASKS);
        }
    }
    if !told && !goes_on(service, key, scene) {
        let reason = "Compose does not start it again when it ends, and here it always is";
        scene.report.lose(service.at("restart"), &key.at, reason, NO_TASKS);
    }
    for (key, node) in deep.map(|policy| policy.entries()).unwrap_or_default() {
        if key.name != "condition" && !node.is_idle() {
            let path = service.at(&format!("deploy.restart_policy.{}", key.name));
            let reason = "how often and how soon it is started again is decided by Freehold";
            scene.report.lose(path, &key.at, reason, "");
        }
    }
}

/// Whether the file shows that a service does not end: it has a port or a check, or another waits for its
/// health.
fn goes_on(service: &Service<'_>, key: &Key, scene: &Scene<'_>) -> bool {
    let serves = |key: &str| service.get(key).is_some_and(|node| !node.is_idle());
    let conditions = |wanted: &str| {
        let services = scene.project.services.iter();
        services.filter(|(_, node)| depends::condition(node, &key.name) == Some(wanted)).count() > 0
    };
    !conditions("service_completed_successfully")
        && (serves("ports") || serves("expose") || serves("healthcheck") || conditions("service_healthy"))
}
