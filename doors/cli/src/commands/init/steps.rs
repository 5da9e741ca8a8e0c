//! The way from the files that were written to an app that runs: what `init` prints, and tests run.

use super::stack::Stack;
use freehold_model::Name;
use serde::Serialize;
use std::path::Path;

/// One thing to do next.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// A line for a shell, in the app's folder.
    pub(super) run: String,
    /// Why.
    pub(super) why: &'static str,
}

/// What is to be done after `init`, in order.
pub(super) fn steps(stack: &Stack, dir: &Path, app: &Name) -> Vec<Step> {
    let mut steps = compile(stack.name, dir);
    let mut add = |run: String, why| steps.push(Step { run, why });
    if stack.config.iter().any(|(path, _)| *path == "freehold-image.toml") {
        add(format!("freehold image build . -t {app}:1"), "make the image");
    }
    for name in stack.secrets {
        add(format!("openssl rand -hex 24 | freehold secret set {name}"), "choose a password");
    }
    add("freehold deploy".into(), "make it run, and wait until it is healthy");
    add("freehold status".into(), "see where it is reached");
    steps
}

/// How the program comes to be, where that needs anything.
fn compile(stack: &str, dir: &Path) -> Vec<Step> {
    let step = |run: &str, why| vec![Step { run: run.into(), why }];
    let has = |file: &str| dir.join(file).is_file();
    match stack {
        "rust" => step(
            "RUSTFLAGS='-C target-feature=+crt-static' cargo install --path . --root dist --force \
             --target \"$(rustc -vV | sed -n 's/^host: //p')\"",
            "build the program, static",
        ),
        "go" => step("CGO_ENABLED=0 go build -o dist/server .", "build the program, static"),
        "node" if has("package-lock.json") => step("npm ci --omit=dev", "fetch what it needs"),
        "node" if needs_packages(dir) => step("npm install --omit=dev", "fetch what it needs"),
        "python" | "worker" if has("requirements.txt") => step(
            "python3 -m pip install --quiet --target vendor --upgrade -r requirements.txt",
            "fetch what it needs",
        ),
        "python" if has("pyproject.toml") => {
            step("python3 -m pip install --quiet --target vendor --upgrade .", "fetch what it needs")
        }
        _ => vec![],
    }
}

fn needs_packages(dir: &Path) -> bool {
    let text = std::fs::read_to_string(dir.join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["dependencies"].as_object().is_some_and(|all| !all.is_empty())
}
