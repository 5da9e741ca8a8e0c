//! `freehold init`, template by template: the files are written, the steps that it prints are run as they
//! are printed, and the app answers. What templates take from public registries is made of Debian packages
//! (`scripts/test-images-stacks.sh`).

use crate::world::{Ended, FREEHOLD, World, wait_for, workspace};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The images that templates start from: an OCI layout with a tag for each.
fn layout() -> PathBuf {
    let layout = workspace().join("target/e2e/stacks");
    assert!(layout.join("index.json").exists(), "run `make test`, or scripts/test-images-stacks.sh, first");
    layout
}

/// Pushes the images of these short names as `base/NAME:1`.
fn push(world: &World, names: &[&str]) {
    for name in names {
        world.skopeo_push(&layout(), name, &format!("base/{name}:1"));
    }
}

/// Runs `freehold init NAME --template NAME` and answers with the commands that it says come next.
fn init(world: &World, template: &str, port: u16, more: &[&str]) -> Vec<String> {
    let port = port.to_string();
    let args = ["init", template, "--template", template, "--port", port.as_str(), "--yes"];
    let done = world.json(&[&args[..], more].concat());
    assert_eq!(done["app"], template, "{done:#}");
    let next = done["next"].as_array().unwrap();
    next.iter().map(|step| step["run"].as_str().unwrap().to_owned()).collect()
}

/// Runs the steps in the app's folder, with the binary under test as `freehold`. Those that fetch and
/// compile run beside the machine, which has no network; the rest inside.
fn follow(world: &World, template: &str, steps: &[String]) {
    let folder = world.path(template);
    for step in steps {
        let mut command = match step.contains("freehold ") {
            true => world.command("bash"),
            false => Command::new("bash"),
        };
        let path =
            format!("{}:{}", Path::new(FREEHOLD).parent().unwrap().display(), std::env::var("PATH").unwrap());
        command.args(["-c", &format!("set -euo pipefail; {step}")]).current_dir(&folder).env("PATH", path);
        // Cargo runs this test, and says so to all that run below it.
        command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_MANIFEST_DIR").env("GOFLAGS", "-mod=mod");
        Ended::of(&mut command).ok();
    }
}

#[test]
fn a_template_of_each_language_answers() {
    let Some(world) = World::start() else { return };
    push(&world, &["nginx", "node", "python"]);
    for (at, (template, image, says)) in [
        ("static", Some("base/nginx:1"), "Hello from Freehold"),
        ("node", Some("base/node:1"), "Hello from Node\n"),
        ("python", Some("base/python:1"), "Hello from Python\n"),
        ("go", None, "Hello from Go\n"),
        ("rust", None, "Hello from Rust\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let port = 8100 + u16::try_from(at).unwrap();
        let image: Vec<&str> = image.iter().flat_map(|image| ["--image", image]).collect();
        let steps = init(&world, template, port, &image);
        assert!(steps.iter().any(|step| step.starts_with("freehold deploy")), "{steps:#?}");
        follow(&world, template, &steps);
        let answer = world.get(&format!("http://127.0.0.1:{port}/"));
        assert!(answer.contains(says), "{template}: {answer}");
    }
    // A change of a page is an image away.
    world.write("static/index.html", "changed\n");
    follow(&world, "static", &["freehold image build . -t static:1".into(), "freehold deploy".into()]);
    assert_eq!(world.get("http://127.0.0.1:8100/"), "changed\n");
}

#[test]
fn a_template_of_each_store_answers() {
    let Some(world) = World::start() else { return };
    push(&world, &["postgres", "redis"]);
    let steps = init(&world, "postgres", 8200, &["--image", "base/postgres:1"]);
    follow(&world, "postgres", &steps);
    let ask = "PGPASSWORD=$(cat $POSTGRES_PASSWORD_FILE) psql -h 127.0.0.1 -U postgres -tAc 'select 6 * 7'";
    let answer = world.freehold(&["exec", "-a", "postgres", "--", "sh", "-c", ask]).ok().out;
    assert_eq!(answer, "42\n");
    let wrong = "PGPASSWORD=wrong psql -h 127.0.0.1 -U postgres -tAc 'select 1'";
    world.freehold(&["exec", "-a", "postgres", "--", "sh", "-c", wrong]).exits(2).says("password");

    let steps = init(&world, "redis", 8201, &["--image", "base/redis:1"]);
    follow(&world, "redis", &steps);
    let answer = world.sh("exec 3<>/dev/tcp/127.0.0.1/8201; printf 'PING\\r\\n' >&3; head -n 1 <&3").ok();
    assert!(answer.out.starts_with("-NOAUTH"), "it answers strangers: {answer:#?}");
}

#[test]
fn a_queue_between_a_web_server_and_workers_moves_jobs() {
    let Some(world) = World::start() else { return };
    push(&world, &["python", "redis"]);
    let images = ["--image", "python=base/python:1", "--image", "redis=base/redis:1"];
    let steps = init(&world, "worker", 8300, &images);
    // The Python of the image is older here than the one that fetches: it needs what that one has.
    world.sh("echo async-timeout >> worker/requirements.txt").ok();
    follow(&world, "worker", &steps);
    world.sh("curl -fsS -d 'a job' http://127.0.0.1:8300/").ok().says("queued");
    wait_for("the result", || world.get("http://127.0.0.1:8300/"), |page| page.contains("A JOB"));
    assert_eq!(world.instances("worker").len(), 4);
}

#[test]
fn a_folder_with_a_program_gets_a_manifest_that_fits_it() {
    let Some(world) = World::start() else { return };
    push(&world, &["node"]);
    world.write("shop/package.json", r#"{"scripts": {"start": "node src/main.js"}}"#);
    let main = "require('http').createServer((q, a) => a.end('my own\\n')).listen(process.env.PORT)";
    world.write("shop/src/main.js", main);
    world.write("shop/.env", "SECRET=not-for-an-image");
    let done = world.json(&["init", "shop", "--yes", "--image", "base/node:1"]);
    assert_eq!(done["template"], "node", "{done:#}");
    assert!(!world.path("shop/server.js").exists(), "a program was written over one that is there");
    follow(&world, "shop", &["freehold image build . -t shop:1".into(), "freehold deploy".into()]);
    assert_eq!(world.get("http://127.0.0.1:8000/"), "my own\n");
    let files = world.freehold(&["exec", "-a", "shop", "--", "ls", "-A", "/app"]).ok().out;
    assert!(files.contains("package.json") && !files.contains(".env"), "{files}");
}

#[test]
fn init_asks_on_a_terminal_alone_and_replaces_nothing() {
    let Some(world) = World::new() else { return };
    world.freehold(&["init", "new"]).exits(2).says("--template static|rust|node");
    world.freehold(&["init", "new", "--template", "go"]).exits(2).says("--app NAME, or --yes to take `new`");
    assert!(!world.path("new").exists(), "a refusal changes nothing");
    world.freehold(&["init", "new", "-t", "go", "--yes"]).ok().says("go build");
    world.freehold(&["init", "new", "-t", "go", "--yes"]).exits(2).says("--force");
    // On a terminal it asks: `script` is one, and answers come from its input.
    let answers = "printf 'node\\nfrom-answers\\n9000\\n'";
    world.sh(&format!("mkdir asked && cd asked && {answers} | script -qec '{FREEHOLD} init' /dev/null")).ok();
    let manifest = std::fs::read_to_string(world.path("asked/freehold.toml")).unwrap();
    assert!(manifest.contains("app = \"from-answers\"") && manifest.contains("listen = 9000"), "{manifest}");
}
