//! From the checked tree to a [`Manifest`]: defaults filled in, a check joined with its port.
//!
//! Called only when nothing was reported, so that nothing here can fail for what the user wrote.

use super::{
    Manifest,
    keys::{CHECK, DEPLOY, ENDPOINT, PROCESS, SIGN_IN_ENV, VOLUME},
    resolve::targets,
    shape::{Key, Literal},
    tree::{Data, Fields, Node},
};
use serde_json::{Map, Value, json};

/// Makes the manifest of `file` with `processes` and `sign_in`, those of the env that was asked for.
pub(super) fn fill(
    file: &Node,
    processes: &Fields,
    sign_in: Option<&Node>,
) -> Result<Manifest, serde_json::Error> {
    let targets = targets(file);
    let process: Map<String, Value> = processes
        .iter()
        .map(|(name, process)| {
            (name.clone(), filled_process(process, targets.get(name).map(|(first, _)| *first)))
        })
        .collect();
    let endpoint: Vec<Value> =
        file.list("endpoint").iter().map(|endpoint| filled(endpoint, ENDPOINT)).collect();
    let volume: Vec<Value> = file.list("volume").iter().map(|volume| filled(volume, VOLUME)).collect();
    let deploy = file.get("deploy").map(|deploy| filled(deploy, DEPLOY));
    let deploy = deploy.unwrap_or_else(|| with_defaults(Map::new(), DEPLOY));
    let sign_in = sign_in.map(|sign_in| {
        let mut filled = json_of(sign_in);
        let names = sign_in.get("env").map(|env| self::filled(env, SIGN_IN_ENV));
        filled["env"] = names.unwrap_or_else(|| with_defaults(Map::new(), SIGN_IN_ENV));
        filled
    });
    let mut manifest: Manifest = serde_json::from_value(json!({
        "schema": file.integer("schema"), "app": file.text("app"), "process": process, "endpoint": endpoint,
        "deploy": deploy,
        "volume": volume, "sign_in": sign_in,
    }))?;
    manifest.add_client_secret();
    Ok(manifest)
}

fn filled_process(process: &Node, target: Option<i64>) -> Value {
    let mut filled = filled(process, PROCESS);
    if process.get("secrets").is_some() {
        filled["secrets"] = process.list("secrets").iter().map(filled_secret).collect();
    }
    if process.get("spread").is_some() {
        filled["spread"] = process.list("spread").iter().map(filled_spread).collect();
    }
    match process.get("check") {
        Some(check) => filled["check"] = filled_check(check, target),
        None if target.is_some() => {
            let mut check = with_defaults(Map::new(), CHECK);
            check["tcp"] = json!({ "port": target });
            filled["check"] = check;
        }
        None => {}
    }
    filled
}

/// A secret as [`super::SecretUse`] has it: one that is no file is a variable, of its own name if no other.
fn filled_secret(secret: &Node) -> Value {
    match json_of(secret) {
        Value::String(name) => json!({ "name": name, "env": name }),
        mut table => {
            if table.get("file").is_none() && table.get("env").is_none() {
                table["env"] = table["name"].clone();
            }
            table
        }
    }
}

/// A failure domain as [`crate::Spread`] has it: a text is one without a bound.
fn filled_spread(spread: &Node) -> Value {
    match json_of(spread) {
        Value::String(over) => json!({ "over": over }),
        table => table,
    }
}

/// A check as [`super::Check`] has it: the port is the probe's.
fn filled_check(check: &Node, target: Option<i64>) -> Value {
    let mut filled = filled(check, CHECK);
    let port = check.integer("port").or(target);
    if let Some(path) = check.text("http") {
        filled["http"] = json!({ "path": path, "port": port });
    } else if check.get("tcp").is_some() {
        filled["tcp"] = json!({ "port": port });
    }
    if let Value::Object(fields) = &mut filled {
        fields.remove("port");
    }
    filled
}

fn filled(node: &Node, keys: &[Key]) -> Value {
    let fields = match json_of(node) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    with_defaults(fields, keys)
}

fn with_defaults(mut fields: Map<String, Value>, keys: &[Key]) -> Value {
    for key in keys {
        match key.default {
            Some(default) if !fields.contains_key(key.name) => {
                fields.insert(key.name.to_owned(), default.json());
            }
            _ => {}
        }
    }
    Value::Object(fields)
}

fn json_of(node: &Node) -> Value {
    match &node.data {
        Data::Text(text) => json!(text),
        Data::Integer(number) => json!(number),
        Data::True => json!(true),
        Data::List(list) => list.iter().map(json_of).collect(),
        Data::Table(fields) => fields.iter().map(|(name, node)| (name.clone(), json_of(node))).collect(),
        Data::Broken => Value::Null,
    }
}

impl Literal {
    /// The default as JSON.
    pub(super) fn json(self) -> Value {
        match self {
            Literal::Number(number) => json!(number),
            Literal::Words(text) => json!(text),
        }
    }
}
