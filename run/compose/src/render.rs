//! Writes a draft as the text of `freehold.toml`, with comments that say what it came from.

use crate::{
    draft::{Check, Draft, Endpoint, Process, Secret, Volume},
    report::Lost,
};
use std::fmt::Write;

/// The text of the manifest.
pub(crate) fn render(draft: &Draft, source: &str, lost: &[Lost]) -> String {
    let mut text = format!("# Made from {source} by `freehold import compose`.\n");
    if !lost.is_empty() {
        text.push_str("#\n# Not carried:\n");
        for one in lost {
            text.push_str(&format!("#   {} (line {}): {}\n", one.path, one.at.line, one.reason));
        }
    }
    let _ = write!(text, "\nschema = 1\napp = {}\n", quote(draft.app.as_str()));
    for one in &draft.processes {
        process(&mut text, one);
    }
    for one in &draft.volumes {
        volume(&mut text, one);
    }
    for one in &draft.endpoints {
        endpoint(&mut text, one);
    }
    text
}

fn process(text: &mut String, process: &Process) {
    let name = process.name.as_str();
    let _ = write!(text, "\n[process.{name}]\nimage = {}\n", quote(&process.image));
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    };
    line("command", process.command.as_deref().map(list));
    line("args", process.args.as_deref().map(list));
    line("count", process.count.map(|count| count.to_string()));
    let no_limit = |default: &str| format!("{default}  # Compose set no limit");
    let cpu = process.cpu.map_or_else(|| no_limit("\"1\"          "), |cpu| quote(&cpu.to_string()));
    let memory = process.memory.map_or_else(|| no_limit("\"512MiB\"  "), |memory| quote(&memory.to_string()));
    line("cpu", Some(cpu));
    line("memory", Some(memory));
    line("pids", process.pids.map(|pids| pids.to_string()));
    line("stop_timeout", process.stop_timeout.map(|time| quote(&time.to_string())));
    let after: Vec<String> = process.after.iter().map(ToString::to_string).collect();
    line("after", (!after.is_empty()).then(|| list(&after)));
    line("secrets", secrets(&process.secrets));
    line(
        "egress",
        process.open.then(|| "[\"*\"]     # Compose lets it connect anywhere: narrow this".to_owned()),
    );
    if !process.env.is_empty() {
        let _ = write!(text, "\n[process.{name}.env]\n");
        for (key, value) in &process.env {
            let _ = writeln!(text, "{} = {}", key_of(key), quote(value));
        }
    }
    if let Some(check) = &process.check {
        let _ = write!(text, "\n[process.{name}.check]\n");
        text.push_str(&check_lines(check));
    }
}

fn secrets(secrets: &[Secret]) -> Option<String> {
    let one = |secret: &Secret| match (&secret.env, &secret.file) {
        (None, None) => quote(&secret.name),
        (env, file) => {
            let env = env.as_ref().map(|env| format!(", env = {}", quote(env))).unwrap_or_default();
            let file = file.as_ref().map(|file| format!(", file = {}", quote(file))).unwrap_or_default();
            format!("{{ name = {}{env}{file} }}", quote(&secret.name))
        }
    };
    (!secrets.is_empty()).then(|| format!("[{}]", secrets.iter().map(one).collect::<Vec<_>>().join(", ")))
}

fn check_lines(check: &Check) -> String {
    let mut text = format!("command = {}\n", list(&check.command));
    for (key, time) in [("every", check.every), ("timeout", check.timeout), ("grace", check.grace)] {
        if let Some(time) = time {
            let _ = writeln!(text, "{key} = {}", quote(&time.to_string()));
        }
    }
    if let Some(count) = check.unhealthy_after {
        let _ = writeln!(text, "unhealthy_after = {count}");
    }
    text
}

fn volume(text: &mut String, volume: &Volume) {
    let was = volume.was.as_ref().map(|was| format!("  # was {}", comment(was))).unwrap_or_default();
    let _ = write!(
        text,
        "\n[[volume]]{was}\nname = {}\nprocess = {}\npath = {}\n",
        quote(volume.name.as_str()),
        quote(volume.process.as_str()),
        quote(&volume.path)
    );
}

fn endpoint(text: &mut String, endpoint: &Endpoint) {
    let _ = write!(
        text,
        "\n[[endpoint]]\nprocess = {}\nlisten = {}\ntarget = {}\n",
        quote(endpoint.process.as_str()),
        endpoint.listen,
        endpoint.target
    );
    if endpoint.udp {
        text.push_str("protocol = \"udp\"\n");
    }
}

/// A text as TOML writes it.
pub(crate) fn quote(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn key_of(key: &str) -> String {
    toml_edit::Key::new(key).to_string()
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(", "))
}

/// A text that may stand in a comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
