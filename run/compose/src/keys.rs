//! Every key of the Compose specification, and what becomes of it: the one place where that is written
//! down. The conversion reports from it, and `docs/compose.md` is made from it.

use crate::{
    load::join,
    node::{Node, Value},
    report::Report,
};

/// What becomes of a key.
pub(crate) enum Fate {
    /// It is carried: into what.
    Carried(&'static str),
    /// It asks for nothing that has to be carried: why.
    Idle(&'static str),
    /// It is not carried: why, and what to do instead.
    Lost(&'static str, &'static str),
}

use Fate::{Carried, Idle, Lost};

/// A key and its fate.
pub(crate) type Row = (&'static str, Fate);

const ISOLATED: &str = "every container has namespaces of its own";
const NO_RIGHTS: &str = "leave it out, or run it outside Freehold";

/// The file.
pub(crate) const FILE: &[Row] = &[
    ("version", Idle("obsolete in Compose itself")),
    ("name", Carried("`app`")),
    ("services", Carried("`[process.NAME]`")),
    (
        "networks",
        Carried("the processes of an env are one network; what a network says beyond that is named"),
    ),
    ("volumes", Carried("`[[volume]]`; drivers and options are named")),
    ("secrets", Carried("`secrets` of the processes that use them")),
    (
        "configs",
        Lost(
            "files from the host are not mounted",
            "put the file into the image: `freehold-image.toml` with `from` and `into`",
        ),
    ),
    ("include", Carried("followed; the files' own `.env` and folders count for them")),
    ("models", Lost("there are no models", "run the model as a process")),
];

/// A service.
pub(crate) const SERVICE: &[Row] = &[
    ("image", Carried("`image`, with its registry: `postgres:17` is `docker.io/library/postgres:17`")),
    (
        "build",
        Lost(
            "Dockerfiles are not run",
            "build the image with docker, podman or buildah and push it to the built-in registry, or use `freehold image build`",
        ),
    ),
    (
        "command",
        Carried("`args`; with `entrypoint`, the rest of `command`; one with a secret in it is named"),
    ),
    ("entrypoint", Carried("the beginning of `command`")),
    ("environment", Carried("`env`; what looks like a secret becomes one, and its value is left out")),
    ("env_file", Carried("`env`; the same, with `required: false` and `format: raw`")),
    ("ports", Carried("`[[endpoint]]`; one for an address of its own (`127.0.0.1:80:80`) is named")),
    ("expose", Idle("processes of one env reach each other on every port")),
    (
        "volumes",
        Carried("`[[volume]]`; folders of the host become empty volumes, and are named; files are named"),
    ),
    ("secrets", Carried("`secrets`, as files")),
    (
        "configs",
        Lost(
            "files from the host are not mounted",
            "put the file into the image: `freehold-image.toml` with `from` and `into`",
        ),
    ),
    ("healthcheck", Carried("`check` with `command`")),
    (
        "depends_on",
        Carried(
            "`after`; that a task has ended, `restart`, and health without a check in the file are named",
        ),
    ),
    ("deploy", Carried("see below")),
    ("cpus", Carried("`cpu`")),
    ("mem_limit", Carried("`memory`")),
    ("pids_limit", Carried("`pids`")),
    ("scale", Carried("`count`")),
    (
        "restart",
        Carried(
            "always, as Freehold does; anything else is named, and so is a service without it that looks like a task",
        ),
    ),
    ("stop_grace_period", Carried("`stop_timeout`")),
    (
        "networks",
        Carried("the processes of an env are one network; aliases, addresses and separation are named"),
    ),
    ("extends", Carried("followed, also into other files")),
    ("profiles", Carried("chosen with `--profile`; what is left out is named")),
    (
        "container_name",
        Lost(
            "instances are named by Freehold, and reached by the name of their process",
            "use the service's name where this one was used",
        ),
    ),
    (
        "user",
        Lost(
            "an image says as whom it runs",
            "make an image upon it: `freehold-image.toml` with `from` and `user`",
        ),
    ),
    (
        "working_dir",
        Lost(
            "an image says where it runs",
            "make an image upon it: `freehold-image.toml` with `from` and `workdir`",
        ),
    ),
    (
        "stop_signal",
        Lost(
            "an image says how it is stopped",
            "make an image upon it: `freehold-image.toml` with `from` and `stop_signal`",
        ),
    ),
    (
        "labels",
        Lost(
            "there are no labels; a proxy that reads them finds none",
            "give the process an `[[endpoint]]` of its own",
        ),
    ),
    ("label_file", Lost("there are no labels", "")),
    ("annotations", Lost("there are no annotations", "")),
    (
        "tmpfs",
        Lost(
            "there are no mounts in memory",
            "the path is an ordinary folder of the instance, gone when it ends",
        ),
    ),
    ("privileged", Lost("no container gets all rights", NO_RIGHTS)),
    ("cap_add", Lost("no container gets more rights", NO_RIGHTS)),
    ("cap_drop", Lost("rights are dropped by Freehold, the same for every container", "")),
    ("security_opt", Lost("every container has the same seccomp filter and no new privileges", "")),
    ("devices", Lost("devices of the host are not passed on", NO_RIGHTS)),
    ("device_cgroup_rules", Lost("devices of the host are not passed on", NO_RIGHTS)),
    ("gpus", Lost("devices of the host are not passed on", "run it outside Freehold for now")),
    ("sysctls", Lost("kernel parameters are not set", "")),
    ("ulimits", Lost("limits other than cpu, memory and pids are not set", "")),
    ("shm_size", Lost("the size of /dev/shm is not set", "")),
    (
        "read_only",
        Lost("the file system of an instance can be written to", "it is gone when the instance ends"),
    ),
    ("init", Lost("no other init is put before the program", "")),
    ("tty", Lost("a process has no terminal", "`freehold exec -t` gives one")),
    ("stdin_open", Lost("a process has no standard input", "`freehold exec` gives one")),
    ("network_mode", Lost(ISOLATED, "publish ports with `[[endpoint]]`")),
    ("pid", Lost(ISOLATED, "")),
    ("ipc", Lost(ISOLATED, "")),
    ("uts", Lost(ISOLATED, "")),
    ("userns_mode", Lost(ISOLATED, "")),
    ("cgroup", Lost(ISOLATED, "")),
    ("cgroup_parent", Lost(ISOLATED, "")),
    ("hostname", Lost("instances are named by Freehold", "use the service's name")),
    ("domainname", Lost("instances are named by Freehold", "")),
    ("mac_address", Lost("addresses are given by Freehold", "")),
    (
        "links",
        Lost(
            "processes of one env reach each other by name; another name cannot be given",
            "use the service's name",
        ),
    ),
    ("external_links", Lost("processes of other apps are reached through their endpoints", "")),
    (
        "extra_hosts",
        Lost("names cannot be added to /etc/hosts", "use the address itself, and open the way with `egress`"),
    ),
    ("dns", Lost("names are resolved by the node", "")),
    ("dns_opt", Lost("names are resolved by the node", "")),
    ("dns_search", Lost("names are resolved by the node", "")),
    ("logging", Lost("logs are kept by Freehold", "`freehold logs` reads them")),
    ("platform", Lost("the image's variant for the node is taken", "")),
    ("pull_policy", Lost("a tag is resolved by each plan, and pulled when its digest is new", "")),
    ("runtime", Lost("containers are run by Freehold itself", "")),
    ("isolation", Lost("containers are run by Freehold itself", "")),
    ("mem_reservation", Lost("only the limit counts", "")),
    ("mem_swappiness", Lost("swap is not managed", "")),
    ("memswap_limit", Lost("swap is not managed", "")),
    ("oom_kill_disable", Lost("what exceeds its memory is ended", "raise `memory`")),
    ("oom_score_adj", Lost("the kernel's choice is not influenced", "")),
    ("blkio_config", Lost("disks are not shared out", "")),
    ("cpu_count", Lost("only `cpus` is carried", "set `cpu`")),
    ("cpu_percent", Lost("only `cpus` is carried", "set `cpu`")),
    ("cpu_shares", Lost("there are no weights, only limits", "set `cpu`")),
    ("cpu_period", Lost("only `cpus` is carried", "set `cpu`")),
    ("cpu_quota", Lost("only `cpus` is carried", "set `cpu`")),
    ("cpu_rt_runtime", Lost("there is no real-time scheduling", "")),
    ("cpu_rt_period", Lost("there is no real-time scheduling", "")),
    ("cpuset", Lost("instances are not bound to cores", "")),
    ("credential_spec", Lost("it is for Windows", "")),
    ("group_add", Lost("an image says as whom it runs", "")),
    ("storage_opt", Lost("the storage of an image is managed by Freehold", "")),
    ("volumes_from", Lost("a volume has one writer", "declare the volume for the process that writes it")),
    ("post_start", Lost("there are no hooks", "do it in the program, or with `freehold exec`")),
    ("pre_stop", Lost("there are no hooks", "do it when SIGTERM comes")),
    ("provider", Lost("there are no providers", "")),
    ("models", Lost("there are no models", "run the model as a process")),
    ("develop", Idle("for `docker compose watch` alone")),
    ("attach", Idle("for the terminal of `docker compose up` alone")),
    ("use_api_socket", Lost("the container engine is not reachable from inside", NO_RIGHTS)),
];

/// `deploy` of a service.
pub(crate) const DEPLOY: &[Row] = &[
    ("replicas", Carried("`count`")),
    ("resources", Carried("`cpu`, `memory`, `pids` from `limits`")),
    ("restart_policy", Carried("always, as Freehold does; anything else is named")),
    ("mode", Lost("there are no processes on every node", "set `count`")),
    ("endpoint_mode", Lost("endpoints are proxied to healthy instances", "")),
    ("labels", Lost("there are no labels", "")),
    ("placement", Lost("nodes are chosen by Freehold", "")),
    ("update_config", Lost("a rollout starts the new, waits for checks, then stops the old", "")),
    ("rollback_config", Lost("a release that fails is rolled back at once", "")),
];

/// `deploy.resources.limits`
pub(crate) const LIMITS: &[Row] =
    &[("cpus", Carried("`cpu`")), ("memory", Carried("`memory`")), ("pids", Carried("`pids`"))];

/// `healthcheck`
pub(crate) const HEALTH: &[Row] = &[
    ("test", Carried("`command`; `CMD-SHELL` is `sh -c`")),
    ("interval", Carried("`every`")),
    ("timeout", Carried("`timeout`")),
    ("retries", Carried("`unhealthy_after`")),
    ("start_period", Carried("`grace`")),
    ("start_interval", Idle("a young instance is tried often anyway")),
    ("disable", Carried("no `check`")),
];

/// A port in its long form.
pub(crate) const PORT: &[Row] = &[
    ("target", Carried("`target`")),
    ("published", Carried("`listen`")),
    ("protocol", Carried("`protocol`")),
    ("host_ip", Carried("named, unless it is every address")),
    ("name", Idle("it has no effect")),
    ("app_protocol", Idle("it has no effect")),
    ("mode", Idle("every endpoint is proxied")),
];

/// A mount in its long form.
pub(crate) const MOUNT: &[Row] = &[
    ("type", Carried("what it becomes")),
    ("source", Carried("`name`")),
    ("target", Carried("`path`")),
    ("read_only", Lost("a volume can be written to by its process", "")),
    ("bind", Idle("for mounts of the host alone")),
    ("volume", Lost("a volume is mounted whole", "")),
    ("tmpfs", Idle("named with the mount")),
    ("consistency", Idle("it has no effect on Linux")),
    ("image", Lost("images are not mounted", "")),
];

/// A network of a service.
pub(crate) const NETWORK_USE: &[Row] = &[
    (
        "aliases",
        Lost(
            "processes are reached by their own name alone",
            "use the service's name where an alias was used",
        ),
    ),
    ("ipv4_address", Lost("addresses are given by Freehold", "use the service's name")),
    ("ipv6_address", Lost("addresses are given by Freehold", "use the service's name")),
    ("link_local_ips", Lost("addresses are given by Freehold", "")),
    ("mac_address", Lost("addresses are given by Freehold", "")),
    ("interface_name", Lost("interfaces are named by Freehold", "")),
    ("driver_opts", Lost("there are no network drivers", "")),
    ("gw_priority", Lost("there is one network", "")),
    ("priority", Idle("there is one network")),
];

/// A top-level network.
pub(crate) const NETWORK: &[Row] = &[
    ("name", Idle("there is one network")),
    ("internal", Carried("no `egress`")),
    ("driver", Lost("there are no network drivers", "")),
    ("driver_opts", Lost("there are no network drivers", "")),
    (
        "external",
        Lost(
            "other apps are reached through their endpoints",
            "publish a port there, and open the way with `egress`",
        ),
    ),
    ("ipam", Lost("addresses are given by Freehold", "")),
    ("attachable", Idle("there is one network")),
    ("enable_ipv4", Idle("instances have IPv4")),
    ("enable_ipv6", Lost("instances have IPv4 alone", "endpoints are reached over both")),
    ("labels", Lost("there are no labels", "")),
];

/// A top-level volume.
pub(crate) const VOLUME: &[Row] = &[
    ("name", Idle("a volume is named by its app, its env and its key")),
    ("driver", Lost("a volume is a folder of the node", "")),
    ("driver_opts", Lost("a volume is a folder of the node", "")),
    (
        "external",
        Lost("what is in it is not moved", "the volume here is new and empty: copy the data into it"),
    ),
    ("labels", Lost("there are no labels", "")),
];

/// A top-level secret.
pub(crate) const SECRET: &[Row] = &[
    ("file", Carried("the command that sets it")),
    ("environment", Carried("the command that sets it")),
    ("external", Carried("the command that sets it")),
    ("name", Idle("a secret is named by its key")),
    ("driver", Lost("secrets are kept by Freehold", "")),
    ("driver_opts", Lost("secrets are kept by Freehold", "")),
    ("labels", Lost("there are no labels", "")),
    ("template_driver", Lost("secrets are given as they are", "")),
];

/// Names the keys of a table that are not carried, or that nobody knows.
pub(crate) fn sweep(node: &Node, rows: &[Row], path: &str, report: &mut Report) {
    for (key, value) in node.entries() {
        let at = join(path, &key.name);
        match rows.iter().find(|(name, _)| *name == key.name) {
            Some((_, Carried(_) | Idle(_))) => {}
            Some((_, Lost(reason, help))) if !value.is_idle() => report.lose(at, &key.at, *reason, *help),
            Some(_) => {}
            // Extensions are ignored by the specification itself.
            None if key.name.starts_with("x-") => {}
            None if value.is_idle() => {}
            None => {
                report.lose(at, &key.at, "it is no key that Compose has here", "look for a slip of the pen")
            }
        }
    }
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        report.wrong(path, node, "a table");
    }
}

/// The tables of `docs/compose.md`: for each part of a Compose file its title and its rows, as Markdown.
pub fn reference() -> String {
    let parts = [
        ("The file", FILE),
        ("A service", SERVICE),
        ("`deploy`", DEPLOY),
        ("`deploy.resources.limits`", LIMITS),
        ("`healthcheck`", HEALTH),
        ("`ports`, in the long form", PORT),
        ("`volumes`, in the long form", MOUNT),
        ("`networks` of a service", NETWORK_USE),
        ("A network", NETWORK),
        ("A volume", VOLUME),
        ("A secret", SECRET),
    ];
    let mut text = String::new();
    for (title, rows) in parts {
        text.push_str(&format!("## {title}\n\n| key | what becomes of it |\n| --- | --- |\n"));
        for (name, fate) in rows {
            let said = match fate {
                Carried(into) => format!("carried: {into}"),
                Idle(why) => format!("asks for nothing here: {why}"),
                Lost(reason, "") => format!("**named**: {reason}"),
                Lost(reason, help) => format!("**named**: {reason}; {help}"),
            };
            text.push_str(&format!("| `{name}` | {said} |\n"));
        }
        text.push('\n');
    }
    text
}
