//! The image that another one is made from: its layers lie below, its config is inherited.
//!
//! Called by `build_folder`. The base stays where it is: only its manifest and config are read here, and
//! whoever pushes has the registry take its layers from the base's own repository.

use super::spec::{ImageSpec, epoch_time};
use crate::manifest::platform;
use freehold_model::Digest;
use oci_spec::image::ImageManifest;
use serde_json::{Map, Value, json};

/// The annotations by which an image names its base (image spec 1.1, "Pre-Defined Annotation Keys").
pub(crate) const BASE_NAME: &str = "org.opencontainers.image.base.name";
pub(super) const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// An image to build upon.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// As `freehold-image.toml` names it.
    pub reference: String,
    /// The digest of its manifest for this platform.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Value,
    /// The image config.
    pub config: Value,
}

impl Base {
    /// Its layers as an OCI manifest lists them.
    pub(super) fn layers(&self) -> Result<Vec<Value>, String> {
        let wrong = |reason: String| format!("its base {}: {reason}", self.reference);
        let manifest: ImageManifest =
            serde_json::from_value(self.manifest.clone()).map_err(|e| wrong(e.to_string()))?;
        let layers = manifest.layers().iter().map(|layer| {
            let theirs = layer.media_type().to_string();
            let media_type = media_type(&theirs).map_err(wrong)?;
            let digest = layer.digest().to_string();
            Ok(json!({"mediaType": media_type, "digest": digest, "size": layer.size()}))
        });
        let layers = layers.collect::<Result<Vec<_>, String>>()?;
        match self.diff_ids() {
            Some(ids) if ids.len() == layers.len() => Ok(layers),
            _ => Err(wrong("its config does not name as many layers as its manifest".into())),
        }
    }

    fn diff_ids(&self) -> Option<&Vec<Value>> {
        self.config.pointer("/rootfs/diff_ids").and_then(Value::as_array)
    }
}

/// The name of a layer's kind in an OCI manifest. Docker's differ in name alone.
fn media_type(theirs: &str) -> Result<&str, String> {
    Ok(match theirs {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        ours if ours.starts_with("application/vnd.oci.image.layer.v1.") => ours,
        other => return Err(format!("a layer is `{other}`, which cannot be built upon")),
    })
}

/// The image config (image spec, "Image Configuration"): what the base says, and over it what `spec` says.
pub(super) fn config(spec: &ImageSpec, base: Option<&Base>, diff_id: &Digest, epoch: Option<u64>) -> Value {
    let (os, architecture) = platform();
    let mut config = json!({"os": os, "architecture": architecture});
    let (mut run, mut diff_ids, mut history) = (Map::new(), vec![], vec![]);
    if let Some(base) = base {
        for key in ["os", "architecture", "variant"] {
            if let Some(value) = base.config.get(key) {
                config[key] = value.clone();
            }
        }
        run = base.config.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        // What an image asks of those who build upon it: instructions of another builder.
        run.remove("OnBuild");
        diff_ids = base.diff_ids().cloned().unwrap_or_default();
        history = base.config.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    }
    spec.lay_over(&mut run);
    let created = epoch_time(epoch);
    diff_ids.push(json!(diff_id));
    history.push(json!({"created": created, "created_by": "freehold image build"}));
    config["created"] = json!(created);
    config["config"] = Value::Object(run);
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    config["history"] = json!(history);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(run: Value) -> Base {
        Base {
            reference: "node:22".into(),
            digest: Digest::of(b"base"),
            manifest: json!({}),
            config: json!({"os": "linux", "architecture": "riscv64", "config": run,
                "rootfs": {"type": "layers", "diff_ids": ["sha256:aa"]}}),
        }
    }

    fn built(spec: &str, run: Value) -> Value {
        config(&ImageSpec::parse(spec).unwrap(), Some(&base(run)), &Digest::of(b"layer"), None)
    }

    #[test]
    fn what_is_not_said_is_inherited() {
        let run = json!({"Entrypoint": ["/e"], "Cmd": ["a"], "Env": ["PATH=/bin", "A=1"], "User": "7",
            "OnBuild": ["RUN x"], "ExposedPorts": {"80/tcp": {}}});
        let config = built("exposed = [81]\n[env]\nA = \"2\"\nB = \"3\"", run);
        assert_eq!(config["architecture"], "riscv64");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        let run = &config["config"];
        assert_eq!((&run["Entrypoint"], &run["Cmd"]), (&json!(["/e"]), &json!(["a"])));
        assert_eq!(run["Env"], json!(["PATH=/bin", "A=2", "B=3"]));
        assert_eq!(run["ExposedPorts"], json!({"80/tcp": {}, "81/tcp": {}}));
        assert_eq!((&run["User"], run.get("OnBuild")), (&json!("7"), None));
    }

    #[test]
    fn another_entrypoint_takes_the_bases_command_along() {
        let run = json!({"Entrypoint": ["/e"], "Cmd": ["a"]});
        assert_eq!(
            built("cmd = [\"b\"]", run.clone())["config"],
            json!({"Entrypoint": ["/e"], "Cmd": ["b"]})
        );
        assert_eq!(built("entrypoint = [\"/f\"]", run)["config"], json!({"Entrypoint": ["/f"]}));
    }

    #[test]
    fn layers_of_docker_are_named_as_oci_names_them() {
        let digest = Digest::of(b"l");
        let mut base = base(json!({}));
        let mut manifest = |kind: &str| {
            base.manifest = json!({"schemaVersion": 2, "config": {"mediaType": "x", "digest": digest, "size": 1},
                "layers": [{"mediaType": kind, "digest": digest, "size": 9}]});
            base.layers()
        };
        let layers = manifest("application/vnd.docker.image.rootfs.diff.tar.gzip").unwrap();
        assert_eq!(layers[0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        let error = manifest("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").unwrap_err();
        assert!(error.contains("node:22") && error.contains("foreign"), "{error}");
    }
}
