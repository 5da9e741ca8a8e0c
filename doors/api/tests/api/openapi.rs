//! The document: current in the repository, complete, and true to what routes accept.

use crate::world::{World, is_for_machines};
use serde_json::Value;
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::to_value(freehold_api::openapi()).unwrap()
}

/// Writes the file when UPDATE=1 is set; compares it otherwise.
#[test]
fn the_committed_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let current = format!("{:#}\n", document());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == current,
        "docs/openapi.json is not current: UPDATE=1 cargo test -p freehold-api writes it"
    );
}

#[test]
fn every_operation_is_named_tagged_and_may_fail_with_a_problem() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name =
                operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
            assert!(names.insert(name.to_owned()), "two operations are called {name}");
            assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name} needs one tag");
            assert!(operation["summary"].is_string(), "{name} needs a summary");
            let schema = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
            assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{name}");
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["security"].as_array().unwrap().len(), 2);
}

#[test]
fn every_reference_leads_somewhere_and_every_kind_is_described() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to but not described");
    }
    for kind in freehold_model::Kind::ALL {
        for half in ["spec", "status"] {
            let name = format!("{kind}{half}");
            assert!(schemas.keys().any(|key| key.to_lowercase() == name), "{name}");
        }
    }
    // Two types of one name would hide one another: these two once did.
    assert!(schemas["Change"].to_string().contains("\"deploy\""));
    assert!(schemas["PlannedChange"].to_string().contains("\"fields\""));
}

/// An unknown key makes each route say which keys it takes: they must be the documented ones.
#[tokio::test]
async fn routes_take_exactly_the_documented_parameters() {
    let world = World::new();
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        if path == "/openapi.json" {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let documented: BTreeSet<String> =
                of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
            let prefixes = [
                ("receipts", "rcp"),
                ("endpoints", "end"),
                ("volumes", "vol"),
                ("secrets", "sec"),
                ("join-tokens", "jtk"),
                ("tokens", "tok"),
                ("users", "usr"),
                ("sessions", "ses"),
                ("nodes", "nod"),
                ("orgs", "org"),
            ];
            let prefix =
                prefixes.iter().find(|(noun, _)| path.contains(noun)).map_or("ins", |(_, prefix)| prefix);
            let concrete = path.replace("{id}", &format!("{prefix}_00000000000000000000000000"));
            let concrete = concrete.replace("{name}", "absent");
            let request = world.request(&method.to_uppercase(), &format!("{concrete}?unknown=1"));
            let request =
                request.header("content-type", "application/json").body("{}".to_owned().into()).unwrap();
            let answer = match is_for_machines(path) {
                true => world.send_as_node(request).await,
                false => world.send(request).await,
            };
            let (_, problem) = crate::world::json(answer).await;
            let hint = problem["hint"].as_str().unwrap_or_else(|| panic!("{method} {path} takes anything"));
            let taken: BTreeSet<String> = match hint.strip_prefix("This route takes: ") {
                Some(list) => list.trim_end_matches('.').split(", ").map(str::to_owned).collect(),
                None => {
                    assert_eq!(hint, "This route takes no parameters.", "{method} {path}");
                    BTreeSet::new()
                }
            };
            assert_eq!(taken, documented, "{method} {path}");
        }
    }
}
