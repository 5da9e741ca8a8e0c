//! Holds a converted app against docker compose's reading of the same files: each thing that the reading has
//! must be in the manifest, or its key must be named.

use freehold_compose::Import;
use freehold_model::{Manifest, Name, manifest::Probe};
use serde_json::Value;

/// Keys that have a way into the manifest, and those that ask for nothing.
const CARRIED: [&str; 24] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "ports",
    "volumes",
    "depends_on",
    "healthcheck",
    "deploy",
    "cpus",
    "mem_limit",
    "pids_limit",
    "scale",
    "restart",
    "stop_grace_period",
    "networks",
    "profiles",
    "secrets",
    "expose",
    "env_file",
    "develop",
    "attach",
    "x-own",
];

struct Judge<'a> {
    import: &'a Import,
    manifest: Manifest,
    found: Vec<String>,
}

/// What is neither carried nor named.
pub(crate) fn differences(config: &Value, import: &Import) -> Vec<String> {
    let env: Name = "prod".parse().unwrap();
    let manifest = Manifest::parse("freehold.toml", &import.manifest, &env)
        .unwrap_or_else(|errors| panic!("{errors}\n{}", import.manifest));
    let mut judge = Judge { import, manifest, found: vec![] };
    let services = config["services"].as_object().unwrap();
    for (name, service) in services {
        judge.service(name, service);
    }
    for process in judge.manifest.process.keys().map(ToString::to_string).collect::<Vec<_>>() {
        if !services.contains_key(&process) && !judge.is_named(&process, "extends") {
            judge.found.push(format!("{process} is run, and docker compose does not run it"));
        }
    }
    judge.folders(services);
    judge.found
}

