//! Seals and opens secrets.
//!
//! [`seal`] and [`open`] turn a [`Plaintext`] into bytes that only one key opens, and only for the purpose
//! ([`Context`]) that was sealed in. A [`KeyFile`] keeps such keys. The [`Vault`] is the house's: it
//! writes secrets and their versions into the store, rotates the root key, and seals what an instance
//! needs for its node.

mod envelope;
mod guard;
mod keyfile;
mod plaintext;
mod pledge;
mod vault;

pub use envelope::{Context, Key, OpenError, Recipient, RecipientError, open, seal};
pub use guard::forbid_core_dumps;
pub use keyfile::{KeyFile, KeyFileError};
pub use plaintext::Plaintext;
pub use pledge::{Delivered, armored, from_armor};
pub use vault::{Vault, VaultError, Voucher, client_secret, signing};
