//! `restart`: a process of Freehold is always started again, and Compose restarts nothing unless told.

use super::{Scene, Service, depends};
use crate::node::Key;

const NO_TASKS: &str = "if it ends by itself it is a task, and the deploy fails when it ends: there are no tasks yet; take \
     it out, and do its work in the start of the program that needs it, or with `freehold exec`";

/// Names what is told otherwise, and services that nothing restarts and that look like tasks. Of the others
/// that nothing restarts there is a remark.
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
    if !told && ends(service, key, scene) {
        let reason = "Compose does not start it again when it ends, and here it always is";
        scene.report.lose(service.at("restart"), &key.at, reason, NO_TASKS);
    } else if !told {
        let name = &service.name;
        scene.report.note(format!(
            "`{name}` has no `restart`: Compose would not start it again when it ends, Freehold does."
        ));
    }
    for (key, node) in deep.map(|policy| policy.entries()).unwrap_or_default() {
        if key.name != "condition" && !node.is_idle() {
            let path = service.at(&format!("deploy.restart_policy.{}", key.name));
            let reason = "how often and how soon it is started again is decided by Freehold";
            scene.report.lose(path, &key.at, reason, "");
        }
    }
}

/// Whether a service looks as if it ended by itself: another waits for its end; or its name, its command or
/// its image are a task's, and it has neither port nor check.
fn ends(service: &Service<'_>, key: &Key, scene: &Scene<'_>) -> bool {
    let serves = |key: &str| service.get(key).is_some_and(|node| !node.is_idle());
    let waits_for = |wanted: &str| {
        let mut services = scene.project.services.iter();
        services.any(|(_, node)| depends::condition(node, &key.name) == Some(wanted))
    };
    let goes_on =
        serves("ports") || serves("expose") || serves("healthcheck") || waits_for("service_healthy");
    waits_for("service_completed_successfully")
        || !goes_on && (has_task_word(&key.name) || runs_task(service) || has_task_image(service))
}

/// How words begin that tasks are called by.
const TASKS: [&str; 21] = [
    "migrat",
    "init",
    "setup",
    "seed",
    "task",
    "job",
    "install",
    "bootstrap",
    "provision",
    "create",
    "prepare",
    "perm",
    "chown",
    "chmod",
    "mkdir",
    "oneshot",
    "once",
    "import",
    "backfill",
    "upgrade",
    "echo",
];
/// Images of a shell or of a tool: they end with what they are told to do.
const TOOLS: [&str; 9] =
    ["alpine", "busybox", "bash", "debian", "ubuntu", "curl", "mc", "aws-cli", "hello-world"];

fn has_task_word(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.map(str::to_ascii_lowercase).any(|word| TASKS.iter().any(|task| word.starts_with(task)))
}

/// Whether the command is a script that does not hand over to a program, or has a task's word.
fn runs_task(service: &Service<'_>) -> bool {
    let words = ["entrypoint", "command"].map(|key| {
        let Some(node) = service.get(key) else { return String::new() };
        let items: Vec<&str> = node.items().iter().filter_map(|item| item.text()).collect();
        format!("{} {}", node.text().unwrap_or_default(), items.join(" "))
    });
    let all = words.join(" ");
    let shell = all.split_whitespace().zip(all.split_whitespace().skip(1)).any(|(first, second)| {
        matches!(first.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"))
            && second.starts_with("-")
            && second.ends_with('c')
    });
    let stays =
        ["exec ", "while ", "sleep inf", "tail -f", "tail -F", "wait"].iter().any(|word| all.contains(word));
    !stays && (shell || has_task_word(&all))
}

fn has_task_image(service: &Service<'_>) -> bool {
    let image = service.get("image").and_then(|image| image.text()).unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
    TOOLS.contains(&name)
}
