//! `freehold import compose`: a Compose file becomes a manifest that deploys, and says what it left behind.

use crate::world::{World, wait_for};
use serde_json::Value;

#[test]
fn a_compose_file_becomes_a_manifest_that_deploys() {
    let Some(world) = World::start() else { return };
    world.push_busybox("busybox:1");
    // The image of the built-in registry is not what Compose means by its name: it is put in its place.
    let service = "services:\n  web:\n    image: busybox:1\n    ports: ['8000:8080']\n";
    world.write("c/compose.yaml", service);
    let import = ["import", "compose", "c", "-o", "c/freehold.toml"];
    let done = world.json(&import);
    assert_eq!(done["lost"], Value::Array(vec![]), "{done:#}");
    world.sh("sed -i 's|docker.io/library/||' c/freehold.toml").ok();
    world.freehold(&["deploy", "-f", "c"]).ok();
    wait_for("the page", || world.get("http://127.0.0.1:8000/"), |page| page == "hello\n");

    world.freehold(&import).exits(2).says("--force");
    world.write(
        "c/compose.yaml",
        &format!("{service}    privileged: true\n    environment: {{API_TOKEN: planted}}\n"),
    );
    let strict = world.freehold(&[&import[..], &["--force", "--strict"]].concat()).exits(11);
    let strict = strict.says("services.web.privileged (c/compose.yaml:5:5)").says("Nothing was written");
    assert!(!strict.out.contains("planted") && !strict.err.contains("planted"), "{strict:#?}");
    let kept = std::fs::read_to_string(world.path("c/freehold.toml")).unwrap();
    assert!(!kept.contains("privileged"), "{kept}");
    world
        .freehold(&[&import[..], &["--force"]].concat())
        .exits(11)
        .says("freehold secret set -a c API_TOKEN");
    world.write("c/compose.yaml", "services: [");
    world.freehold(&[&import[..], &["--force"]].concat()).exits(2).says("c/compose.yaml:2:1: it is not YAML");
    world.freehold(&["import", "compose", "nowhere"]).exits(2).says("no such file");
}
