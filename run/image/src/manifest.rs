//! Manifests, indexes and configs: parsing what others wrote, and choosing the variant for this machine.
//!
//! OCI and Docker schema 2 are both understood; they differ in media types alone.

use crate::ImageError;
use freehold_model::Digest;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;
use serde_json::Value;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Every media type of a manifest that Freehold takes.
pub(crate) const MEDIA_TYPES: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// No manifest is larger than this (distribution spec 1.1, "Pushing manifests").
pub(crate) const MANIFEST_LIMIT: usize = 4 << 20;

/// A manifest of one image, or an index of several.
#[derive(Debug, Clone)]
pub(crate) enum Manifest {
    /// One image: a config and layers.
    Image(Box<ImageManifest>),
    /// Several manifests, usually one per platform.
    Index(Box<ImageIndex>),
}

impl Manifest {
    /// Parses a manifest. `media_type` is what came beside it, if anything did; it must agree with
    /// what the text itself says.
    pub(crate) fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<(Manifest, String), String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("it is not JSON: {e}"))?;
        if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err("schemaVersion must be 2".into());
        }
        let own = value.get("mediaType").and_then(Value::as_str);
        let kind = match (own, media_type) {
            (Some(own), Some(beside)) if own != beside => {
                return Err(format!("its mediaType is {own} but it came as {beside}"));
            }
            (Some(kind), _) | (None, Some(kind)) => kind.to_owned(),
            (None, None) if value.get("manifests").is_some() => OCI_INDEX.to_owned(),
            (None, None) => OCI_MANIFEST.to_owned(),
        };
        let wrong = |e: serde_json::Error| format!("it is no {kind}: {e}");
        let manifest = match kind.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST if value.get("manifests").is_none() => {
                Manifest::Image(serde_json::from_value(value).map_err(wrong)?)
            }
            OCI_INDEX | DOCKER_LIST if value.get("layers").is_none() => {
                Manifest::Index(serde_json::from_value(value).map_err(wrong)?)
            }
            _ => return Err(format!("{kind} is not a kind of manifest that is taken here")),
        };
        Ok((manifest, kind))
    }

    /// Like [`Manifest::parse`], for a manifest that is stored.
    pub(crate) fn stored(digest: &Digest, bytes: &[u8]) -> Result<Manifest, ImageError> {
        let wrong = |reason| ImageError::Manifest { digest: digest.clone(), reason };
        Ok(Manifest::parse(bytes, None).map_err(wrong)?.0)
    }

    /// The image that it describes; an index describes none.
    pub(crate) fn image(self, digest: &Digest) -> Result<ImageManifest, ImageError> {
        match self {
            Manifest::Image(image) => Ok(*image),
            Manifest::Index(_) => Err(ImageError::Manifest {
                digest: digest.clone(),
                reason: "it is an index of images".into(),
            }),
        }
    }

    /// What it is about, when it is an attachment of another manifest.
    pub(crate) fn subject(&self) -> Option<&Descriptor> {
        match self {
            Manifest::Image(image) => image.subject().as_ref(),
            Manifest::Index(index) => index.subject().as_ref(),
        }
    }

    /// Everything that it names: config and layers, or the manifests of an index.
    pub(crate) fn names(&self) -> Vec<&Descriptor> {
        match self {
            Manifest::Image(image) => std::iter::once(image.config()).chain(image.layers()).collect(),
            Manifest::Index(index) => index.manifests().iter().collect(),
        }
    }

    /// Whether a part of an index is a manifest. An index may name other blobs, too, as BuildKit's caches do.
    pub(crate) fn is_kind(part: &Descriptor) -> bool {
        MEDIA_TYPES.contains(&part.media_type().to_string().as_str())
    }

    /// Everything that must be here before it: config and layers, or the manifests of an index.
    /// Layers that carry their own addresses may live elsewhere.
    pub(crate) fn needs(&self) -> Vec<&Descriptor> {
        match self {
            Manifest::Image(image) => std::iter::once(image.config())
                .chain(image.layers().iter().filter(|layer| layer.urls().is_none()))
                .collect(),
            Manifest::Index(index) => index.manifests().iter().collect(),
        }
    }
}

/// The digest of a descriptor, in Freehold's type.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest, String> {
    descriptor.digest().to_string().parse().map_err(|e: freehold_model::digest::DigestError| e.to_string())
}

/// What this machine runs, as OCI says it.
pub(crate) fn platform() -> (&'static str, &'static str) {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    ("linux", architecture)
}

/// The entry of an index that runs here. An index of one entry that names no platform is taken as it is.
pub(crate) fn choose(index: &ImageIndex) -> Option<&Descriptor> {
    let (os, architecture) = platform();
    let fits = |entry: &&Descriptor| {
        entry
            .platform()
            .as_ref()
            .is_some_and(|p| p.os().to_string() == os && p.architecture().to_string() == architecture)
    };
    match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Some(only),
        entries => entries.iter().filter(fits).min_by_key(|entry| rank(entry)),
    }
}

