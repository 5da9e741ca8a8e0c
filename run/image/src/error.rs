//! What goes wrong with images: each variant names the reference, digest or path it is about, and
//! [`ImageError::problem`] turns it into what a user sees.

use freehold_model::{Code, Digest, Problem};
use std::{io, path::PathBuf};

/// Whether the disk has no room left, for bytes or for whoever writes them.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A failure of the image store, of a registry, or of building and pushing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The text is not an image reference.
    #[error("`{text}` is not an image reference: {reason}")]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The built-in registry holds no such image.
    #[error("there is no image `{0}` in the built-in registry")]
    Unknown(String),
    /// The image is known but a part of it is not here and cannot be fetched.
    #[error("image `{reference}` is incomplete: the built-in registry does not hold {digest}")]
    Incomplete {
        /// The image.
        reference: String,
        /// The part.
        digest: Digest,
    },
    /// No variant of the image runs here.
    #[error("image `{reference}` {why}", why = not_here(platform, made_for.as_deref()))]
    Platform {
        /// The image.
        reference: String,
        /// `linux/amd64`.
        platform: String,
        /// What it is for, when there is one alone.
        made_for: Option<String>,
    },
    /// Another registry answered that it has no such image, or none that it shows to everybody.
    #[error("registry {registry} shows no image `{reference}`: {reason}")]
    RemoteUnknown {
        /// The host.
        registry: String,
        /// The image.
        reference: String,
        /// What it said.
        reason: String,
    },
    /// Another registry gave no usable answer.
    #[error("registry {registry} could not be asked for `{reference}`: {reason}")]
    Remote {
        /// The host.
        registry: String,
        /// The image.
        reference: String,
        /// What happened.
        reason: String,
    },
    /// Bytes that are not what their digest says.
    #[error("{what} should be {expected} but is {found}")]
    Digest {
        /// What was read.
        what: String,
        /// Its name.
        expected: Digest,
        /// What its bytes hash to.
        found: Digest,
    },
    /// A manifest or config that cannot be used.
    #[error("manifest {digest} cannot be used: {reason}")]
    Manifest {
        /// Which.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// A layer that must not or cannot be unpacked.
    #[error("layer {layer} is refused at `{path}`: {reason}")]
    Layer {
        /// The layer's digest.
        layer: Digest,
        /// The entry.
        path: String,
        /// Why.
        reason: String,
    },
    /// The disk said no while a layer was unpacked.
    #[error("layer {layer} cannot be unpacked at `{path}`: {source}")]
    Unpack {
        /// The layer's digest.
        layer: Digest,
        /// The entry.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A folder that cannot become an image.
    #[error("{path}: {reason}", path = path.display())]
    Build {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is no image.
    #[error("{path} is not an image: {reason}", path = path.display())]
    Archive {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A registry refused or broke a push or a download.
    #[error("{url}: {reason}")]
    Transfer {
        /// What was asked.
        url: String,
        /// The answer.
        reason: String,
        /// The HTTP status, when there was an answer.
        status: Option<u16>,
    },
    /// The disk said no.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried: `read`, `write`, `rename`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn not_here(platform: &str, made_for: Option<&str>) -> String {
    match made_for {
        Some(other) => format!("was made for {other}, and this server runs {platform}"),
        None => format!("has no variant for {platform}"),
    }
}

impl ImageError {
    /// What is answered about an image that is not here, and about one that the asker may not know of.
    pub fn absent(reference: &str) -> ImageError {
        let parsed = reference.parse::<crate::Reference>();
        ImageError::Unknown(parsed.map_or_else(|_| reference.to_owned(), |reference| reference.to_string()))
    }

    /// For `map_err`: an IO error with what was tried and where.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ImageError {
        let path = path.into();
        move |source| ImageError::Io { action, path, source }
    }

    /// What happened with every cause of it, on one line, for readers of no more than that.
    pub fn whole(&self) -> String {
        match self {
            ImageError::Io { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// Whether the disk has no room left.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, ImageError::Io { source, .. } | ImageError::Unpack { source, .. } if is_full(source))
    }

    /// The failure as a caller of the API sees it.
    pub fn problem(&self) -> Problem {
        if self.is_disk_full() {
            let problem = Problem::new(Code::Unavailable, "The disk that holds the images is full.").hint(
                "Make room on it, such as with `freehold image gc`, then try again: nothing was kept of what \
                 came last.",
            );
            return match self {
                ImageError::Io { .. } => problem.detail(self.whole()),
                _ => problem.detail(self.to_string()),
            };
        }
        let problem = Problem::new(self.code(), self.to_string());
        let problem = match self {
            ImageError::Io { source, .. } => problem.detail(source.to_string()),
            _ => problem,
        };
        match self.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    fn code(&self) -> Code {
        match self {
            ImageError::Unknown(_) | ImageError::Incomplete { .. } | ImageError::RemoteUnknown { .. } => {
                Code::NotFound
            }
            ImageError::Transfer { status: Some(401), .. } => Code::NotSignedIn,
            ImageError::Transfer { status: Some(403), .. } => Code::NotAllowed,
            ImageError::Transfer { status: Some(404), .. } => Code::NotFound,
            ImageError::Transfer { status: Some(413), .. } => Code::TooLarge,
            ImageError::Transfer { status: Some(400..=499), .. } => Code::Invalid,
            ImageError::Remote { .. } | ImageError::Transfer { .. } => Code::Unavailable,
            ImageError::Io { .. } | ImageError::Unpack { .. } => Code::Internal,
            ImageError::Reference { .. }
            | ImageError::Platform { .. }
            | ImageError::Digest { .. }
            | ImageError::Manifest { .. }
            | ImageError::Layer { .. }
            | ImageError::Build { .. }
            | ImageError::Archive { .. } => Code::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            ImageError::Reference { .. } => "write NAME:TAG, or HOST/NAME:TAG for another registry".into(),
            ImageError::Unknown(reference) => format!(
                "`freehold image list` shows what is there; `freehold image push FILE {reference}` or \
                 `skopeo copy` puts it there; an image of another registry needs its host, such as \
                 docker.io/library/{reference}"
            ),
            ImageError::Incomplete { .. } => "push the image again".into(),
            ImageError::Platform { platform, .. } => format!("build the image for {platform}"),
            ImageError::RemoteUnknown { .. } => {
                "check its spelling; a private image can be copied here with `skopeo copy`".into()
            }
            ImageError::Remote { registry, .. } => {
                format!(
                    "check that this machine reaches {registry}, or copy the image here with `skopeo copy`"
                )
            }
            ImageError::Digest { .. } => {
                "the bytes were damaged on the way: try again, or push it again".into()
            }
            ImageError::Transfer { status: Some(401), .. } => "sign in, or give --token".into(),
            _ => return None,
        })
    }
}
