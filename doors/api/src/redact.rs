//! Resources as callers see them: without what is sealed, which is for the vault alone, and without what looks
//! secret in what runs.
//!
//! Invariant: every route that answers with resources passes them through here, and a field is shown because it
//! is named here as one to show: what a kind that holds secrets gains, and a kind that is not known here, is kept
//! back. A test plants a sealed value and looks for it in each route, another an unknown field in each such kind.

use freehold_model::{
    AnyResource, Kind,
    api::Description,
    masking::{MASK, looks_secret, without_passwords},
};
use serde_json::Value;

/// What is shown of a kind.
enum Shown {
    /// Everything: nothing in it is sealed.
    Whole,
    /// These fields of spec and status, with all that is in them; lists are looked into.
    Only(&'static [&'static str]),
}

fn shown(kind: Kind) -> Shown {
    Shown::Only(match kind {
        Kind::Org | Kind::Project | Kind::App | Kind::Env | Kind::Release | Kind::Rollout | Kind::Receipt => {
            return Shown::Whole;
        }
        Kind::Instance | Kind::Endpoint | Kind::Volume | Kind::Image | Kind::Node | Kind::Gateway => {
            return Shown::Whole;
        }
        Kind::Secret => &[
            "spec.current",
            "spec.last",
            "spec.versions.number",
            "spec.versions.key",
            "spec.versions.text",
            "spec.versions.fingerprint",
            "spec.versions.created",
            "spec.versions.actor",
            "spec.removed",
        ],
        Kind::Authority => &[
            "spec.house",
            "spec.roots.number",
            "spec.roots.root",
            "spec.roots.certificate",
            "spec.roots.cross",
            "spec.roots.fingerprint",
            "spec.roots.key",
            "spec.roots.created",
            "spec.roots.not_after",
            "spec.intermediates.number",
            "spec.intermediates.root",
            "spec.intermediates.certificate",
            "spec.intermediates.cross",
            "spec.intermediates.fingerprint",
            "spec.intermediates.key",
            "spec.intermediates.created",
            "spec.intermediates.not_after",
            "spec.last",
        ],
        Kind::User => &[
            "spec.full_name",
            "spec.disabled",
            "spec.bindings",
            "status.failures",
            "status.locks",
            "status.locked_until",
        ],
        Kind::Session => &["spec.expires", "spec.address", "spec.program", "spec.by"],
        Kind::Token => &["spec.bindings", "spec.expires", "spec.creator", "spec.maker", "spec.rate"],
        Kind::JoinToken => &[
            "spec.machine",
            "spec.root",
            "spec.expires",
            "spec.only",
            "spec.actor",
            "spec.revoked",
            "status.used",
            "status.refused",
        ],
        Kind::Grant => &[
            "spec.client",
            "spec.env",
            "spec.user",
            "spec.redirect",
            "spec.scopes",
            "spec.signed_in",
            "status.used",
            "status.refreshed",
        ],
        Kind::Issuer => &["spec.keys.kid", "spec.keys.x", "spec.keys.y", "spec.keys.created"],
        Kind::IdentityProvider => &["spec.issuer", "spec.title", "spec.client_id"],
        Kind::Identity => {
            &["spec.machine", "spec.key", "spec.token", "spec.revoked", "status.issued", "status.used"]
        }
        Kind::Device => &["spec.owner", "spec.public_key"],
        // A kind that is added and not named here shows nothing.
        #[allow(unreachable_patterns)]
        _ => &[],
    })
}

/// `resource` without what nobody else may see.
pub(crate) fn public(mut resource: AnyResource) -> AnyResource {
    match shown(resource.kind) {
        Shown::Only(fields) => {
            keep(&mut resource.spec, "spec", fields);
            keep(&mut resource.status, "status", fields);
        }
        Shown::Whole => {
            mask(&mut resource.spec);
            mask(&mut resource.status);
        }
    }
    resource
}

/// Keeps of `value`, which is at `path`, what `fields` name.
fn keep(value: &mut Value, path: &str, fields: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| keep(item, path, fields)),
        Value::Object(own) => own.retain(|name, value| {
            let path = format!("{path}.{name}");
            let inside = format!("{path}.");
            let is_kept = fields.contains(&path.as_str());
            let has_kept = fields.iter().any(|field| field.starts_with(&inside));
            if has_kept {
                keep(value, &path, fields);
            }
            is_kept || has_kept && (value.is_array() || value.is_object())
        }),
        _ => {}
    }
}

/// Masks variables whose names say that they are secrets, and passwords in addresses, wherever they are.
fn mask(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("://") => *text = without_passwords(text),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            for (name, value) in fields {
                mask(value);
                if let (true, Value::Object(variables)) = (name == "env", value) {
                    let secret = variables.iter_mut().filter(|(name, _)| looks_secret(name));
                    secret.for_each(|(_, value)| *value = MASK.into());
                }
            }
        }
        _ => {}
    }
}

/// All of them.
pub(crate) fn all_public(resources: Vec<AnyResource>) -> Vec<AnyResource> {
    resources.into_iter().map(public).collect()
}

/// A description of which every resource is public.
pub(crate) fn description(description: Description) -> Description {
    Description {
        resource: public(description.resource),
        ancestors: all_public(description.ancestors),
        children: all_public(description.children),
        ..description
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: Kind, spec: Value, status: Value) -> AnyResource {
        let id = format!("{}_{}", kind.prefix(), "0".repeat(26));
        serde_json::from_value(json!({
            "id": id, "kind": kind, "name": "x", "labels": {}, "generation": 1, "version": 1,
            "created": "2026-01-01T00:00:00Z", "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_not_named_is_kept_back_in_every_kind_that_holds_secrets() {
        let planted = || {
            let deep = json!({ "tomorrow": "planted", "sealed": "planted", "number": 7 });
            json!({
                "tomorrow": "planted", "hash": "planted", "secret": { "sealed": "planted" }, "password": "planted",
                "versions": [deep], "keys": [deep], "roots": [deep], "intermediates": "planted",
                "code": { "hash": "planted" }, "access": { "hash": "planted" },
            })
        };
        let mut closed = 0;
        for kind in Kind::ALL.iter().filter(|kind| matches!(shown(**kind), Shown::Only(_))) {
            closed += 1;
            let text = serde_json::to_string(&public(of(*kind, planted(), planted()))).unwrap();
            assert!(!text.contains("planted"), "{kind}: {text}");
        }
        assert!(closed >= 11, "{closed}");
        let kept = public(of(Kind::Secret, planted(), json!({})));
        assert_eq!(kept.spec, json!({ "versions": [{ "number": 7 }] }));
    }

    #[test]
    fn variables_that_look_secret_and_passwords_in_addresses_are_masked_wherever_they_are() {
        let env = json!({ "PGPASSWORD": "hunter2", "LOG": "debug", "URL": "postgres://app:hunter2@db/shop" });
        let release = public(of(
            Kind::Release,
            json!({
                "manifest": { "process": { "web": { "env": env, "command": ["x", "http://a:hunter2@b"] } } },
                "templates": { "web": { "env": env, "secrets": [{ "name": "A", "env": "A_TOKEN" }] } },
            }),
            json!({}),
        ));
        let text = release.spec.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(release.spec["templates"]["web"]["env"]["LOG"], "debug");
        assert_eq!(release.spec["templates"]["web"]["env"]["PGPASSWORD"], MASK);
        assert_eq!(release.spec["templates"]["web"]["secrets"][0]["env"], "A_TOKEN");
    }
}
