//! Files that nobody would write: whatever comes, the answer is a manifest or an error, never a panic.

use freehold_compose::{ComposeError, File, Options, Outside, import};
use proptest::prelude::*;

struct Nothing;

impl Outside for Nothing {
    fn read(&self, path: &str) -> Result<String, String> {
        // A file that extends itself, and a file of variables.
        match path {
            "self.yaml" => Ok("services: {a: {extends: {file: self.yaml, service: a}}}".into()),
            "a.env" => Ok("A=1\nSECRET='x'\n=bad".into()),
            _ => Err("there is no such file".into()),
        }
    }

    fn is_file(&self, _: &str) -> Option<bool> {
        None
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "SET").then(|| "value".to_owned())
    }
}

/// Converts; a manifest that does not parse is a defect, and so is one that loses keys without a word.
fn survives(text: &str) {
    let options = Options { fallback: "chaos".into(), profiles: vec!["*".into()], ..Options::default() };
    if let Err(ComposeError::Invalid(why)) =
        import(&[File { name: "c.yaml".into(), text: text.into() }], &options, &Nothing)
    {
        panic!("{why}\nfrom\n{text}");
    }
}

/// Values of every kind, most of them almost right somewhere.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("null"),
        Just("true"),
        Just("false"),
        Just("no"),
        Just("0"),
        Just("-1"),
        Just("3"),
        Just("1e9"),
        Just("''"),
        Just("a"),
        Just("b"),
        Just("8080:80"),
        Just("127.0.0.1:1-3:4-6/udp"),
        Just("'[::1]:80:80'"),
        Just("./x:/x:ro"),
        Just("data:/data"),
        Just("/var/run/docker.sock:/s"),
        Just("'${SET:-${NONE}}'"),
        Just("'${DB_PASSWORD:?x}'"),
        Just("'$'"),
        Just("1m30s"),
        Just("99999h"),
        Just("512m"),
        Just("9999t"),
        Just("0.5"),
        Just("postgres:17"),
        Just("'Bad Image'"),
        Just("'\"open'"),
        Just("\"a\\0b\\n\\u2028\""),
        Just("service_healthy"),
        Just("CMD"),
        Just("NONE"),
        Just("*"),
        Just("{file: self.yaml, service: a}"),
        Just("a.env"),
        Just("PASSWORD=x"),
        Just("'A=${SET}'"),
        Just("always"),
        Just("host"),
        Just("é"),
        Just("postgres://u:p@h/d"),
        Just("../../../x:/../y"),
        Just("'a: b'"),
    ];
    let leaf = prop_oneof![
        text.prop_map(str::to_owned),
        "[a-z]{1,8}".prop_map(String::from),
        "\\PC{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''")))
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![
            Just("a"),
            Just("test"),
            Just("source"),
            Just("target"),
            Just("type"),
            Just("published"),
            Just("condition"),
            Just("limits"),
            Just("resources"),
            Just("memory"),
            Just("cpus"),
            Just("replicas"),
            Just("interval"),
            Just("retries"),
            Just("file"),
            Just("path"),
            Just("read_only"),
            Just("disable"),
            Just("PASSWORD"),
            Just("aliases"),
            Just("start_period"),
            Just("mode"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(", "))),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|all| {
                let all: Vec<String> = all.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", all.join(", "))
            }),
        ]
    })
}

fn service() -> impl Strategy<Value = String> {
    let keys = [
        "image",
        "build",
        "command",
        "entrypoint",
        "environment",
        "env_file",
        "ports",
        "volumes",
        "secrets",
        "healthcheck",
        "depends_on",
        "deploy",
        "cpus",
        "mem_limit",
        "pids_limit",
        "scale",
        "restart",
        "stop_grace_period",
        "networks",
        "extends",
        "profiles",
        "privileged",
        "network_mode",
        "labels",
        "nonsense",
    ];
    prop::collection::btree_map(prop::sample::select(keys.to_vec()), value(), 0..8).prop_map(|keys| {
        let lines: Vec<String> = keys.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
        if lines.is_empty() { "    {}\n".to_owned() } else { lines.concat() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn almost_compose(services in prop::collection::btree_map("[ab_A-Z.-]{1,4}|é", service(), 1..4),
                      top in prop::collection::btree_map(prop::sample::select(vec!["name", "networks", "volumes", "secrets", "configs", "include"]), value(), 0..3)) {
        let mut text = String::from("services:\n");
        for (name, service) in &services {
            text.push_str(&format!("  \"{name}\":\n{service}"));
        }
        for (key, value) in &top {
            text.push_str(&format!("{key}: {value}\n"));
        }
        survives(&text);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        survives(&text);
        survives(&format!("services:\n  a: {text}"));
        survives(&format!("services:\n  a:\n    image: a\n    environment:\n      A: \"{text}\""));
    }

    #[test]
    fn torn_samples(cut in 0_usize..2000, change in 0_usize..2000, with in any::<char>()) {
        let text = include_str!("samples/everything/compose.yaml");
        let cut = text.floor_char_boundary(cut.min(text.len()));
        survives(&text[..cut]);
        let at = text.floor_char_boundary(change.min(text.len()));
        survives(&format!("{}{with}{}", &text[..at], &text[at..]));
    }
}
