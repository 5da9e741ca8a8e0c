//! Downloads an image from a registry into an OCI archive: the way out, readable by skopeo and podman.
//!
//! Called by the command line. Digests are verified on the way; an archive appears whole or not at all.

use crate::{
    ImageError,
    files::random_name,
    manifest::{MANIFEST_LIMIT, MEDIA_TYPES, Manifest, OCI_INDEX, digest_of},
    push::{OnProgress, Progress, Registry, send, split},
};
use freehold_model::Digest;
use futures::StreamExt;
use oci_spec::image::Descriptor;
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Saves `reference` (`NAME:TAG`) of the registry at `registry_url` as the OCI archive `out`.
///
/// # Errors
/// `reference` is no name and tag, or unknown over there; bytes differ from their digest; `out` cannot be
/// written.
pub async fn save_archive(
    registry_url: &str,
    token: Option<&str>,
    reference: &str,
    out: &Path,
    progress: OnProgress,
) -> Result<Digest, ImageError> {
    let (name, tag) = split(reference)?;
    let registry = Registry::new(registry_url, token)?;
    let mut unfinished = out.as_os_str().to_owned();
    unfinished.push(format!(".{}", random_name()));
    let unfinished = Path::new(&unfinished);
    let file = File::create_new(unfinished).map_err(ImageError::io("write", out))?;
    let archive = tar::Builder::new(BufWriter::new(file));
    let mut save = Save { registry, name, archive, written: HashSet::new(), out, progress };
    let saved = save.run(&tag).await;
    let renamed = saved.and_then(|digest| {
        std::fs::rename(unfinished, out).map(|()| digest).map_err(ImageError::io("write", out))
    });
    if renamed.is_err() {
        let _ = std::fs::remove_file(unfinished);
    }
    renamed
}

struct Save<'a> {
    registry: Registry,
    name: String,
    archive: tar::Builder<BufWriter<File>>,
    written: HashSet<Digest>,
    out: &'a Path,
    progress: OnProgress,
}

impl Save<'_> {
    async fn run(&mut self, tag: &str) -> Result<Digest, ImageError> {
        let (bytes, digest, media_type) = self.tree(tag, 0).await?;
        let entry = json!({
            "mediaType": media_type, "digest": digest, "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        });
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string();
        self.small("index.json", index.as_bytes())?;
        self.small("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let finished = self.archive.finish().and_then(|()| self.archive.get_mut().flush());
        finished.map_err(ImageError::io("write", self.out))?;
        Ok(digest)
    }

    /// Saves a manifest and all that it needs.
    async fn tree(&mut self, target: &str, depth: u8) -> Result<(Vec<u8>, Digest, String), ImageError> {
        let (bytes, media_type) = self.manifest(target).await?;
        let digest = Digest::of(&bytes);
        let wrong = |reason| ImageError::Manifest { digest: digest.clone(), reason };
        if target.contains(':') && target != digest.as_str() {
            return Err(wrong(format!("{target} was asked for")));
        }
        let (manifest, media_type) = Manifest::parse(&bytes, media_type.as_deref()).map_err(wrong)?;
        for part in manifest.needs() {
            let wanted = digest_of(part).map_err(wrong)?;
            match manifest {
                Manifest::Image(_) => self.blob(part, &wanted).await?,
                Manifest::Index(_) if depth > 3 => return Err(wrong("indexes are nested too deeply".into())),
                Manifest::Index(_) => drop(Box::pin(self.tree(wanted.as_str(), depth + 1)).await?),
            }
        }
        if self.written.insert(digest.clone()) {
            self.small(&format!("blobs/sha256/{}", digest.hex()), &bytes)?;
        }
        Ok((bytes, digest, media_type))
    }

    async fn manifest(&self, target: &str) -> Result<(Vec<u8>, Option<String>), ImageError> {
        let url = self.registry.url(&format!("/v2/{}/manifests/{target}", self.name))?;
        let request =
            self.registry.request(Method::GET, url.clone()).header(header::ACCEPT, MEDIA_TYPES.join(", "));
        let response = send(request, &url, &[StatusCode::OK]).await.map_err(|error| match error {
            ImageError::Transfer { status: Some(404), .. } => {
                ImageError::Unknown(format!("{}:{target}", self.name))
            }
            other => other,
        })?;
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(str::to_owned);
        let mut bytes = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(|e| broke_off(url.as_str(), &e))?);
            if bytes.len() > MANIFEST_LIMIT {
                let reason = "its manifest is larger than 4 MiB".into();
                return Err(ImageError::Transfer { url: url.to_string(), reason, status: None });
            }
        }
        Ok((bytes, media_type))
    }

    async fn blob(&mut self, descriptor: &Descriptor, digest: &Digest) -> Result<(), ImageError> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        (self.progress)(Progress::Begin(digest.clone(), descriptor.size()));
        let url = self.registry.url(&format!("/v2/{}/blobs/{digest}", self.name))?;
        let request = self.registry.request(Method::GET, url.clone());
        let mut pieces = send(request, &url, &[StatusCode::OK]).await?.bytes_stream();
        let mut header = header(descriptor.size());
        let path = format!("blobs/sha256/{}", digest.hex());
        header.set_path(&path).map_err(ImageError::io("write", self.out))?;
        header.set_cksum();
        let out = self.archive.get_mut();
        out.write_all(header.as_bytes()).map_err(ImageError::io("write", self.out))?;
        let (mut hasher, mut left) = (Sha256::new(), descriptor.size());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| broke_off(url.as_str(), &e))?;
            let length = piece.len() as u64;
            left = left.checked_sub(length).ok_or_else(|| ImageError::Transfer {
                url: url.to_string(),
                reason: "it is longer than its manifest says".into(),
                status: None,
            })?;
            hasher.update(&piece);
            out.write_all(&piece).map_err(ImageError::io("write", self.out))?;
            (self.progress)(Progress::Bytes(length));
        }
        let found = Digest::from_sha256(hasher.finalize().into());
        if found != *digest {
            return Err(ImageError::Digest { what: url.to_string(), expected: digest.clone(), found });
        }
        let padding = vec![0; (descriptor.size().next_multiple_of(512) - descriptor.size()) as usize];
        out.write_all(&padding).map_err(ImageError::io("write", self.out))?;
        (self.progress)(Progress::Done(digest.clone(), false));
        Ok(())
    }

    fn small(&mut self, path: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let mut header = header(bytes.len() as u64);
        self.archive.append_data(&mut header, path, bytes).map_err(ImageError::io("write", self.out))
    }
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size);
    header
}

fn broke_off(url: &str, error: &reqwest::Error) -> ImageError {
    ImageError::Transfer {
        url: url.to_owned(),
        reason: format!("the download broke off: {}", io::Error::other(error.to_string())),
        status: None,
    }
}
