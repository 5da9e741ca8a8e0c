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
        "node" => node(dir, has("package-lock.json")),
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

/// What is needed to build is fetched, used and taken away again; the image gets the rest.
fn node(dir: &Path, is_locked: bool) -> Vec<Step> {
    let text = std::fs::read_to_string(dir.join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let has = |key: &str| package[key].as_object().is_some_and(|all| !all.is_empty());
    let fetch = if is_locked { "npm ci" } else { "npm install" };
    let step = |run: String, why| Step { run, why };
    if package["scripts"]["build"].is_string() {
        return vec![
            step(fetch.into(), "fetch what it needs, to be built as well"),
            step("npm run build".into(), "build the program"),
            step("npm prune --omit=dev".into(), "leave out what only the build needs"),
        ];
    }
    match is_locked || has("dependencies") {
        true => vec![step(format!("{fetch} --omit=dev"), "fetch what it needs")],
        false => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_built_before_what_builds_it_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let of = |package: &str, lock: bool| {
            std::fs::write(dir.path().join("package.json"), package).unwrap();
            node(dir.path(), lock).into_iter().map(|step| step.run).collect::<Vec<_>>()
        };
        let built = r#"{"scripts": {"build": "tsc"}, "devDependencies": {"typescript": "5"}}"#;
        assert_eq!(of(built, false), ["npm install", "npm run build", "npm prune --omit=dev"]);
        assert_eq!(of(built, true)[0], "npm ci");
        assert_eq!(of(r#"{"dependencies": {"express": "5"}}"#, false), ["npm install --omit=dev"]);
        assert_eq!(of("{}", true), ["npm ci --omit=dev"]);
        assert!(of("{}", false).is_empty());
    }
}
