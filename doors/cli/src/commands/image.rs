//! `freehold image`: the images of the built-in registry.

use crate::{
    failure::{Failure, Outcome},
    output::{Paint, Progress, table::Table, time},
    session::Session,
};
use freehold_image::{
    ImageError,
    build::{Base, BuildOptions, base_of, build_folder},
    fetch::save_archive,
    push::{self, OnProgress, push_layout},
};
use freehold_model::{
    Bytes, Digest, Millis,
    api::{CollectRequest, Collected, CollectedItem, CollectedKind, ImageSummary},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What can be done with images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes an image from a folder and pushes it to the built-in registry.
    Build(BuildArgs),
    /// Pushes an image from disk: an OCI layout or archive, or what `docker save` wrote.
    Push(PushArgs),
    /// Has the server fetch an image from another registry.
    Pull(PullArgs),
    /// Writes an image to disk, as an OCI archive that skopeo and podman read.
    Save(SaveArgs),
    /// Lists the images.
    List,
    /// Shows one image: its digest, manifest and config.
    Inspect(ReferenceArgs),
    /// Removes a tag; the bytes go with the next `image gc` once nothing needs them.
    #[command(visible_alias = "delete", alias = "remove")]
    Rm(ReferenceArgs),
    /// Frees the room of images that no tag and no kept release needs.
    Gc(GcArgs),
}

/// Flags of `image build`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything in the folder becomes the image's root. What it is built upon, what is left out and how it is
run stand in freehold-image.toml there (docs/image.md). The same folder gives the same digest;
SOURCE_DATE_EPOCH sets the time of its files.

Example:
  freehold image build ./site -t site:1")]
pub(crate) struct BuildArgs {
    /// The folder.
    dir: PathBuf,
    /// What to call it.
    #[arg(short, long, value_name = "NAME:TAG", value_parser = tagged)]
    tag: String,
}

/// Flags of `image push`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
skopeo, podman and docker push too: any user name, the token as password.

Example:
  freehold image push nginx.tar nginx:1")]
pub(crate) struct PushArgs {
    /// The layout's folder, or the archive.
    path: PathBuf,
    /// What to call it.
    #[arg(value_name = "NAME:TAG", value_parser = tagged)]
    tag: String,
}

/// Flags of `image pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  freehold image pull docker.io/library/nginx:1.27")]
pub(crate) struct PullArgs {
    /// With its registry's host.
    reference: String,
    /// Unpacks it too, so that its first deploy starts at once.
    #[arg(long)]
    unpack: bool,
}

/// Flags of `image save`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  freehold image save site:1 -o site.tar")]
pub(crate) struct SaveArgs {
    /// Which.
    #[arg(value_name = "NAME:TAG", value_parser = tagged)]
    tag: String,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Which image.
#[derive(Debug, clap::Args)]
pub(crate) struct ReferenceArgs {
    /// `name:tag` or `name@digest`.
    reference: String,
}

/// Flags of `image gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What stays: everything with a tag; the images of instances and of the newest 20 releases of each env; what
came or was used within the grace, so that a push in flight is not hit. `freehold up` collects by itself
each hour, with a grace of a day.

Examples:
  freehold image gc --dry-run
  freehold image gc")]
pub(crate) struct GcArgs {
    /// Says what would go, and removes nothing.
    #[arg(long)]
    dry_run: bool,
    /// What came or was used within this time stays.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    grace: Millis,
}

/// An image that came to be somewhere.
#[derive(Debug, Serialize)]
struct Made {
    reference: String,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Bytes>,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Build(args) => build(args, session).await,
        Command::Push(args) => {
            let digest = send(&args.path, &args.tag, session).await?;
            tell(Made { reference: args.tag, digest, size: None }, session)
        }
        Command::Pull(args) => pull(args, session).await,
        Command::Save(args) => save(args, session).await,
        Command::List => {
            let images = session.client.images().await?;
            session.out.show(&images, |all| table(all, session.out.paint, Timestamp::now()))
        }
        Command::Inspect(args) => {
            let details = session.client.image(&args.reference).await?;
            session.out.show(&details, |it| serde_json::to_string_pretty(it).unwrap_or_default())
        }
        Command::Gc(args) => {
            let how = CollectRequest { dry_run: args.dry_run, grace: Some(args.grace) };
            let done = session.client.collect_images(&how).await?;
            session.out.show(&done, collected)
        }
        Command::Rm(args) => {
            session.client.remove_image(&args.reference).await?;
            session.out.text(&format!("{} is removed.", args.reference))
        }
    }
}

async fn build(args: BuildArgs, session: &Session) -> Outcome {
    let space = tempfile::tempdir().map_err(|error| Failure::local("make a temporary folder", error))?;
    let layout = space.path().join("layout");
    session.progress.now(format!("packing {}", args.dir.display()));
    let base = base(&args.dir, session).await?;
    let built = build_folder(&args.dir, &layout, &BuildOptions { base, ..BuildOptions::from_env() })?;
    send(&layout, &args.tag, session).await?;
    tell(Made { reference: args.tag, digest: built.digest, size: Some(Bytes(built.size)) }, session)
}

