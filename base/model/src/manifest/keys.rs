//! Every key of `freehold.toml`: the one place where the format is written down.

use super::shape::{Key, Literal::*, Shape, Shape::*, key};
use crate::{Bytes as Size, Millicores as Cpu, Millis as Time};

/// The lowest and the highest priority.
const PRIORITY: (i64, i64) = (-1000, 1000);
const PORT: Shape = Integer(1, 65535);
const HOUR: Time = Time(3_600_000);
const DAY: Time = Time(86_400_000);
const MOMENT: Time = Time(1);

/// The file.
pub(super) const FILE: &[Key] = &[
    key("schema", Integer(1, 1), "1", "The version of this format; always 1.").required(),
    key("app", Name, "\"guestbook\"", "The app's name.").required(),
    key("process", Map(100, &Name, &Table(PROCESS)), "", "What runs, by name.").required(),
    key("endpoint", List(0, &Table(ENDPOINT)), "", "Where it is reached."),
    key("deploy", Table(DEPLOY), "{ timeout = \"15m\" }", "How patient a deploy is."),
    key("volume", List(0, &Table(VOLUME)), "", "What is kept when instances go."),
    key(
        "sign_in",
        Table(SIGN_IN),
        "",
        "How people sign in to it through Freehold ([single sign-on](single-sign-on.md)).",
    ),
    key("env", Map(100, &Name, &Table(ENV)), "", "What is different in one env, by the env's name."),
];

/// `[process.NAME]`
pub(super) const PROCESS: &[Key] = &[
    key(
        "image",
        Image,
        "\"guestbook:1\"",
        "The image to run: in the built-in registry, or any reference with its registry's host. The plan resolves the tag to a digest.",
    )
    .required(),
    key("command", List(1, &Text), "[\"/guestbook\"]", "Replaces the image's own entrypoint and command."),
    key(
        "args",
        List(0, &Text),
        "[\"--verbose\"]",
        "Replaces the image's own command, and keeps its entrypoint. Not beside `command`.",
    ),
    key("count", Integer(0, 1000), "2", "How many instances.").or(Number(1)),
    key(
        "cpu",
        Millicores(Cpu(1), Cpu(1_024_000)),
        "\"250m\"",
        "At most this much processor, for each instance: thousandths of a core, or cores.",
    )
    .or(Words("500m")),
    key("memory", Bytes(Size(4 << 20), Size(1 << 50)), "\"64MiB\"", "At most this much memory, for each instance.")
        .or(Words("256MiB")),
    key("pids", Integer(16, 32768), "100", "At most so many processes and threads, for each instance.")
        .or(Number(512)),
    key(
        "disk",
        Bytes(Size(1 << 20), Size(1 << 50)),
        "\"2GiB\"",
        "At most so much written outside of volumes, for each instance; it goes when the instance ends. An instance with more is stopped and started again, empty; where the node's file system can, it is given no more ([volumes](volumes.md#outside-of-volumes)).",
    )
    .or(Words("10GiB")),
    key("env", Map(1000, &Variable, &Text), "{ LOG = \"info\" }", "Environment variables."),
    key(
        "stop_timeout",
        Millis(MOMENT, HOUR),
        "\"10s\"",
        "How long an instance may take to end after the stop signal, before it is killed.",
    )
    .or(Words("10s")),
    key(
        "driver",
        Choice { can: &["container", "process"], not_yet: &[] },
        "\"container\"",
        "How an instance is isolated. `process` does not isolate at all: it runs as a child process of the node's user.",
    )
    .or(Words("container")),
    key(
        "check",
        Table(CHECK),
        "{ http = \"/healthz\" }",
        "How to see that an instance is healthy. Without one, a process with a TCP endpoint has a TCP check on the first one's target, and a process without such an endpoint is healthy while it runs.",
    ),
    key(
        "secrets",
        List(0, &Either(&Secret, &Table(SECRET))),
        "[\"ADMIN_PASSWORD\"]",
        "Secrets, as environment variables or files. `freehold secret set` gives them values; each release keeps the versions it was made with.",
    ),
    key(
        "affinity",
        Table(AFFINITY),
        "{ prefer = { disk = \"ssd\" } }",
        "On which nodes instances may run, and on which they would rather ([placement](placement.md)).",
    ),
    key(
        "spread",
        List(0, &Either(&Label, &Table(SPREAD))),
        "[\"zone\"]",
        "Labels of nodes over whose values instances are spread, the most important first; `host` is each node by itself.",
    ),
    key(
        "tolerate",
        List(0, &Label),
        "[\"hardware/gpu\"]",
        "Taints of nodes that do not keep its instances away.",
    ),
    key(
        "priority",
        Integer(PRIORITY.0, PRIORITY.1),
        "100",
        "Where there is no room, instances of lower priority make room for those of higher; more than 0 needs a project that may ([placement](placement.md#priority)).",
    )
    .or(Number(0)),
    key(
        "lost_after",
        Millis(Time(5_000), DAY),
        "\"5m\"",
        "When nothing has been heard of a node for so long, its instances are replaced on others; those with volumes wait for it.",
    )
    .or(Words("1m")),
    key(
        "egress",
        List(0, &Egress),
        "[\"api.example.com:443\"]",
        "Where instances may connect to, outside their env; an empty list, or none: nowhere. Enforced by the node ([egress](egress.md)).",
    ),
    key(
        "after",
        List(0, &Name),
        "[\"db\"]",
        "Processes that it needs: it starts when they are healthy, and they stop when it has stopped.",
    ),
];

