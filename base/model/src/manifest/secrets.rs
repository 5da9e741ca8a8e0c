//! What the secrets of one process say together: no variable and no file has two sources.
//!
//! Called by `resolve` for each process as an env has it.

use super::{
    paths::{self, inside},
    report::{Report, Span},
    scalar::shown,
    tree::{Data, Node},
};

/// Where the kernel's own files are, and nothing else can be.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Reports every secret of `process` that is nowhere, or where something else is.
pub(super) fn distinct(process: &Node, report: &mut Report<'_>) {
    let variables = process.get("env").and_then(Node::fields);
    let (mut taken, mut files): (Vec<&str>, Vec<String>) = (vec![], vec![]);
    for secret in process.list("secrets") {
        if matches!(secret.data, Data::Broken) {
            continue;
        }
        let file = secret.get("file");
        match (secret.get("env"), file) {
            (Some(env), Some(_)) => {
                let help = "keep one; list the secret twice to have both";
                report.error(&env.key, "a secret is a variable or a file, and this is both", help);
                continue;
            }
            (_, Some(file)) => place(file, &mut files, report),
            (env, None) => {
                let Some((name, at)) = variable(secret, env) else { continue };
                if variables.is_some_and(|all| all.contains_key(name)) {
                    let message = format!("the variable `{}` is in `env` too", shown(name));
                    let help =
                        "remove it there, or give the secret another: { name = \"NAME\", env = \"OTHER\" }";
                    report.error(at, message, help);
                } else if taken.contains(&name) {
                    let message = format!("another secret is the variable `{}` already", shown(name));
                    report.error(
                        at,
                        message,
                        "give one of them another: { name = \"NAME\", env = \"OTHER\" }",
                    );
                }
                taken.push(name);
            }
        }
    }
}

/// The variable that a secret becomes, and where that is said.
fn variable<'n>(secret: &'n Node, env: Option<&'n Node>) -> Option<(&'n str, &'n Span)> {
    let said = match (&secret.data, env) {
        (Data::Text(_), _) => secret,
        (_, Some(env)) => env,
        (_, None) => secret.get("name")?,
    };
    if let Data::Text(name) = &said.data { Some((name, &said.span)) } else { None }
}

fn place(file: &Node, files: &mut Vec<String>, report: &mut Report<'_>) {
    let Data::Text(text) = &file.data else { return };
    let at = &file.span;
    let path = &paths::plain(text);
    if matches!(text.rsplit('/').next(), Some("" | ".")) {
        let message = format!("`{}` is not the path of a file", shown(text));
        report.error(at, message, "write it like `/run/secrets/tls.key`");
    } else if let Some(folder) = KERNEL.iter().find(|folder| *folder == path || inside(path, folder)) {
        report.error(at, format!("nothing can be put into `{folder}`"), "put it into `/run/secrets`");
    } else if let Some(other) =
        files.iter().find(|other| *other == path || inside(path, other) || inside(other, path))
    {
        let message = format!("another secret is the file `{}` already", shown(other));
        report.error(at, message, "give each a path of its own");
    }
    files.push(path.clone());
}

/// Reports every file of `process` that would be in one of its volumes, at `volumes`: there it would
/// outlive its release, and take the place of what the volume keeps.
pub(super) fn outside(process: &Node, volumes: &[String], report: &mut Report<'_>) {
    for file in process.list("secrets").iter().filter_map(|secret| secret.get("file")) {
        let Data::Text(text) = &file.data else { continue };
        let path = &paths::plain(text);
        let clash = |volume: &&String| path == *volume || inside(path, volume) || inside(volume, path);
        if let Some(volume) = volumes.iter().find(clash) {
            let message = format!("a secret's file cannot be where a volume is (`{}`)", shown(volume));
            report.error(&file.span, message, "put it into `/run/secrets`");
        }
    }
}
