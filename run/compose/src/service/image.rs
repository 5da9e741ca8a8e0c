//! `image` and `build` → `image`.

use super::{Scene, Service};
use crate::{node::Place, render::quote};
use freehold_model::{Manifest, Name};

/// The image of a service, with its registry.
pub(super) fn image(service: &Service<'_>, at: &Place, scene: &mut Scene<'_>) -> String {
    let own = format!("{}-{}:1", scene.app, service.name);
    if service.get("build").is_some() {
        // The key itself is named by the sweep.
        scene.builds.push(own.clone());
        return own;
    }
    let Some(node) = service.get("image") else {
        scene.report.lose(
            service.at("image"),
            at,
            "the service has no image",
            format!("push one as `{own}`"),
        );
        scene.builds.push(own.clone());
        return own;
    };
    let named = node.text().map(full);
    match named.filter(|image| is_image(image) && !node.holds_secret()) {
        Some(image) => image,
        None => {
            let help = format!("put the right one in the place of `{own}`");
            scene.report.lose(service.at("image"), &node.at, "it is no image reference", help);
            scene.builds.push(own.clone());
            own
        }
    }
}

/// `postgres:17` → `docker.io/library/postgres:17`, as docker reads it.
fn full(text: &str) -> String {
    let text = text.trim();
    let tail = text.rsplit('/').next().unwrap_or_default();
    let tagged = if tail.contains([':', '@']) { text.to_owned() } else { format!("{text}:latest") };
    match text.split_once('/') {
        None => format!("docker.io/library/{tagged}"),
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => tagged,
        Some(_) => format!("docker.io/{tagged}"),
    }
}

/// Whether a manifest takes it: the manifest itself is asked, so that there is one grammar.
fn is_image(image: &str) -> bool {
    let text = format!("schema = 1\napp = \"a\"\n[process.a]\nimage = {}\n", quote(image));
    let env: Result<Name, _> = "prod".parse();
    env.is_ok_and(|env| Manifest::parse("", &text, &env).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_short_names_are_written_out() {
        for (text, expected) in [
            ("postgres", "docker.io/library/postgres:latest"),
            ("postgres:17", "docker.io/library/postgres:17"),
            ("gitea/gitea:1", "docker.io/gitea/gitea:1"),
            ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
            ("localhost/a:1", "localhost/a:1"),
            ("host:5000/a", "host:5000/a:latest"),
        ] {
            assert_eq!(full(text), expected);
            assert!(is_image(expected));
        }
        assert!(!is_image("docker.io/library/No:1") && !is_image("docker.io/library/:latest"));
    }
}