/// `[process.NAME.affinity]`
pub(super) const AFFINITY: &[Key] = &[
    key(
        "require",
        Map(100, &Label, &OneOf(&LabelValue)),
        "{ zone = [\"cellar\", \"attic\"] }",
        "Labels that a node must have, each with this value or one of these.",
    ),
    key(
        "prefer",
        Map(100, &Label, &OneOf(&LabelValue)),
        "{ disk = \"ssd\" }",
        "Labels that a node would better have: the more of them, the better.",
    ),
    key(
        "apart",
        List(0, &Name),
        "[\"db\"]",
        "Processes of the file that are never on the same node; with its own name: one instance to a node.",
    ),
];

/// A failure domain with a bound.
pub(super) const SPREAD: &[Key] = &[
    key("over", Label, "\"zone\"", "The label of nodes.").required(),
    key(
        "max_skew",
        Integer(1, 1000),
        "1",
        "No domain may have so many more instances than the one that has fewest; rather one is not placed.",
    )
    .required(),
];

/// `[process.NAME.check]`
pub(super) const CHECK: &[Key] = &[
    key("http", UrlPath, "\"/healthz\"", "A GET of this path answers 200 to 399."),
    key("tcp", True, "true", "A connection is accepted."),
    key("command", List(1, &Text), "[\"/bin/check\"]", "This command, run inside the instance, ends with 0."),
    key(
        "port",
        PORT,
        "8080",
        "The instance's port for `http` and `tcp`. Default: the target of the process's TCP endpoint, if all of them have the same.",
    ),
    key("every", Millis(Time(100), HOUR), "\"1s\"", "How often it is tried.").or(Words("1s")),
    key("timeout", Millis(MOMENT, HOUR), "\"500ms\"", "How long one try may take.").or(Words("1s")),
    key("unhealthy_after", Integer(1, 1000), "3", "How many failures in a row make it unhealthy.")
        .or(Number(3)),
    key(
        "grace",
        Millis(Time(0), HOUR),
        "\"10s\"",
        "How long after an instance's start failures do not count.",
    )
    .or(Words("10s")),
    key(
        "restart_after",
        MillisOrNever(Time(1_000), HOUR),
        "\"2m\"",
        "Unhealthy for so long, an instance is stopped and started again; each time in a row it is given twice as long, up to an hour.",
    )
    .or(Words("2m")),
];

/// The keys of a check of which exactly one is given.
pub(super) const PROBES: [&str; 3] = ["http", "tcp", "command"];

/// `[[endpoint]]`
pub(super) const ENDPOINT: &[Key] = &[
    key("process", Name, "\"web\"", "The process that answers.").required(),
    key("listen", PORT, "8000", "The port on the node, on every address, IPv6 and IPv4. One below 1024 takes an admin of the house, once.").required(),
    key("target", PORT, "8080", "The port of the instances.").required(),
    key(
        "protocol",
        Choice { can: &["tcp", "udp"], not_yet: &[] },
        "\"tcp\"",
        "What is carried. Ports of TCP and UDP are numbered apart.",
    )
    .or(Words("tcp")),
    key(
        "proxy_protocol",
        Choice { can: &["off", "v1", "v2"], not_yet: &[] },
        "\"off\"",
        "Whether instances are told the client's address by the PROXY protocol, as text (`v1`) or binary (`v2`). TCP only.",
    )
    .or(Words("off")),
    key(
        "trusted_proxies",
        List(0, &Network),
        "[\"192.168.1.5\", \"10.0.0.0/8\"]",
        "Proxies in front: a connection from one of these addresses or networks must begin with a PROXY protocol header, v1 or v2, and the address in it is the client's. Nobody else is believed. TCP only ([endpoints](endpoints.md#behind-another-proxy)).",
    ),
    key(
        "idle_timeout",
        Millis(Time(1_000), Time(7 * 24 * 3_600_000)),
        "\"10m\"",
        "After so long without a byte either way a connection is ended. Default: `1h` for TCP, `1m` for a UDP session.",
    ),
    key(
        "max_connections",
        Integer(1, 1_000_000),
        "500",
        "At most so many connections, or UDP sessions, at a time. A connection too many is reset and counted as refused; a session too many ends the one that was silent longest. Default: what the node's open files allow; 4096 sessions.",
    ),
];