/// Plain before variants: a variant may need a newer processor. ARM images say v7 or v8 and mean the usual.
fn rank(entry: &Descriptor) -> u8 {
    match entry.platform().as_ref().and_then(|p| p.variant().as_deref()) {
        None | Some("v8") => 0,
        Some("v7") => 1,
        Some(_) => 2,
    }
}

/// What the image says about how to run it; the manifest of the app may say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program when there is no entrypoint.
    pub cmd: Vec<String>,
    /// Environment variables in their order.
    pub env: Vec<(String, String)>,
    /// Where it starts; `/` when the image says nothing.
    pub workdir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// The signal that asks it to stop, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
}

/// The parts of an image config that Freehold reads. Other tools write `null` where they mean nothing,
/// so every part may be missing.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    config: Option<RunPart>,
    #[serde(default)]
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunPart {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
}

impl Config {
    pub(crate) fn parse(digest: &Digest, bytes: &[u8]) -> Result<Config, ImageError> {
        serde_json::from_slice(bytes).map_err(|e| ImageError::Manifest {
            digest: digest.clone(),
            reason: format!("its image config cannot be read: {e}"),
        })
    }

    /// The digests of the unpacked layers, lowest first.
    pub(crate) fn diff_ids(&self) -> &[Digest] {
        self.rootfs.as_ref().and_then(|rootfs| rootfs.diff_ids.as_deref()).unwrap_or_default()
    }

    /// Whether programs of this image run on this machine; `Err` names what it was made for.
    pub(crate) fn runs_here(&self) -> Result<(), String> {
        let (os, architecture) = platform();
        let named = |field: &Option<String>, here: &str| match field.as_deref() {
            None | Some("") => here.to_owned(),
            Some(other) => other.to_owned(),
        };
        let made_for = format!("{}/{}", named(&self.os, os), named(&self.architecture, architecture));
        if made_for == format!("{os}/{architecture}") { Ok(()) } else { Err(made_for) }
    }

    pub(crate) fn run_config(self) -> RunConfig {
        let part = self.config.unwrap_or_default();
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let pair = |line: String| match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (line, String::new()),
        };
        RunConfig {
            entrypoint: part.entrypoint.unwrap_or_default(),
            cmd: part.cmd.unwrap_or_default(),
            env: part.env.unwrap_or_default().into_iter().map(pair).collect(),
            workdir: filled(part.working_dir).unwrap_or_else(|| "/".into()),
            user: filled(part.user),
            stop_signal: filled(part.stop_signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(os: &str, architecture: &str, variant: Option<&str>, name: &str) -> Value {
        let mut platform = json!({"os": os, "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        json!({"mediaType": OCI_MANIFEST, "size": 1, "digest": Digest::of(name.as_bytes()), "platform": platform})
    }

    fn index(entries: Vec<Value>) -> ImageIndex {
        let text = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        match Manifest::parse(text.as_bytes(), None).unwrap().0 {
            Manifest::Index(index) => *index,
            Manifest::Image(_) => panic!("an index was parsed as an image"),
        }
    }

    #[test]
    fn the_variant_for_this_machine_is_chosen() {
        let (os, arch) = platform();
        let chosen = |entries| choose(&index(entries)).map(|entry| digest_of(entry).unwrap());
        let here = Digest::of(b"here");
        let entries = vec![
            entry("linux", "s390x", None, "far"),
            entry(os, arch, Some("v9"), "new"),
            entry(os, arch, None, "here"),
        ];
        assert_eq!(chosen(entries), Some(here));
        assert_eq!(chosen(vec![entry("windows", arch, None, "far")]), None);
    }

    #[test]
    fn a_manifest_must_be_what_it_came_as() {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string();
        assert!(Manifest::parse(index.as_bytes(), Some(OCI_INDEX)).is_ok());
        for (text, kind) in [
            (index.as_str(), OCI_MANIFEST),
            ("{}", OCI_MANIFEST),
            ("[", OCI_MANIFEST),
            (r#"{"schemaVersion":1}"#, OCI_MANIFEST),
            (r#"{"schemaVersion":2}"#, OCI_MANIFEST),
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, OCI_INDEX),
            (r#"{"schemaVersion":2}"#, "text/plain"),
        ] {
            assert!(Manifest::parse(text.as_bytes(), Some(kind)).is_err(), "{text} as {kind}");
        }
    }

    #[test]
    fn a_config_full_of_nulls_is_read() {
        let text = r#"{"os":"linux","architecture":"","config":{"Env":["A=b=c","D"],"Cmd":null,"User":""},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = Config::parse(&Digest::of(b""), text.as_bytes()).unwrap();
        assert!(config.runs_here().is_ok());
        assert!(config.diff_ids().is_empty());
        let run = config.run_config();
        assert_eq!(run.env, [("A".into(), "b=c".into()), ("D".into(), String::new())]);
        assert_eq!((run.workdir.as_str(), run.user), ("/", None));
    }
}