impl Judge<'_> {
    fn is_named(&self, service: &str, key: &str) -> bool {
        let path = format!("services.{service}.{key}");
        let whole = |lost: &str| lost == path || lost.starts_with(&format!("{path}."));
        self.import.lost.iter().any(|lost| whole(&lost.path))
    }

    fn want(&mut self, good: bool, service: &str, key: &str, what: impl std::fmt::Display) {
        if !good && !self.is_named(service, key) {
            self.found.push(format!("services.{service}.{key}: {what}"));
        }
    }

    fn service(&mut self, name: &str, service: &Value) {
        if !self.manifest.process.keys().any(|known| known.as_str() == name) {
            self.found.push(format!("there is no process {name}"));
            return;
        }
        self.image(name, service);
        self.command(name, service);
        self.environment(name, service);
        self.ports(name, service);
        self.volumes(name, service);
        self.waits(name, service);
        self.check(name, &service["healthcheck"]);
        self.limits(name, service);
        self.secrets(name, service);
        let restart = service["restart"].as_str().unwrap_or("always");
        self.want(matches!(restart, "always" | "unless-stopped"), name, "restart", restart);
        for (key, value) in service.as_object().unwrap() {
            let idle = matches!(value, Value::Null | Value::Bool(false)) || value == &Value::Array(vec![]);
            self.want(CARRIED.contains(&key.as_str()) || idle, name, key, value);
        }
    }

    fn process(&self, name: &str) -> &freehold_model::manifest::Process {
        let found = self.manifest.process.iter().find(|(known, _)| known.as_str() == name);
        found.map(|(_, process)| process).unwrap()
    }

    fn image(&mut self, name: &str, service: &Value) {
        let image = self.process(name).image.to_string();
        let wanted = service["image"].as_str().unwrap_or_default();
        let tail = wanted.rsplit('/').next().unwrap();
        let wanted = if tail.contains([':', '@']) { wanted.to_owned() } else { format!("{wanted}:latest") };
        let good = image == wanted || image.ends_with(&format!("/{wanted}"));
        self.want(good || self.import.builds.contains(&image), name, "image", &wanted);
        self.want(service.get("build").is_none(), name, "build", "a Dockerfile");
    }

    fn command(&mut self, name: &str, service: &Value) {
        let words = |key: &str| service[key].as_array().map(|all| all.iter().map(text).collect::<Vec<_>>());
        let (entrypoint, command) = (words("entrypoint"), words("command"));
        let (wanted, args) = match (entrypoint, command) {
            (None, command) => (None, command),
            (Some(entrypoint), command) => (Some([entrypoint, command.unwrap_or_default()].concat()), None),
        };
        let process = self.process(name);
        let good = process.command == wanted && process.args == args;
        let found = format!("{wanted:?} {args:?}, found {:?} {:?}", process.command, process.args);
        let named = self.is_named(name, "entrypoint");
        self.want(good || named, name, "command", found);
    }

    fn environment(&mut self, name: &str, service: &Value) {
        let empty = serde_json::Map::new();
        let wanted = service["environment"].as_object().unwrap_or(&empty);
        let process = self.process(name);
        let (env, secrets) = (process.env.clone(), process.secrets.clone());
        for (key, value) in wanted {
            let key = &key.replace("$$", "$");
            let secret = secrets.iter().any(|secret| secret.env.as_deref() == Some(key));
            let found = env.get(key);
            let good = match value {
                Value::Null => found.is_none(),
                value => found == Some(&text(value)) || secret && found.is_none(),
            };
            let key = if self.is_named(name, "environment.…") {
                "environment".to_owned()
            } else {
                format!("environment.{key}")
            };
            let file = self.is_named(name, "env_file");
            self.want(good || file, name, &key, format!("{value}, found {found:?}"));
        }
        for key in env.keys() {
            let known = wanted.contains_key(key) || wanted.contains_key(&key.replace('$', "$$"));
            self.want(known, name, "environment", format!("{key} is set, and not by docker compose"));
        }
    }

    fn ports(&mut self, name: &str, service: &Value) {
        let mine = |endpoint: &&freehold_model::manifest::Endpoint| endpoint.process.as_str() == name;
        let endpoints: Vec<_> = self.manifest.endpoint.iter().filter(mine).cloned().collect();
        let ports = service["ports"].as_array().cloned().unwrap_or_default();
        for port in &ports {
            let published = port["published"].as_str().and_then(|text| text.parse::<u16>().ok());
            let good = endpoints.iter().any(|endpoint| {
                Some(endpoint.listen) == published
                    && u64::from(endpoint.target) == port["target"].as_u64().unwrap_or(0)
                    && (format!("{:?}", endpoint.protocol).to_lowercase()
                        == port["protocol"].as_str().unwrap())
            });
            let own = port["host_ip"].as_str().is_some_and(|ip| ip != "0.0.0.0");
            self.want(good && !own, name, "ports", port);
        }
        for endpoint in endpoints {
            let target = |port: &Value| port["target"].as_u64() == Some(u64::from(endpoint.target));
            self.want(ports.iter().any(target), name, "endpoint", format!("{} is too much", endpoint.listen));
        }
    }

    fn volumes(&mut self, name: &str, service: &Value) {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let target = mount["target"].as_str().unwrap().trim_end_matches('/');
            let mine = |volume: &freehold_model::manifest::Volume| {
                volume.process.as_str() == name && volume.path == target
            };
            let good = self.manifest.volume.iter().any(mine);
            let bind = mount["type"] != "volume" || mount["read_only"] == true;
            self.want(good && !bind, name, "volumes", mount);
        }
    }

    fn waits(&mut self, name: &str, service: &Value) {
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let after = self.process(name).after.iter().any(|after| after.as_str() == other);
            let required = how["required"] != false;
            self.want(after || !required, name, "depends_on", other);
        }
    }

    fn check(&mut self, name: &str, wanted: &Value) {
        let check = self.process(name).check.clone();
        let test: Vec<String> =
            wanted["test"].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default();
        let command = match test.split_first() {
            _ if wanted["disable"] == true => None,
            Some((kind, rest)) if kind == "CMD" => Some(rest.to_vec()),
            Some((kind, rest)) if kind == "CMD-SHELL" => {
                Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")])
            }
            _ => None,
        };
        let found = check.as_ref().and_then(|check| match &check.probe {
            Probe::Command(words) => Some(words.clone()),
            _ => None,
        });
        self.want(found == command, name, "healthcheck", format!("{command:?}, found {found:?}"));
        let Some(check) = check.filter(|_| command.is_some()) else { return };
        for (key, found) in
            [("interval", check.every), ("timeout", check.timeout), ("start_period", check.grace)]
        {
            let Some(wanted) = wanted[key].as_str().filter(|text| *text != "0s") else { continue };
            let good = wanted == go(found.0);
            self.want(good, name, &format!("healthcheck.{key}"), format!("{wanted}, found {}", go(found.0)));
        }
        if let Some(retries) = wanted["retries"].as_u64() {
            self.want(u64::from(check.unhealthy_after) == retries, name, "healthcheck.retries", retries);
        }
    }

    fn limits(&mut self, name: &str, service: &Value) {
        let process = self.process(name).clone();
        let limits = &service["deploy"]["resources"]["limits"];
        let memory =
            service["mem_limit"].as_str().or(limits["memory"].as_str()).and_then(|text| text.parse().ok());
        let cpus = service["cpus"].as_f64().or(limits["cpus"].as_f64());
        let pids = service["pids_limit"].as_u64().or(limits["pids"].as_u64());
        let count = service["scale"].as_u64().or(service["deploy"]["replicas"].as_u64());
        let good = memory.is_none_or(|bytes: u64| process.memory.0 == bytes)
            && cpus.is_none_or(|cpus| f64::from(process.cpu.0) == (cpus * 1000.0).round())
            && pids.is_none_or(|pids| u64::from(process.pids) == pids)
            && count.is_none_or(|count| u64::from(process.count) == count);
        self.want(good, name, "deploy", format!("{memory:?} {cpus:?} {pids:?} {count:?}"));
        if let Some(stop) = service["stop_grace_period"].as_str() {
            self.want(go(process.stop_timeout.0) == stop, name, "stop_grace_period", stop);
        }
    }

    fn secrets(&mut self, name: &str, service: &Value) {
        for secret in service["secrets"].as_array().into_iter().flatten() {
            let target = secret["target"].as_str().or(secret["source"].as_str()).unwrap();
            let file =
                if target.starts_with('/') { target.to_owned() } else { format!("/run/secrets/{target}") };
            let good = self.process(name).secrets.iter().any(|secret| secret.file.as_deref() == Some(&file));
            self.want(good, name, "secrets", target);
        }
    }

    /// One folder of the host is at most one volume.
    fn folders(&mut self, services: &serde_json::Map<String, Value>) {
        let mut seen: Vec<(String, String)> = vec![];
        for (name, service) in services {
            for mount in
                service["volumes"].as_array().into_iter().flatten().filter(|mount| mount["type"] == "bind")
            {
                let source = format!("{}/", mount["source"].as_str().unwrap());
                let target = mount["target"].as_str().unwrap();
                let mine = |volume: &&freehold_model::manifest::Volume| {
                    volume.process.as_str() == name && volume.path == target
                };
                let Some(volume) = self.manifest.volume.iter().find(mine) else { continue };
                let volume = volume.name.to_string();
                let other = seen
                    .iter()
                    .find(|(known, _)| source.starts_with(known.as_str()) || known.starts_with(&source));
                if let Some((known, other)) = other {
                    self.found.push(format!("{source} and {known} are two volumes, {volume} and {other}"));
                }
                seen.push((source, volume));
            }
        }
    }
}

/// A text as the container gets it: `config` writes each dollar twice.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.replace("$$", "$"))
}

/// A time as Go prints it.
fn go(millis: u64) -> String {
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    match () {
        () if millis < 1000 => format!("{millis}ms"),
        () if hours > 0 => format!("{hours}h{minutes}m{}s", seconds as f64 / 1000.0),
        () if minutes > 0 => format!("{minutes}m{}s", seconds as f64 / 1000.0),
        () => format!("{}s", seconds as f64 / 1000.0),
    }
}
