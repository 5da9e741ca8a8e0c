//! Why the vault did not do it, and how that is told.

use crate::{KeyFileError, OpenError};
use freehold_model::{Code, CommitError, Name, Problem, SecretName};
use freehold_reconcile::StoreError;

/// Why the vault did not do it. Never holds a value.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no such project.
    #[error("there is no project `{0}`")]
    NoProject(Name),
    /// The app or the env is on its way out.
    #[error("{0} is being removed")]
    Removing(String),
    /// There is no such secret, or none that could be meant.
    #[error("there is no secret {name} in {place}")]
    NoSecret {
        /// The secret.
        name: SecretName,
        /// `app/env`.
        place: String,
    },
    /// There is no resource of that id.
    #[error("there is no secret {0}")]
    NoId(String),
    /// It has no such version.
    #[error("{name} has no version {number}")]
    NoVersion {
        /// The secret.
        name: String,
        /// The version.
        number: u32,
    },
    /// Releases use what is to be removed.
    #[error("{name} is used by {uses}")]
    InUse {
        /// The secret.
        name: String,
        /// Which versions by which releases.
        uses: String,
    },
    /// Neither a value nor a sealed one, or both.
    #[error("give either `value` or `sealed`")]
    NoValue,
    /// `value` is not base64.
    #[error("`value` is not base64")]
    NotBase64,
    /// The value is empty.
    #[error("the value is empty")]
    Empty,
    /// The value is too large.
    #[error("the value has {0} bytes; at most 65536 are kept")]
    TooLarge(usize),
    /// A sealed value cannot be opened.
    #[error("the sealed text cannot be used: {0}")]
    Sealed(OpenError),
    /// A stored version cannot be opened.
    #[error("version {number} of {name} cannot be opened: {source}")]
    Stored {
        /// The secret.
        name: SecretName,
        /// The version.
        number: u32,
        /// Why.
        source: OpenError,
    },
    /// A key of the certificate authority cannot be opened.
    #[error("the private key of certificate {number} of the authority cannot be opened: {source}")]
    StoredAuthority {
        /// The certificate.
        number: u32,
        /// Why.
        source: OpenError,
    },
    /// Something of the house's own cannot be opened.
    #[error("the {what} cannot be opened: {source}")]
    StoredHouse {
        /// What it is.
        what: String,
        /// Why.
        source: OpenError,
    },
    /// A second factor cannot be opened.
    #[error("the second factor of {user} cannot be opened: {source}")]
    StoredSecondFactor {
        /// Whose.
        user: String,
        /// Why.
        source: OpenError,
    },
    /// The house's secrets are sealed under another key than that in the file.
    #[error(
        "the house's root key is {house}, and the key file holds another: copy keys/secrets.key from the data \
         directory of a control plane that runs (mode 0600), or restore it from a backup"
    )]
    OtherKey {
        /// The public half of the house's key.
        house: String,
    },
    /// The key file cannot be written.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// Others keep changing the same things.
    #[error("others keep changing the same things")]
    Busy,
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(CommitError),
}

impl VaultError {
    /// The problem that callers are told.
    pub fn problem(&self) -> Problem {
        let say = |code| Problem::new(code, self.to_string());
        match self {
            VaultError::NoProject(_) => {
                say(Code::NotFound).hint("`freehold project list` shows what there is.")
            }
            VaultError::Removing(_) => say(Code::Conflict).hint("Try again when it is gone."),
            VaultError::NoSecret { name, .. } => say(Code::NotFound).hint(format!(
                "`freehold secret set {name}` makes it; `freehold secret list` shows those there are."
            )),
            VaultError::NoId(_) => say(Code::NotFound).hint("`freehold secret list` shows what there is."),
            VaultError::NoVersion { name, .. } => {
                say(Code::NotFound).hint(format!("`freehold secret history {name}` shows those there are."))
            }
            VaultError::InUse { .. } => say(Code::Conflict).hint(
                "They could not be started or rolled back to any more. `--force` removes it all the same.",
            ),
            VaultError::NoValue | VaultError::NotBase64 => {
                say(Code::Invalid).hint("GET /openapi.json describes every request.")
            }
            VaultError::Empty => {
                say(Code::Invalid).hint("Give it on standard input: `freehold secret set NAME < file`.")
            }
            VaultError::TooLarge(_) => say(Code::TooLarge)
                .hint("Keep large files in an image or a volume, encrypted under a key that is a secret."),
            VaultError::Sealed(OpenError::NoKey) => say(Code::Invalid)
                .hint("It was sealed for another house, or before `freehold key rotate`: seal it again."),
            VaultError::Sealed(OpenError::OtherPurpose) => say(Code::Invalid)
                .hint("Apply it to the project, app, env and name that it was sealed for, or seal it again."),
            VaultError::Sealed(OpenError::Damaged) => say(Code::Invalid).hint(
                "Give the whole output of `freehold secret seal`, from the BEGIN line to the END line.",
            ),
            VaultError::OtherKey { .. } => say(Code::Conflict),
            VaultError::Stored { .. } => {
                say(Code::Conflict).hint("Restore keys/secrets.key from a backup, or set the secret again.")
            }
            VaultError::StoredSecondFactor { .. } => say(Code::Conflict)
                .hint("Restore keys/secrets.key from a backup, or reset that second factor."),
            VaultError::StoredAuthority { .. } | VaultError::StoredHouse { .. } => {
                say(Code::Conflict).hint("Restore keys/secrets.key from a backup.")
            }
            VaultError::Busy => say(Code::Conflict).hint("Nothing was changed. Try again in a moment."),
            VaultError::Keys(_) | VaultError::Store(StoreError::Resource(_) | StoreError::Pruned { .. }) => {
                say(Code::Internal)
            }
            VaultError::Store(StoreError::Engine(_)) | VaultError::Commit(_) => say(Code::Unavailable),
        }
    }
}