/// `[deploy]`
pub(super) const DEPLOY: &[Key] = &[
    key(
        "timeout",
        Millis(Time(1_000), DAY),
        "\"15m\"",
        "How long it may take until every new instance is healthy, with fetching images. Then it fails, and what ran before goes on.",
    )
    .or(Words("5m")),
    key(
        "drain_timeout",
        Millis(Time(0), HOUR),
        "\"10s\"",
        "How long connections to old instances may go on once the new ones serve. Then they are cut.",
    )
    .or(Words("10s")),
];

/// `[[volume]]`
pub(super) const VOLUME: &[Key] = &[
    key("name", Name, "\"data\"", "The volume's name, unique in the file.").required(),
    key(
        "process",
        Name,
        "\"web\"",
        "The process that has it: one with `count` 0 or 1, as a volume has one writer.",
    )
    .required(),
    key(
        "path",
        Path,
        "\"/data\"",
        "Where the instance finds it; not `/`, nor under `/dev`, `/proc` or `/sys`.",
    )
    .required(),
    key(
        "size",
        Bytes(Size(1 << 20), Size(1 << 50)),
        "\"5GiB\"",
        "How much it may hold: enforced where the node's file system can, watched where it cannot.",
    )
    .or(Words("10GiB")),
];

/// `[sign_in]`
pub(super) const SIGN_IN: &[Key] = &[
    key("process", Name, "\"web\"", "The process that people sign in to: it is told the client's id and secret.")
        .required(),
    key(
        "redirect",
        List(1, &Redirect),
        "[\"https://photos.example/callback\"]",
        "Where people are sent back to once they signed in: the app's own addresses, compared letter by letter.",
    )
    .required(),
    key(
        "after_sign_out",
        List(0, &Redirect),
        "[\"https://photos.example/\"]",
        "Where the app may have people sent once they signed out.",
    ),
    key(
        "env",
        Table(SIGN_IN_ENV),
        "{ issuer = \"AUTH_URL\" }",
        "The environment variables that tell the process, where the app expects others.",
    ),
];

/// `env` of `[sign_in]`
pub(super) const SIGN_IN_ENV: &[Key] = &[
    key("issuer", Variable, "\"AUTH_URL\"", "The address of the OpenID provider: this Freehold.")
        .or(Words("OIDC_ISSUER")),
    key("client_id", Variable, "\"AUTH_ID\"", "The client's id: `PROJECT.APP.ENV`.")
        .or(Words("OIDC_CLIENT_ID")),
    key("client_secret", Variable, "\"AUTH_SECRET\"", "The client's secret.").or(Words("OIDC_CLIENT_SECRET")),
];

/// The same, with their defaults.
pub(super) const SIGN_IN_VARIABLES: [(&str, &str); 3] =
    [("issuer", "OIDC_ISSUER"), ("client_id", "OIDC_CLIENT_ID"), ("client_secret", "OIDC_CLIENT_SECRET")];

/// A secret that is a file, or is called otherwise inside.
pub(super) const SECRET: &[Key] = &[
    key("name", Secret, "\"TLS_KEY\"", "The secret's name.").required(),
    key(
        "env",
        Variable,
        "\"DB_PASSWORD\"",
        "The environment variable that holds it. Default: its name, unless `file` is given.",
    ),
    key(
        "file",
        Path,
        "\"/run/secrets/tls.key\"",
        "The file that holds it inside, readable by the process's user alone (mode 0400), never on a disk.",
    ),
];

/// `[env.NAME]`
pub(super) const ENV: &[Key] = &[
    key(
        "process",
        Map(100, &Name, &Part(PROCESS)),
        "",
        "Keys of processes that exist, merged over them: tables key by key, anything else replaced.",
    ),
    key("sign_in", Part(SIGN_IN), "", "Keys of `[sign_in]`, merged over it: lists are replaced."),
    key("endpoint", Any, "", "Endpoints of this env alone.").not_yet("endpoints of one env alone"),
    key("volume", Any, "", "Volumes of this env alone.").not_yet("volumes of one env alone"),
];
