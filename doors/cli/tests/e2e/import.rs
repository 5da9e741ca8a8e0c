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

#[test]
fn the_files_and_commands_are_those_of_docker_compose() {
    let Some(world) = World::start() else { return };
    world.write("c/compose.yaml", "services:\n  web:\n    image: nginx\n    restart: always\n    secrets: [key]\nsecrets:\n  key: {file: ./key}\n");
    world.write(
        "c/compose.override.yaml",
        "services:\n  web:\n    env_file: app.env\n    environment: [TZ]\n",
    );
    world.write(
        "c/app.env",
        "SITE=https://${DOMAIN}/x\nJWT_PRIVATE_KEY=\"-----BEGIN PRIVATE KEY-----\nbm90LWEta2V5\n\"\n",
    );
    world.write("c/.env", "DOMAIN=example.org\nTZ=Europe/Paris\nDB_PASSWORD=hunter2-x\n");
    let done = world.freehold(&["import", "compose", "c", "-o", "c/freehold.toml"]).ok();
    // A secret from a file keeps its last line feed, and paths are as seen from here.
    assert!(done.out.contains("freehold secret set -a c key --exact < c/key\n"), "{done:#?}");
    let several = "freehold secret set -a c JWT_PRIVATE_KEY --exact < FILE";
    assert!(done.out.contains(several) && done.out.contains("several lines: c/app.env:2:1"), "{done:#?}");
    let manifest = std::fs::read_to_string(world.path("c/freehold.toml")).unwrap();
    assert!(manifest.contains("SITE = \"https://example.org/x\"\nTZ = \"Europe/Paris\"\n"), "{manifest}");
    assert!(!manifest.contains("bm90LWEta2V5") && !done.out.contains("bm90LWEta2V5"), "{manifest}");

    // COMPOSE_FILE names them, and so does the command line.
    world.write("c/.env", "COMPOSE_FILE=one.yaml:two.yaml\n");
    world.write("c/one.yaml", "services:\n  web: {image: nginx, restart: always}\n");
    world.write("c/two.yaml", "services:\n  web: {image: 'nginx:2'}\n");
    let chosen = world.freehold(&["import", "compose", "c", "-o", "-"]).ok();
    assert!(chosen.out.contains("docker.io/library/nginx:2"), "{chosen:#?}");
    let named = world.freehold(&["import", "compose", "c/two.yaml", "c/one.yaml", "-o", "-"]).ok();
    assert!(named.out.contains("docker.io/library/nginx:latest"), "{named:#?}");
    world.write("c/a.env", "A=\"open\n");
    world.write("c/one.yaml", "services:\n  web: {image: nginx, env_file: a.env}\n");
    world
        .freehold(&["import", "compose", "c", "-o", "-"])
        .exits(2)
        .says("a.env:1:1: the quote that begins here has no end");
}