/// The image that the folder's is built upon. The server fetches it, where it is in another registry;
/// when that cannot be asked, the copy that the server has is used.
async fn base(dir: &Path, session: &Session) -> Outcome<Option<Base>> {
    let Some(from) = base_of(dir)? else { return Ok(None) };
    let reference: freehold_image::Reference = from.parse()?;
    let mut details = session.client.image(&from).await;
    if reference.host().is_some() {
        session.progress.now(format!("the server fetches {from}"));
        let pulled = session.client.pull_image(&from, false).await;
        details = match (pulled, details) {
            (Ok(_), _) => session.client.image(&from).await,
            (Err(_), Ok(held)) => Ok(held),
            (Err(error), Err(_)) => Err(error),
        };
    }
    let image = details?;
    Ok(Some(Base { reference: from, digest: image.digest, manifest: image.manifest, config: image.config }))
}

async fn send(path: &Path, tag: &str, session: &Session) -> Outcome<Digest> {
    let progress = transfers(session.progress.clone(), "sending");
    let digest = push_layout(path, session.client.url(), session.token.as_deref(), tag, progress).await;
    session.progress.clear();
    Ok(digest?)
}

async fn save(args: SaveArgs, session: &Session) -> Outcome {
    let progress = transfers(session.progress.clone(), "fetching");
    let (url, token) = (session.client.url(), session.token.as_deref());
    let digest = save_archive(url, token, &args.tag, &args.output, progress).await;
    session.progress.clear();
    tell(Made { reference: args.tag, digest: digest?, size: None }, session)
}

async fn pull(args: PullArgs, session: &Session) -> Outcome {
    session.progress.now(format!("the server fetches {}", args.reference));
    let image = session.client.pull_image(&args.reference, args.unpack).await;
    session.progress.clear();
    session.out.show(&image?, |image| made_line(&image.reference, &image.digest, Some(image.size)))
}

fn tell(made: Made, session: &Session) -> Outcome {
    session.out.show(&made, |made| made_line(&made.reference, &made.digest, made.size))
}

fn made_line(reference: &str, digest: &Digest, size: Option<Bytes>) -> String {
    let size = size.map(|size| format!("  {}", time::size(size))).unwrap_or_default();
    format!("{reference}  {digest}{size}")
}

/// Shows bytes as they move.
fn transfers(progress: Progress, doing: &'static str) -> OnProgress {
    let counts = Mutex::new((0_u64, 0_u64));
    Arc::new(move |news| {
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            push::Progress::Begin(_, size) => counts.1 += size,
            push::Progress::Bytes(more) => counts.0 += more,
            push::Progress::Done(..) => {}
        }
        let (moved, all) = (time::size(Bytes(counts.0)), time::size(Bytes(counts.1)));
        progress.now(format!("{doing} {moved} of {all}"));
    })
}

fn table(images: &[ImageSummary], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["IMAGE", "DIGEST", "SIZE", "PUSHED"]);
    for image in images {
        table.row([
            image.reference.clone().into(),
            image.digest.short().into(),
            time::size(image.size).into(),
            time::ago(image.pushed, now).into(),
        ]);
    }
    table.render(paint, 0, "no images")
}

/// What a collection did, for people: each thing, then the sum.
fn collected(done: &Collected) -> String {
    let mut lines: Vec<String> = done.removed.iter().map(collected_line).collect();
    let (would, freed) = (if done.dry_run { "would be " } else { "" }, time::size(done.freed));
    lines.push(match done.removed.len() {
        0 => "Nothing to remove: all that is here is needed, or new.".to_owned(),
        _ => format!("{freed} {would}freed."),
    });
    lines.join("\n")
}

fn collected_line(item: &CollectedItem) -> String {
    let kind = match item.kind {
        CollectedKind::Manifest => "manifest",
        CollectedKind::Blob => "blob",
        CollectedKind::Layer => "unpacked layer",
    };
    format!("{kind}  {}  {}", item.name, time::size(item.size))
}

/// `NAME:TAG` of the built-in registry, the tag always said.
fn tagged(text: &str) -> Result<String, String> {
    let reference: freehold_image::Reference = text.parse().map_err(|error: ImageError| error.to_string())?;
    let named = format!("{}:{}", reference.name(), reference.tag());
    if reference.host().is_some() || reference.digest().is_some() || named != text {
        return Err("write NAME:TAG, as in `site:1`".into());
    }
    Ok(named)
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        error.problem().into()
    }
}

#[cfg(test)]
mod tests {
    use super::tagged;

    #[test]
    fn a_tag_is_a_name_and_a_tag() {
        assert_eq!(tagged("site:1").as_deref(), Ok("site:1"));
        assert_eq!(tagged("team/site:v1.2").as_deref(), Ok("team/site:v1.2"));
        for bad in ["site", "Site:1", "host.example/site:1", "site:", ":1", "../x:1", "site:1@sha256:0"] {
            assert!(tagged(bad).is_err(), "{bad}");
        }
    }
}
